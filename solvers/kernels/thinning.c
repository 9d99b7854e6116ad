/* Dominance among the states of a list; the twin is `thinned` in `core_search/partial.py`. */
#include "listing.h"

#include <math.h>
#include <stdlib.h>

enum { CELLS_OF_TWO = 128, CELLS_OF_THREE = 32, MOST_CELLS = 129 * 129 }; /* as in the twin, per axis but the last */

typedef struct {
    int64_t n, *order, *scratch, *cost, *cell;
    double *value;
} Thinning;

static void sorted_by_cost(Thinning *own)
{
    for (int64_t i = 0; i < own->n; i++)
        own->order[i] = i;
    sort_by_integer(own->order, own->scratch, own->n, own->cost);
}

/* With one budget: by cost, then value, then place; of these, every value below all before it. */
static int64_t falling(Thinning *own)
{
    int64_t kept = 0;
    double least = INFINITY;
    for (int64_t i = 0; i < own->n; i++)
        own->order[i] = i;
    sort_by_number(own->order, own->scratch, own->n, own->value);
    sort_by_integer(own->order, own->scratch, own->n, own->cost);
    for (int64_t i = 0; i < own->n; i++) {
        if (i && !(own->value[own->order[i]] < least))
            continue;
        least = own->value[own->order[i]];
        own->order[kept++] = own->order[i];
    }
    return kept;
}

/* Adds an axis of quantiles of the cost to the cells of the states; how many cells it has, 1 where costs are equal. */
static int64_t add_axis(Thinning *own, int64_t cells)
{
    int64_t edge[CELLS_OF_TWO], n_edges = 0;
    sorted_by_cost(own);
    if (own->cost[own->order[0]] == own->cost[own->order[own->n - 1]])
        return 1;
    double step = (double)(own->n - 1) / (double)(cells - 1);
    for (int64_t i = 0; i < cells; i++) {
        int64_t at = i == cells - 1 ? own->n - 1 : (int64_t)((double)i * step), next = own->cost[own->order[at]];
        if (!n_edges || next != edge[n_edges - 1])
            edge[n_edges++] = next;
    }
    for (int64_t i = 0, low = 0; i < own->n; i++) { /* how many edges are no larger: they rise with the order */
        while (low < n_edges && edge[low] <= own->cost[own->order[i]])
            low++;
        own->cell[own->order[i]] = own->cell[own->order[i]] * (n_edges + 1) + low;
    }
    return n_edges + 1;
}

/* In each cell the least value of it and of all cells lower along every axis. */
static void accumulate(double *least, const int64_t *shape, int64_t n_axes, int64_t total)
{
    int64_t stride = total;
    for (int64_t axis = 0; axis < n_axes; axis++) {
        stride /= shape[axis];
        for (int64_t at = stride; at < total; at++)
            if (at / stride % shape[axis])
                least[at] = smaller(least[at - stride], least[at]);
    }
}

/* States of which no state of cells lower along every axis is worth as much; the cost of each budget comes by turns. */
static int64_t unbeaten(Thinning *own, const Partial *states, const int64_t *lowest, double *least)
{
    int64_t n = states->n_resources, shape[3], n_axes = 0, total = 1, below = 0, kept = 0;
    for (int64_t i = 0; i < own->n; i++)
        own->cell[i] = 0;
    for (int64_t resource = 0; resource < n; resource++) {
        for (int64_t i = 0; i < own->n; i++) {
            int64_t cost = states->cost[i * n + resource];
            own->cost[i] = cost > lowest[resource] ? cost : lowest[resource];
        }
        int64_t size = add_axis(own, n == 2 ? CELLS_OF_TWO : CELLS_OF_THREE);
        if (size > 1)
            shape[n_axes++] = size, total *= size;
    }
    if (!n_axes) {
        for (int64_t i = 1; i < own->n; i++)
            kept = own->value[i] < own->value[kept] ? i : kept;
        own->order[0] = kept;
        return 1;
    }
    for (int64_t axis = 0; axis < n_axes; axis++)
        below = below * shape[axis] + 1;
    for (int64_t i = 0; i < total; i++)
        least[i] = INFINITY;
    for (int64_t i = 0; i < own->n; i++)
        least[own->cell[i]] = smaller(own->value[i], least[own->cell[i]]);
    accumulate(least, shape, n_axes, total);
    for (int64_t i = 0; i < own->n; i++)
        if (!(least[own->cell[i] - below] <= own->value[i]))
            own->order[kept++] = i;
    return kept;
}

/* Without the states that another one beats in value while costing no more; below a floor, costs are equal. */
int thin(Partial *states, const double *price, const int64_t *slack, const int64_t *fill)
{
    int64_t n = states->count, n_resources = states->n_resources, lowest[3];
    if (n_resources > 3)
        return DONE;
    Thinning own = {n, room_for(n, sizeof(int64_t)), room_for(n, sizeof(int64_t)), room_for(n, sizeof(int64_t)),
                    room_for(n, sizeof(int64_t)), room_for(n, sizeof(double))};
    double *least = room_for(n_resources == 3 ? 33 * 33 * 33 : MOST_CELLS, sizeof(double));
    int status = own.order && own.scratch && own.cost && own.cell && own.value && least ? DONE : NO_MEMORY;
    if (status == DONE) {
        for (int64_t resource = 0; resource < n_resources; resource++)
            lowest[resource] = minus(slack[resource], fill[resource]);
        for (int64_t i = 0; i < n; i++) {
            const int64_t *cost = states->cost + i * n_resources;
            double charged = price[0] * (double)cost[0];
            for (int64_t resource = 1; resource < n_resources; resource++)
                charged += price[resource] * (double)cost[resource];
            own.value[i] = states->regret[i] - charged;
            own.cost[i] = cost[0] > lowest[0] ? cost[0] : lowest[0];
        }
        int64_t kept = n_resources == 1 ? falling(&own) : unbeaten(&own, states, lowest, least);
        status = keep_some(states, own.order, kept);
    }
    free(own.order), free(own.scratch), free(own.cost), free(own.cell), free(own.value), free(least);
    return status;
}
