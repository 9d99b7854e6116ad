/* The steps of the search of a core: states, combinations of choices, and how they came about. */
#ifndef MCKP_QUANT_STEPS_H
#define MCKP_QUANT_STEPS_H

#include "remaining.h"

/* Partial selections, by rising cost and strictly falling value, relative to the reference. */
typedef struct {
    int64_t count, size;
    int64_t *cost;
    double *value;
} States;

/* How one more group entered combinations; `kept` is NULL where all pairs were. */
typedef struct {
    int64_t before;
    int64_t *choice;
    int32_t *kept;
} Change;

enum { GROUPS_AT_ONCE = 64, FILTER_FROM = 100 };

/* Changes of one or more groups together; the first one changes nothing. */
typedef struct {
    int64_t count, size;
    int64_t *cost;
    double *value;
    int n_changes;
    Change change[GROUPS_AT_ONCE];
} Combinations;

typedef struct Step {
    struct Step *before;
    int n_changes;
    int32_t *parent, *taken;
    Change change[];
} Step;

typedef struct {
    Step *last;
} Steps;

/* A state in the making; its origin is combination times number of states, plus state. */
typedef struct {
    int64_t cost;
    double value;
    int64_t origin;
} Record;

/* Runs of records, each by rising cost and strictly falling value. */
typedef struct {
    int64_t count, size, n_runs, runs_size;
    Record *record, *other;
    int64_t *run;
    int64_t other_size;
} Records;

/* The choices of a group that enters a list of states. */
typedef struct {
    int64_t count;
    const int64_t *cost;
    const double *value;
} Group;

int merge_on_grid(const States *from, const Group *group, int64_t cells, int64_t unit, Poll *poll, States *to);
int merge_by_cost(const States *from, const Group *group, int64_t room, Poll *poll, States *to);
int begin_states(States *states);
int combine(Combinations *combinations, const Remaining *ahead, int64_t *first, int64_t most, double price, double limit);
int begin_run(Records *records, int64_t most);
int merge_runs(Records *records, Poll *poll);
int keep_step(Steps *steps, Combinations *combinations, const Records *records, States *states, int64_t n_before);
int64_t walk_back(const Steps *steps, int64_t state, int64_t *changes);
void free_steps(Steps *steps, Combinations *combinations, Records *records, States *states);

#endif
