/* Sums of floats without rounding: each is added to one long whole number; the twins are in `bounds/exact_sums.py`. */
#include "kernels.h"

#include <math.h>
#include <string.h>

/* The number counts units of 2**-1074, the least float, in digits of 32 bits that may overflow into the rest of theirs. */
enum { DIGITS = 68, UNIT = -1074, ADDED_BETWEEN_CARRIES = 1 << 28 };
static const uint64_t LOW = 0xffffffff;

typedef struct {
    int64_t digit[DIGITS];
    int64_t added;
} Total;

/* Leaves 32 bits in every digit but the last, which has the sign. */
static void carry(Total *total)
{
    int64_t over = 0;
    for (int at = 0; at < DIGITS - 1; at++) {
        int64_t own = total->digit[at] + over, rest = (int64_t)((uint64_t)own & LOW);
        over = (own - rest) / ((int64_t)1 << 32);
        total->digit[at] = rest;
    }
    total->digit[DIGITS - 1] += over;
    total->added = 0;
}

/* Adds a float; 0 where it is not finite. */
static int add(Total *total, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff);
    uint64_t significand = bits & (((uint64_t)1 << 52) - 1);
    if (exponent == 0x7ff)
        return 0;
    if (exponent)
        significand |= (uint64_t)1 << 52;
    int place = exponent ? exponent - 1 : 0, at = place / 32, shift = place % 32;
    uint64_t low = (significand & LOW) << shift, high = (significand >> 32) << shift;
    int64_t part[3] = {(int64_t)(low & LOW), (int64_t)((low >> 32) + (high & LOW)), (int64_t)(high >> 32)};
    for (int i = 0; i < 3; i++)
        total->digit[at + i] += bits >> 63 ? -part[i] : part[i];
    if (++total->added == ADDED_BETWEEN_CARRIES)
        carry(total);
    return 1;
}

static int is_negative(Total *total)
{
    carry(total);
    return total->digit[DIGITS - 1] < 0;
}

/* The nearest float, of two as near the even one; infinite beyond their range. */
static double nearest(const Total *exact)
{
    Total total = *exact;
    int negative = is_negative(&total), top = DIGITS - 1, rest = 0;
    if (negative) {
        for (int at = 0; at < DIGITS; at++)
            total.digit[at] = -total.digit[at];
        carry(&total);
    }
    while (top > 1 && !total.digit[top])
        top--;
    for (int at = 0; at < top - 2; at++)
        rest |= total.digit[at] != 0;
    /* The highest 64 bits from the highest that is set, the last of which also stands for all that is below. */
    uint64_t leading = (uint64_t)total.digit[top] << 32 | (uint64_t)total.digit[top - 1];
    uint64_t next = top > 1 ? (uint64_t)total.digit[top - 2] : 0;
    int shift = 0;
    while (leading && shift < 32 && !(leading >> 63))
        leading <<= 1, shift++;
    leading |= next >> (32 - shift);
    rest |= (next & ((((uint64_t)1 << (32 - shift)) - 1))) != 0;
    double found = ldexp((double)(leading | (uint64_t)rest), UNIT + 32 * (top - 1) - shift);
    return negative ? -found : found;
}

double chosen_total(const double *value, const int64_t *choice, int64_t count)
{
    Total total = {{0}, 0};
    for (int64_t i = 0; i < count; i++)
        if (!add(&total, value[choice[i]]))
            return NAN;
    return nearest(&total);
}

double total_below(const double *value, const int64_t *choice, int64_t count, const double *more, int64_t n_more)
{
    Total total = {{0}, 0};
    int finite = 1;
    for (int64_t i = 0; i < count; i++)
        finite &= add(&total, value[choice[i]]);
    for (int64_t i = 0; i < n_more; i++)
        finite &= add(&total, more[i]);
    double found = nearest(&total);
    if (!finite || !add(&total, -found))
        return -INFINITY;
    return is_negative(&total) ? nextafter(found, -INFINITY) : found;
}
