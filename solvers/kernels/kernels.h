/* The compiled kernels: plain C on arrays. Each gives to the last bit what its NumPy twin gives; the twins say why. */
#ifndef MCKP_QUANT_KERNELS_H
#define MCKP_QUANT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { DONE = 0, STOPPED = 1, INTERRUPTED = 2, NO_MEMORY = 3 };

/* Says now and then whether to go on: DONE, or why not. */
typedef struct {
    int (*ask)(void *context);
    void *context;
    int64_t work; /* since it was last asked */
} Poll;

enum { WORK_BETWEEN_POLLS = 1 << 18 };

int polled(Poll *poll, int64_t work);

/* Sums wrap around, as those of NumPy do: hostile numbers make wrong sums, never undefined ones. */
static inline int64_t plus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t minus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }

/* Memory for `count` elements, at least one; NULL where there is not so much. */
void *room_for(int64_t count, size_t size);

/* Indices sorted by rising key; equal keys keep their order. `scratch` holds as many. */
void sort_by_integer(int64_t *index, int64_t *scratch, int64_t count, const int64_t *key);
void sort_by_number(int64_t *index, int64_t *scratch, int64_t count, const double *key);

double smallest(double *number, int64_t total, int64_t count);

/* Groups, their choices, and what they cost: a row of `cost` for each budget. */
typedef struct {
    int64_t n_groups, n_choices;
    const int64_t *start, *cost;
    const double *value;
    int64_t n_resources;
} Table;

static inline int64_t cost_of(const Table *table, int64_t resource, int64_t position)
{
    return table->cost[resource * table->n_choices + position];
}

/* The choices that count of a core, relative to its reference selection, see `core.reduction.Core`. */
typedef struct {
    int64_t *group, *start, *position, *cost;
    double *value, *reduced;
    int64_t n_groups, n_choices, n_resources, *slack;
} Core;

/* `price` and the slack of the core hold one number for each budget; without an incumbent the gap is infinite. */
typedef struct {
    double *price, gap, noise, unit;
    int64_t *reference, *incumbent;
    Core core;
    int is_feasible;
} Reduction;

int64_t undominated(const Table *table, int64_t *position, int64_t *kept_start, int64_t *scratch);
int reduce_one_budget(const Table *table, int64_t budget, const int64_t *warm, int64_t pairs_up_to, Reduction *out);
int reduce_several_budgets(const Table *table, const int64_t *budget, const uint8_t *counts, const int64_t *warm,
                           int64_t pairs_up_to, Poll *poll, Poll *late, Reduction *out);
int dual_price(const Table *table, const int64_t *budget, const uint8_t *counts, Poll *poll, double *price);
int64_t best_changes(const double *value, const int64_t *cost, const int64_t *group, int64_t count, int64_t slack,
                     int64_t best[2], int *status);

typedef struct {
    const double *price;
    double gap, least_gain, least_total;
    int64_t max_states;
    int64_t *changes; /* room for one per group of the core */
    int64_t n_changes; /* -1 while nothing better was found */
    int64_t kept;
} Search;

int search_core(const Core *core, Search *search, Poll *poll);
int search_lists(const Core *core, Search *search, Poll *poll);

/* How many states the first search may keep, those for each group of the core, and how many all searches may. */
typedef struct {
    int64_t first_states, states_of_a_group, max_states;
} Limits;

int solve_one_budget(const Table *table, int64_t budget, const int64_t *warm, int64_t pairs_up_to, Limits limits, Poll *poll,
                     int64_t *choice, double *figures, int64_t *counts);

/* The cheapest position of each group; positions nearly tied, and beside each the cheapest; what the cheapest cost. */
typedef struct {
    int64_t *position, *near_tied, *reference, *used;
} Cheapest;

int64_t cheapest(const Table *table, const int64_t *above, const uint8_t *fits, const double *price, int64_t n_resources,
                 Cheapest *found, double *scratch);
double unit_of(const double *value, int64_t count, double largest);
double whole_unit(const Table *table, const uint8_t *fits, double *above);
double deciding(const Table *table, const int64_t *choice, const int64_t *position, const int64_t *near_tied, int64_t count,
                double *terms, int64_t *n_terms);
void measure(const int64_t *start, int64_t n_groups, const int64_t *cost, int64_t *above, int64_t *total, int64_t *divisor,
             int64_t *most);
int outweighed(const Table *table, double *largest);
double chosen_total(const double *value, const int64_t *choice, int64_t count);
double total_below(const double *value, const int64_t *choice, int64_t count, const double *more, int64_t n_more);

#endif
