/* Reduction and the first search of the core, for problems with one budget that need no more than these. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

static int allocate(const Table *table, Reduction *reduction, int64_t **changes)
{
    int64_t n = table->n_choices, n_groups = table->n_groups;
    int64_t *whole = room_for(4 * n_groups + 1, sizeof(int64_t)), *flat = room_for(2 * n, sizeof(int64_t));
    double *numbers = room_for(2 * n, sizeof(double));
    reduction->reference = whole;
    reduction->core.position = flat;
    reduction->core.value = numbers;
    if (!whole || !flat || !numbers)
        return NO_MEMORY;
    *changes = whole + n_groups;
    reduction->core.group = whole + 2 * n_groups;
    reduction->core.start = whole + 3 * n_groups;
    reduction->core.cost = flat + n;
    reduction->core.reduced = numbers + n;
    return DONE;
}

/* The reference with some changes, given as indices into the core. */
static void apply(const Table *table, const Reduction *reduction, const Search *search, int64_t *choice)
{
    const Core *core = &reduction->core;
    memcpy(choice, reduction->reference, (size_t)table->n_groups * sizeof *choice);
    for (int64_t i = 0; i < search->n_changes; i++) {
        int64_t low = 0, high = core->n_groups;
        while (high - low > 1) {
            int64_t middle = low + (high - low) / 2;
            if (core->start[middle] <= search->changes[i])
                low = middle;
            else
                high = middle;
        }
        choice[core->group[low]] = core->position[search->changes[i]];
    }
}

static int solve(const Table *table, const Limits *limits, Poll *poll, Reduction *reduction, Search *search, int64_t *choice)
{
    double unit = reduction->unit - 2 * reduction->noise;
    if (unit > reduction->noise && reduction->core.n_choices)
        return STOPPED; /* values are whole multiples: what follows from that is not found here */
    search->price = reduction->price, search->gap = reduction->gap;
    search->least_gain = larger(unit, reduction->noise);
    if (search->gap - search->least_gain < 0.0 || search->gap <= search->least_gain)
        return DONE;
    search->max_states = limits->first_states + limits->states_of_a_group * reduction->core.n_groups;
    if (search->max_states > limits->max_states)
        search->max_states = limits->max_states;
    int status = search_core(&reduction->core, search, poll);
    if (search->n_changes >= 0)
        apply(table, reduction, search, choice);
    return status;
}

int solve_one_budget(const Table *table, int64_t budget, const int64_t *warm, int64_t pairs_up_to, Limits limits, Poll *poll,
                     int64_t *choice, double *figures, int64_t *counts)
{
    double price = 0.0;
    int64_t slack = 0;
    Reduction reduction = {.incumbent = choice, .price = &price, .core.slack = &slack};
    Search search = {0};
    int status = allocate(table, &reduction, &search.changes);
    if (status == DONE)
        status = reduce_one_budget(table, budget, warm, pairs_up_to, &reduction);
    if (status == DONE) {
        status = solve(table, &limits, poll, &reduction, &search, choice);
        figures[0] = price, figures[1] = reduction.noise, figures[2] = search.gap;
        counts[0] = reduction.core.n_groups, counts[1] = reduction.core.n_choices, counts[2] = search.kept;
    }
    free(reduction.reference), free(reduction.core.position), free(reduction.core.value);
    return status;
}
