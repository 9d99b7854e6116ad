/* What a certificate needs of a price; the twins are in `bounds/lagrangian.py` and `bounds/gap.py`. */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double LARGEST = 1.7e308; /* beyond this a sum may have overflowed beside one that has not */

int64_t cheapest(const Table *table, const int64_t *above, const uint8_t *fits, const double *price, int64_t n_resources,
                 Cheapest *found, double *scratch)
{
    double slip = (double)(n_resources + 3) * DBL_EPSILON;
    int64_t count = 0;
    for (int64_t resource = 0; resource < n_resources; resource++)
        found->used[resource] = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t begin = table->start[group], end = table->start[group + 1], at = begin;
        for (int64_t i = begin; i < end; i++) {
            double priced = price[0] * (double)above[i];
            for (int64_t resource = 1; resource < n_resources; resource++)
                priced += price[resource] * (double)above[resource * table->n_choices + i];
            scratch[i - begin] = priced;
        }
#define PENALISED(i) (!fits || fits[i] ? table->value[i] + scratch[(i) - begin] : INFINITY)
#define SIZE(i) (slip * (fabs(table->value[i]) + scratch[(i) - begin]))
        double least = PENALISED(begin);
        for (int64_t i = begin + 1; i < end; i++) {
            double own = PENALISED(i);
            if (own < least)
                least = own, at = i;
        }
        if (!(fabs(least) < LARGEST))
            return -1;
        double highest = least + 2 * SIZE(at);
        found->position[group] = at;
        for (int64_t resource = 0; resource < n_resources; resource++)
            found->used[resource] = plus(found->used[resource], above[resource * table->n_choices + at]);
        for (int64_t i = begin; i < end; i++)
            if (i != at && PENALISED(i) - 2 * SIZE(i) <= highest) {
                found->near_tied[count] = i;
                found->reference[count++] = at;
            }
#undef PENALISED
#undef SIZE
    }
    return count;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The largest number of which all values are multiples, to 53 bits of the largest; 0 where there is none. */
double unit_of(const double *value, int64_t count, double largest)
{
    int exponent;
    uint64_t found = 0;
    if (!(largest > 0) || !isfinite(largest))
        return 0.0;
    frexp(largest, &exponent);
    exponent = 53 - exponent;
    for (int64_t i = 0; i < count; i++) {
        double scaled = ldexp(value[i], exponent), whole = rint(scaled);
        if (whole != scaled || !(fabs(whole) <= 9007199254740992.0))
            return 0.0;
        found = found == 1 ? 1 : common_divisor(found, (uint64_t)fabs(whole));
    }
    return ldexp((double)found, -exponent);
}

/* Whether `value - low` needs no rounding (Knuth's exact sum of two floats). */
static int is_exact_difference(double value, double low)
{
    double above = value - low, carried = above - value;
    return (value - (above - carried)) - (low + carried) == 0;
}

/* The unit of which all values of a group differ by whole multiples that add up exactly; 0 without one. */
double whole_unit(const Table *table, const uint8_t *fits, double *above)
{
    double largest = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t begin = table->start[group], end = table->start[group + 1];
        double low = INFINITY;
        for (int64_t i = begin; i < end; i++)
            low = fits[i] ? smaller(table->value[i], low) : low;
        for (int64_t i = begin; i < end; i++) {
            double value = fits[i] ? table->value[i] : low;
            if (!is_exact_difference(value, low))
                return 0.0;
            above[i] = value - low;
            largest = larger(above[i], largest);
        }
    }
    double unit = unit_of(above, table->n_choices, largest);
    if (!(unit > 0))
        return 0.0;
    uint64_t units = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        double most = 0.0;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++)
            most = larger(above[i], most);
        units += (uint64_t)(most / unit);
        if (units >= (uint64_t)1 << 53)
            return 0.0;
    }
    return unit;
}

/* By how much values differ, over the groups in which a selection is not the cheapest or is nearly tied with it.
   The terms are the values of the first of these groups, and those of the cheapest, negated. */
double deciding(const Table *table, const int64_t *choice, const int64_t *position, const int64_t *near_tied, int64_t count,
                double *terms, int64_t *n_terms)
{
    double total = 0.0;
    int64_t at = 0;
    *n_terms = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        double own = table->value[choice[group]], most = fabs(own - table->value[position[group]]);
        if (choice[group] != position[group]) {
            terms[(*n_terms)++] = own;
            terms[(*n_terms)++] = -table->value[position[group]];
        }
        for (; at < count && near_tied[at] < table->start[group + 1]; at++)
            most = larger(fabs(table->value[near_tied[at]] - own), most);
        total += most;
    }
    return total;
}

/* Costs above the least of their group; the sum of the least, and the common divisor and the largest of the rest. */
void measure(const int64_t *start, int64_t n_groups, const int64_t *cost, int64_t *above, int64_t *total, int64_t *divisor,
             int64_t *most)
{
    uint64_t common = 0;
    *total = *most = 0;
    for (int64_t group = 0; group < n_groups; group++) {
        int64_t begin = start[group], end = start[group + 1], least = cost[begin];
        for (int64_t i = begin; i < end; i++)
            least = cost[i] < least ? cost[i] : least;
        *total = plus(*total, least);
        for (int64_t i = begin; i < end; i++) {
            above[i] = minus(cost[i], least);
            *most = above[i] > *most ? above[i] : *most;
            if (common == 1 || !above[i])
                continue;
            common = common_divisor((uint64_t)above[i], common);
        }
    }
    *divisor = (int64_t)common;
}

/* Whether the least value of a group outweighs the differences in it; and the largest magnitude of all. */
int outweighed(const Table *table, double *largest)
{
    int found = 0;
    *largest = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        double low = table->value[table->start[group]], high = low;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++) {
            low = smaller(table->value[i], low);
            high = larger(table->value[i], high);
        }
        found |= fabs(low) > high - low;
        *largest = larger(larger(high, -low), *largest);
    }
    return found;
}
