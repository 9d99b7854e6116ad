/* The choices still to come in the search of a core; the twin is `core_search/remaining.py`. */
#include "remaining.h"

#include <math.h>
#include <stdlib.h>

static int allocate(Remaining *ahead, int64_t count, int64_t n_groups)
{
    int complete = 1;
    for (int i = 0; i < 10; i++) {
        ahead->memory[i] = room_for(i < 6 ? count : n_groups + 1, 8);
        complete &= ahead->memory[i] != NULL;
    }
    ahead->index = ahead->memory[0], ahead->group = ahead->memory[1], ahead->cost = ahead->memory[2];
    ahead->value = ahead->memory[3], ahead->reduced = ahead->memory[4], ahead->gradient = ahead->memory[5];
    ahead->begin = ahead->memory[6], ahead->shed = ahead->memory[7];
    ahead->up = ahead->memory[8], ahead->down = ahead->memory[9];
    return complete ? DONE : NO_MEMORY;
}

void free_remaining(Remaining *ahead)
{
    for (int i = 0; i < 10; i++)
        free(ahead->memory[i]);
}

/* All of them, groups by rising smallest gradient; groups that are tied keep their order. */
int remaining_of(const Core *core, Remaining *ahead)
{
    int64_t n = core->n_groups, at = 0;
    int64_t *order = room_for(n, sizeof(int64_t)), *scratch = room_for(n, sizeof(int64_t));
    double *smallest = room_for(n, sizeof(double));
    int status = allocate(ahead, core->n_choices, n);
    if (!order || !scratch || !smallest || status != DONE) {
        free(order), free(scratch), free(smallest);
        return NO_MEMORY;
    }
    for (int64_t group = 0; group < n; group++) {
        order[group] = group;
        smallest[group] = INFINITY;
        for (int64_t i = core->start[group] + 1; i < core->start[group + 1]; i++)
            smallest[group] = smaller(core->reduced[i] / fabs((double)core->cost[i]), smallest[group]);
    }
    sort_by_number(order, scratch, n, smallest);
    for (int64_t rank = 0; rank < n; rank++) {
        int64_t group = order[rank];
        for (int64_t i = core->start[group] + 1; i < core->start[group + 1]; i++, at++) {
            ahead->index[at] = i, ahead->group[at] = group, ahead->cost[at] = core->cost[i];
            ahead->value[at] = core->value[i], ahead->reduced[at] = core->reduced[i];
            ahead->gradient[at] = core->reduced[i] / fabs((double)core->cost[i]);
        }
    }
    ahead->count = at;
    ahead->n_groups = 0;
    free(order), free(scratch), free(smallest);
    return DONE;
}

/* Where each group's choices begin, and bounds from each group on; the last entry stands for no group at all. */
void bound_remaining(Remaining *ahead, double price)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ahead->count; i++)
        if (!i || ahead->group[i] != ahead->group[i - 1])
            ahead->begin[n++] = i;
    ahead->begin[n] = ahead->count;
    ahead->n_groups = n;
    ahead->up[n] = price, ahead->down[n] = 0.0, ahead->shed[n] = 0;
    double rise = INFINITY, fall = INFINITY;
    for (int64_t rank = n - 1; rank >= 0; rank--) {
        int64_t most = 0;
        for (int64_t i = ahead->begin[rank]; i < ahead->begin[rank + 1]; i++) {
            if (ahead->cost[i] > 0) {
                rise = smaller(ahead->gradient[i], rise);
            } else {
                fall = smaller(ahead->gradient[i], fall);
                most = minus(0, ahead->cost[i]) > most ? minus(0, ahead->cost[i]) : most;
            }
        }
        ahead->shed[rank] = plus(ahead->shed[rank + 1], most);
        ahead->up[rank] = smaller(rise, price);
        ahead->down[rank] = ahead->shed[rank] ? fall : 0.0;
    }
}

void drop_before(Remaining *ahead, int64_t first)
{
    ahead->index += first, ahead->group += first, ahead->cost += first;
    ahead->value += first, ahead->reduced += first, ahead->gradient += first;
    ahead->count -= first;
}

void keep_those(Remaining *ahead, const uint8_t *keep)
{
    int64_t at = 0;
    for (int64_t i = 0; i < ahead->count; i++) {
        if (!keep[i])
            continue;
        ahead->index[at] = ahead->index[i], ahead->group[at] = ahead->group[i], ahead->cost[at] = ahead->cost[i];
        ahead->value[at] = ahead->value[i], ahead->reduced[at] = ahead->reduced[i];
        ahead->gradient[at] = ahead->gradient[i];
        at++;
    }
    ahead->count = at;
}
