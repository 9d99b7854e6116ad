/* Choices relative to a reference selection, between the kernels that reduce problems. */
#ifndef MCKP_QUANT_RELATING_H
#define MCKP_QUANT_RELATING_H

#include "kernels.h"

/* All undominated choices relative to the reference, see `core/gap_space.py`; a row of `cost` for each budget. */
typedef struct {
    int64_t count, *start; /* where the choices of each group begin */
    int64_t *position, *group, *cost, *slack;
    double *value, *reduced;
} Relative;

int new_relative(const Table *table, int64_t *slack, Relative *relative);
void free_relative(Relative *relative);
int64_t total_cost(const Table *table, int64_t resource, const int64_t *selection);
double price_of(const Table *table, const double *price, int64_t position);
double gap_of(const Table *table, const int64_t *selection, const Reduction *out, const int64_t *budget);
void relate(const Table *table, const int64_t *budget, const Reduction *out, Relative *relative);
int64_t near_choices(const Relative *relative, double gap, const int64_t *left_out, int64_t most, int64_t *near_index,
                     double *scratch);
void keep_core(const Table *table, const Relative *relative, Reduction *out);
int find_unit(const Table *table, Reduction *out);

#endif
