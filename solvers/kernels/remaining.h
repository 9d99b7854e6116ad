/* The choices still to come in the search of a core; the twin is `core_search/remaining.py`. */
#ifndef MCKP_QUANT_REMAINING_H
#define MCKP_QUANT_REMAINING_H

#include "kernels.h"

/* Choices other than references, group by group as groups enter, and bounds from each group on. */
typedef struct {
    int64_t count, n_groups;
    int64_t *index, *group, *cost, *begin, *shed;
    double *value, *reduced, *gradient, *up, *down;
    void *memory[10];
} Remaining;

int remaining_of(const Core *core, Remaining *ahead);
void bound_remaining(Remaining *ahead, double price);
void drop_before(Remaining *ahead, int64_t first);
void keep_those(Remaining *ahead, const uint8_t *keep);
void free_remaining(Remaining *ahead);

#endif
