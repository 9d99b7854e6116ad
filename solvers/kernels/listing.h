/* State lists over a core with any number of budgets, and bounds at several prices; the twins are `lists.py` and more. */
#ifndef MCKP_QUANT_LISTING_H
#define MCKP_QUANT_LISTING_H

#include "kernels.h"

/* Bounds for the groups from each place of an order on, see `core_search/tails.py`; the last entry is for none. */
typedef struct {
    double limit, noise, rounding;
    int64_t n_prices;
    double *tilt, *least;  /* a number for each budget, of each price; one for each price, at each place */
    int64_t *shed, *fill;  /* for each budget, at each place */
    double *size, *charged, *spent; /* where bounds are made */
} Tails;

/* Partial selections: what they cost, the sum of their reduced costs, a bound, and where they came from. */
typedef struct {
    int64_t count, size, n_resources;
    int64_t *cost; /* of each state, for each budget */
    double *regret, *bound;
    int32_t *parent, *taken;
} Partial;

int new_tails(const Core *core, Tails *tails);
void free_tails(Tails *tails);
void bound_tails(const Core *core, const double *price, const int64_t *order, int64_t n_order, double limit, Tails *tails);
void bound_states(Partial *states, int64_t first, const Tails *tails, int64_t rank, double threshold);
int grow_partial(Partial *states, int64_t wanted);
void free_partial(Partial *states);
int keep_some(Partial *states, const int64_t *index, int64_t count);
int keep_least(Partial *states, int64_t width);
int thin(Partial *states, const double *price, const int64_t *slack, const int64_t *fill);

static inline int64_t more_cost(const Core *core, int64_t resource, int64_t choice)
{
    return core->cost[resource * core->n_choices + choice];
}

#endif
