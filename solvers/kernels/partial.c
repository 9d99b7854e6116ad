/* Lists of partial selections, and how they are made shorter; the twin is `core_search/partial.py`. */
#include "listing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    if (grow_one((void **)&states->cost, next, (size_t)states->n_resources * sizeof *states->cost) != DONE ||
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
int keep_some(Partial *states, const int64_t *index, int64_t count)
{
    Partial some = {.n_resources = states->n_resources};
    int64_t n = states->n_resources;
    if (grow_partial(&some, count + 1) != DONE) {
        free_partial(&some);
        return NO_MEMORY;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t own = index[i];
        for (int64_t resource = 0; resource < n; resource++)
            some.cost[i * n + resource] = states->cost[own * n + resource];
        some.regret[i] = states->regret[own], some.bound[i] = states->bound[own];
        some.parent[i] = states->parent[own], some.taken[i] = states->taken[own];
    }
    some.count = count;
    free_partial(states);
    *states = some;
    return DONE;
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
