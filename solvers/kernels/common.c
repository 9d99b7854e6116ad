/* What the kernels share: memory, stable sorts, and when to ask whether to go on. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { INSERTED = 12 };                        /* so few are sorted by insertion */
enum { DIGIT = 11, COUNTED_FROM = 200, MOST_DIGITS = 4 }; /* more are sorted digit by digit, where these are few */

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

#define STABLE_SORT(linkage, name, key_type)                                                     \
    linkage name(int64_t *index, int64_t *scratch, int64_t count, const key_type *key)              \
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

STABLE_SORT(static void, merge_by_integer, int64_t)
STABLE_SORT(void, sort_by_number, double)

/* One digit of the keys above the least: counted, then put in place, which keeps the order of equal ones. */
static void sort_by_digit(const int64_t *from, int64_t *to, int64_t count, const int64_t *key, int64_t least, int shift)
{
    int64_t place[1 << DIGIT] = {0}, sum = 0;
    for (int64_t i = 0; i < count; i++)
        place[((uint64_t)minus(key[from[i]], least) >> shift) & ((1 << DIGIT) - 1)]++;
    for (int digit = 0; digit < 1 << DIGIT; digit++) {
        int64_t own = place[digit];
        place[digit] = sum;
        sum += own;
    }
    for (int64_t i = 0; i < count; i++)
        to[place[((uint64_t)minus(key[from[i]], least) >> shift) & ((1 << DIGIT) - 1)]++] = from[i];
}

void sort_by_integer(int64_t *index, int64_t *scratch, int64_t count, const int64_t *key)
{
    int64_t least = INT64_MAX, most = INT64_MIN, *from = index, *to = scratch;
    for (int64_t i = 0; count >= COUNTED_FROM && i < count; i++) {
        least = key[index[i]] < least ? key[index[i]] : least;
        most = key[index[i]] > most ? key[index[i]] : most;
    }
    uint64_t range = (uint64_t)minus(most, least);
    if (count < COUNTED_FROM || range >> (DIGIT * MOST_DIGITS)) {
        merge_by_integer(index, scratch, count, key);
        return;
    }
    for (int shift = 0; range >> shift; shift += DIGIT) {
        sort_by_digit(from, to, count, key, least, shift);
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != index)
        memcpy(index, from, (size_t)count * sizeof *index);
}

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
