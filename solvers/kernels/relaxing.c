/* Dominance, lower hulls and the multiplier of one budget; the twins are in `bounds/hull.py`. */
#include "kernels.h"
#include "relaxing.h"

#include <stdlib.h>

/* Positions of one group sorted by cost, then value, then position. */
static void sort_group(int64_t *position, int64_t *scratch, int64_t count, const Table *table)
{
    int rises = 1;
    for (int64_t i = 1; i < count; i++)
        rises &= table->cost[position[i]] > table->cost[position[i - 1]];
    if (rises)
        return;
    sort_by_number(position, scratch, count, table->value);
    sort_by_integer(position, scratch, count, table->cost);
}

int64_t undominated(const Table *table, int64_t *position, int64_t *kept_start, int64_t *scratch)
{
    int64_t kept = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t first = table->start[group], size = table->start[group + 1] - first, *own = position + kept, end = 0;
        kept_start[group] = kept;
        for (int64_t i = 0; i < size; i++)
            own[i] = first + i;
        sort_group(own, scratch, size, table);
        for (int64_t i = 0; i < size; i++)
            if (!end || table->value[own[i]] < table->value[own[end - 1]])
                own[end++] = own[i];
        kept += end;
    }
    kept_start[table->n_groups] = kept;
    return kept;
}

static double rate_between(const Table *table, int64_t light, int64_t heavy)
{
    return (table->value[light] - table->value[heavy]) / (double)minus(table->cost[heavy], table->cost[light]);
}

/* The lower hull of undominated points: those above a chord of their neighbours go, all at once, until none is. */
static int64_t hull_of_group(const Table *table, int64_t *point, int64_t count, double *rate)
{
    for (;;) {
        int64_t end = 1;
        for (int64_t i = 0; i + 1 < count; i++)
            rate[i] = rate_between(table, point[i], point[i + 1]);
        for (int64_t i = 1; i < count; i++)
            if (i + 1 == count || !(rate[i - 1] <= rate[i]))
                point[end++] = point[i];
        if (count < 2 || end == count)
            return count;
        count = end;
    }
}

void lower_hulls(const Table *table, const int64_t *position, const int64_t *kept_start, Hulls *hulls)
{
    int64_t points = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t size = kept_start[group + 1] - kept_start[group], *own = hulls->point + points;
        hulls->first[group] = points;
        for (int64_t i = 0; i < size; i++)
            own[i] = position[kept_start[group] + i];
        points += hull_of_group(table, own, size, hulls->rate + points);
    }
    hulls->first[table->n_groups] = points;
}

/* The rate at which the room runs out, by weighted selection: all steps of a higher rate fit together. */
double multiplier(double *rate, int64_t *weight, int64_t count, int64_t room)
{
    int64_t all = 0, low = 0, high = count;
    uint64_t draw = 88172645463325252u;
    for (int64_t i = 0; i < count; i++)
        all = plus(all, weight[i]);
    if (all <= room)
        return 0.0;
    while (low < high) { /* only sums that wrapped around leave nothing */
        draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
        double pivot = rate[low + (int64_t)(draw % (uint64_t)(high - low))];
        int64_t above = low, below = high, heavy = 0, tied = 0;
        for (int64_t i = low; i < below;) {
            double own = rate[i];
            int64_t its = weight[i], other = i;
            if (own > pivot) {
                heavy = plus(heavy, its);
                other = above++;
            } else if (own < pivot) {
                other = --below;
            } else {
                tied = plus(tied, its);
            }
            rate[i] = rate[other], weight[i] = weight[other];
            rate[other] = own, weight[other] = its;
            i += !(own < pivot);
        }
        if (above > low && heavy > room) {
            high = above;
        } else if (plus(heavy, tied) > room || below == high) {
            return pivot;
        } else {
            room = minus(room, plus(heavy, tied));
            low = below;
        }
    }
    return 0.0;
}
