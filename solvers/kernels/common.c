/* What the kernels share: memory, stable sorts, and when to ask whether to go on. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { INSERTED = 12 }; /* so few are sorted by insertion */

void *room_for(int64_t count, size_t size)
{
    if (count < 0 || (uint64_t)count > SIZE_MAX / 2 / size)
        return NULL;
    return malloc((count ? (size_t)count : 1) * size);
}

int polled(Poll *poll, int64_t work)
{
    if (!poll)
        return DONE;
    poll->work += work;
    if (poll->work < WORK_BETWEEN_POLLS)
        return DONE;
    poll->work = 0;
    return poll->ask(poll->context);
}

#define STABLE_SORT(name, key_type)                                                              \
    void name(int64_t *index, int64_t *scratch, int64_t count, const key_type *key)              \
    {                                                                                            \
        for (int64_t at = 0; at < count; at += INSERTED) {                                       \
            int64_t end = count - at < INSERTED ? count : at + INSERTED;                         \
            for (int64_t i = at + 1; i < end; i++) {                                             \
                int64_t own = index[i], place = i;                                               \
                while (place > at && key[own] < key[index[place - 1]]) {                         \
                    index[place] = index[place - 1];                                             \
                    place--;                                                                     \
                }                                                                                \
                index[place] = own;                                                              \
            }                                                                                    \
        }                                                                                        \
        int64_t *from = index, *to = scratch;                                                    \
        for (int64_t width = INSERTED; width < count; width *= 2) {                              \
            for (int64_t at = 0; at < count; at += 2 * width) {                                  \
                int64_t middle = count - at < width ? count : at + width;                        \
                int64_t end = count - at < 2 * width ? count : at + 2 * width;                   \
                int64_t left = at, right = middle, place = at;                                   \
                while (left < middle && right < end)                                             \
                    to[place++] = key[from[right]] < key[from[left]] ? from[right++] : from[left++]; \
                while (left < middle)                                                            \
                    to[place++] = from[left++];                                                  \
                while (right < end)                                                              \
                    to[place++] = from[right++];                                                 \
            }                                                                                    \
            int64_t *swap = from;                                                                \
            from = to;                                                                           \
            to = swap;                                                                           \
        }                                                                                        \
        if (from != index)                                                                       \
            memcpy(index, from, (size_t)count * sizeof *index);                                  \
    }

STABLE_SORT(sort_by_integer, int64_t)
STABLE_SORT(sort_by_number, double)

/* The number that stands in place `count` when they are sorted, from 1; they change places. */
double smallest(double *number, int64_t total, int64_t count)
{
    int64_t low = 0, high = total, wanted = count - 1;
    uint64_t draw = 88172645463325252u;
    while (high - low > 1) {
        draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
        double pivot = number[low + (int64_t)(draw % (uint64_t)(high - low))];
        int64_t below = low, above = high;
        for (int64_t i = low; i < above;) {
            double own = number[i];
            if (own < pivot) {
                number[i] = number[below], number[below++] = own, i++;
            } else if (own > pivot) {
                number[i] = number[--above], number[above] = own;
            } else {
                i++;
            }
        }
        if (wanted < below)
            high = below;
        else if (wanted < above)
            return pivot;
        else
            low = above;
    }
    return number[low];
}
