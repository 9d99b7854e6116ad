/* One trial of state lists, between the kernels that make and use it. */
#ifndef MCKP_QUANT_WALKING_H
#define MCKP_QUANT_WALKING_H

#include "listing.h"

typedef struct Stage {
    struct Stage *before;
    int64_t group;
    int64_t *choice;
    int32_t *parent, *taken;
} Stage;

typedef struct {
    const Core *core;
    Search *search;
    Poll *poll;
    const double *price;
    double ceiling, least_gain;
    int64_t *order, *selection, *scratch;
    double *number;
    Tails tails;
    Partial states, grown;
    Stage *last;
} Lists;

typedef struct {
    int found, exhausted, stopped;
    int64_t states;
} Walk;

double least_of_group(const Core *core, int64_t group);
int walk(Lists *lists, double limit, int64_t width, Walk *out);
void forget_stages(Lists *lists);

#endif
