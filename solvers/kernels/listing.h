/* State lists over a core with one budget, and bounds at several prices; the twins are `core_search/lists.py` and more. */
#ifndef MCKP_QUANT_LISTING_H
#define MCKP_QUANT_LISTING_H

#include "kernels.h"

enum { TILTS = 7 };

/* Bounds for the groups from each place of an order on, see `core_search/tails.py`; the last entry is for none. */
typedef struct {
    double limit, noise, rounding, tilt[TILTS];
    int64_t *shed, *fill;
    double *least; /* TILTS for each place */
} Tails;

/* Partial selections: what they cost, the sum of their reduced costs, a bound, and where they came from. */
typedef struct {
    int64_t count, size;
    int64_t *cost;
    double *regret, *bound;
    int32_t *parent, *taken;
} Partial;

void bound_tails(const Core *core, double price, const int64_t *order, int64_t n_order, double limit, Tails *tails);
int grow_partial(Partial *states, int64_t wanted);
void free_partial(Partial *states);
int thin(Partial *states, double price, int64_t floor_cost);
int keep_least(Partial *states, int64_t width);

#endif
