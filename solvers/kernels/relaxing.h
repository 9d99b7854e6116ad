/* Hulls of all groups, between the kernels that make and use them. */
#ifndef MCKP_QUANT_RELAXING_H
#define MCKP_QUANT_RELAXING_H

#include "kernels.h"

/* Points of group g are first[g] .. first[g + 1] - 1; the step from point i to i + 1 has the rate i. */
typedef struct {
    int64_t *point, *first;
    double *rate;
} Hulls;

void lower_hulls(const Table *table, const int64_t *position, const int64_t *kept_start, Hulls *hulls);
double multiplier(double *rate, int64_t *weight, int64_t count, int64_t room);

#endif
