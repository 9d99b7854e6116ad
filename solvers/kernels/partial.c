/* Bounds of what follows, and lists of partial selections made shorter; the twins are `tails.py` and `partial.py`. */
#include "listing.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double FACTORS[TILTS] = {0.3, 0.6, 0.85, 1.0, 1.2, 1.7, 3.0}; /* as in the twin, of the best price */

void bound_tails(const Core *core, double price, const int64_t *order, int64_t n_order, double limit, Tails *tails)
{
    double size_of_all = 0.0, charged[TILTS] = {0.0};
    int64_t reach = 0, shed = 0, fill = 0;
    tails->limit = limit;
    for (int k = 0; k < TILTS; k++)
        tails->tilt[k] = price * (FACTORS[k] - 1);
    for (int64_t rank = 0; rank < n_order; rank++) {
        double size = 0.0;
        int64_t most = 0;
        for (int64_t i = core->start[order[rank]]; i < core->start[order[rank] + 1]; i++) {
            if (!(core->reduced[i] <= limit))
                continue;
            int64_t magnitude = core->cost[i] < 0 ? minus(0, core->cost[i]) : core->cost[i];
            size = larger(fabs(core->value[i]) + price * (double)magnitude, size);
            most = magnitude > most ? magnitude : most;
        }
        size_of_all += size;
        reach = plus(reach, most);
    }
    double farthest = (double)reach + fabs((double)core->slack), widest = 0.0;
    for (int k = 0; k < TILTS; k++)
        widest = larger(fabs(tails->tilt[k]) * farthest, widest);
    tails->noise = 4 * DBL_EPSILON * size_of_all;
    tails->rounding = tails->noise + 4 * DBL_EPSILON * widest;
    for (int64_t rank = n_order; rank >= 0; rank--) {
        if (rank < n_order) {
            double least[TILTS];
            int64_t down = 0, up = 0;
            for (int k = 0; k < TILTS; k++)
                least[k] = INFINITY;
            for (int64_t i = core->start[order[rank]]; i < core->start[order[rank] + 1]; i++) {
                if (!(core->reduced[i] <= limit))
                    continue;
                down = minus(0, core->cost[i]) > down ? minus(0, core->cost[i]) : down;
                up = core->cost[i] > up ? core->cost[i] : up;
                for (int k = 0; k < TILTS; k++)
                    least[k] = smaller(core->reduced[i] + tails->tilt[k] * (double)core->cost[i], least[k]);
            }
            shed = plus(shed, down), fill = plus(fill, up);
            for (int k = 0; k < TILTS; k++)
                charged[k] += least[k];
        }
        tails->shed[rank] = shed, tails->fill[rank] = fill;
        for (int k = 0; k < TILTS; k++)
            tails->least[rank * TILTS + k] = charged[k] - tails->tilt[k] * (double)core->slack;
    }
}

static int grow_one(void **array, int64_t wanted, size_t each)
{
    void *made = (uint64_t)wanted > SIZE_MAX / 2 / each ? NULL : realloc(*array, (size_t)wanted * each);
    if (!made)
        return NO_MEMORY;
    *array = made;
    return DONE;
}

int grow_partial(Partial *states, int64_t wanted)
{
    if (wanted <= states->size)
        return DONE;
    int64_t next = wanted > 2 * states->size ? wanted : 2 * states->size;
    if (grow_one((void **)&states->cost, next, sizeof *states->cost) != DONE ||
        grow_one((void **)&states->regret, next, sizeof *states->regret) != DONE ||
        grow_one((void **)&states->bound, next, sizeof *states->bound) != DONE ||
        grow_one((void **)&states->parent, next, sizeof *states->parent) != DONE ||
        grow_one((void **)&states->taken, next, sizeof *states->taken) != DONE)
        return NO_MEMORY;
    states->size = next;
    return DONE;
}

void free_partial(Partial *states)
{
    free(states->cost), free(states->regret), free(states->bound), free(states->parent), free(states->taken);
}

/* Some of the states, in the order of the indices. */
static int keep_some(Partial *states, const int64_t *index, int64_t count)
{
    Partial some = {0};
    if (grow_partial(&some, count + 1) != DONE) {
        free_partial(&some);
        return NO_MEMORY;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t own = index[i];
        some.cost[i] = states->cost[own], some.regret[i] = states->regret[own], some.bound[i] = states->bound[own];
        some.parent[i] = states->parent[own], some.taken[i] = states->taken[own];
    }
    some.count = count;
    free_partial(states);
    *states = some;
    return DONE;
}

/* Without the states that another one beats in value while costing no more; below a floor, costs are equal. */
int thin(Partial *states, double price, int64_t floor_cost)
{
    int64_t n = states->count, kept = 0;
    int64_t *order = room_for(n, sizeof(int64_t)), *scratch = room_for(n, sizeof(int64_t));
    int64_t *cost = room_for(n, sizeof(int64_t));
    double *value = room_for(n, sizeof(double)), least = INFINITY;
    int status = order && scratch && cost && value ? DONE : NO_MEMORY;
    if (status == DONE) {
        for (int64_t i = 0; i < n; i++) {
            order[i] = i;
            cost[i] = states->cost[i] > floor_cost ? states->cost[i] : floor_cost;
            value[i] = states->regret[i] - price * (double)states->cost[i];
        }
        sort_by_number(order, scratch, n, value);
        sort_by_integer(order, scratch, n, cost);
        for (int64_t i = 0; i < n; i++) {
            if (i && !(value[order[i]] < least))
                continue;
            least = value[order[i]];
            order[kept++] = order[i];
        }
        status = keep_some(states, order, kept);
    }
    free(order), free(scratch), free(cost), free(value);
    return status;
}

/* So many states of least bound; of equal ones the first. */
int keep_least(Partial *states, int64_t width)
{
    int64_t n = states->count, kept = 0, tied = width;
    double *number = room_for(n, sizeof(double));
    int64_t *index = room_for(n, sizeof(int64_t));
    int status = number && index ? DONE : NO_MEMORY;
    if (status == DONE) {
        memcpy(number, states->bound, (size_t)n * sizeof *number);
        double limit = smallest(number, n, width);
        for (int64_t i = 0; i < n; i++)
            tied -= states->bound[i] < limit;
        for (int64_t i = 0; i < n; i++)
            if (states->bound[i] < limit || (states->bound[i] == limit && tied-- > 0))
                index[kept++] = i;
        status = keep_some(states, index, kept);
    }
    free(number), free(index);
    return status;
}
