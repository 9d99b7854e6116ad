/* Reduction of a problem with several budgets; the twins are `core/reduction.py`, `incumbent.py`, `bounds/dominance.py`. */
#include "relating.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 50 }; /* as in the twin */

/* Whether one choice is beaten or equalled throughout by another of its group; of equal ones the first stays. */
static int is_dominated(const Table *table, int64_t own, int64_t other)
{
    int equal = table->value[other] == table->value[own];
    if (!(table->value[other] <= table->value[own]))
        return 0;
    for (int64_t resource = 0; resource < table->n_resources; resource++) {
        int64_t its = cost_of(table, resource, other), ours = cost_of(table, resource, own);
        if (its > ours)
            return 0;
        equal &= its == ours;
    }
    return !equal || other < own;
}

static void undominated_by_any(const Table *table, Relative *relative)
{
    relative->count = 0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        relative->start[group] = relative->count;
        for (int64_t own = table->start[group]; own < table->start[group + 1]; own++) {
            int keep = 1;
            for (int64_t other = table->start[group]; keep && other < table->start[group + 1]; other++)
                keep = other == own || !is_dominated(table, own, other);
            if (keep) {
                relative->position[relative->count] = own;
                relative->group[relative->count++] = group;
            }
        }
    }
    relative->start[table->n_groups] = relative->count;
}

/* The cheapest choice of each group at the price; of equal ones the first. */
static void find_reference(const Table *table, const Relative *relative, Reduction *out)
{
    for (int64_t group = 0; group < table->n_groups; group++) {
        double least = INFINITY;
        out->reference[group] = relative->position[relative->start[group]];
        for (int64_t i = relative->start[group]; i < relative->start[group + 1]; i++) {
            int64_t own = relative->position[i];
            double priced = table->value[own] + price_of(table, out->price, own);
            if (priced < least)
                least = priced, out->reference[group] = own;
        }
    }
}

/* What the repair and the improvement of a selection need: what is over or left of each budget, and more. */
typedef struct {
    int64_t *over;
    double *unit, *current;
} Repair;

static int is_within(const Table *table, const int64_t *budget, const int64_t *selection, int64_t *over)
{
    int within = 1;
    for (int64_t resource = 0; resource < table->n_resources; resource++) {
        over[resource] = minus(total_cost(table, resource, selection), budget[resource]);
        within &= over[resource] <= 0;
    }
    return within;
}

/* The change that adds the least reduced cost for each overrun that it removes; -1 where none removes any. */
static int64_t best_repair(const Table *table, const Relative *relative, const Reduction *out, Repair *own,
                           const int64_t *chosen)
{
    int64_t best = -1;
    double least = INFINITY, before = 0.0;
    for (int64_t resource = 0; resource < table->n_resources; resource++)
        before += (double)(own->over[resource] > 0 ? own->over[resource] : 0) / own->unit[resource];
    for (int64_t group = 0; group < table->n_groups; group++)
        own->current[group] = table->value[chosen[group]] + price_of(table, out->price, chosen[group]);
    for (int64_t i = 0; i < relative->count; i++) {
        int64_t position = relative->position[i], group = relative->group[i];
        double after = 0.0;
        for (int64_t resource = 0; resource < table->n_resources; resource++) {
            int64_t change = minus(cost_of(table, resource, position), cost_of(table, resource, chosen[group]));
            int64_t left = plus(own->over[resource], change);
            after += (double)(left > 0 ? left : 0) / own->unit[resource];
        }
        double removed = before - after;
        if (!(removed > 0))
            continue;
        double rise = table->value[position] + price_of(table, out->price, position) - own->current[group];
        double rate = rise > 0 ? rise / removed : rise;
        if (best < 0 || rate < least)
            least = rate, best = i;
    }
    return best;
}

/* Changes groups one by one until every budget is met; whether that came to an end is left in `found`. */
static int repair(const Table *table, const int64_t *budget, const Relative *relative, const Reduction *out, Repair *own,
                  Poll *poll, int64_t *chosen, int *found)
{
    *found = 0;
    memcpy(chosen, out->reference, (size_t)table->n_groups * sizeof *chosen);
    for (int64_t round = 0; round < 4 * table->n_groups + ROUNDS; round++) {
        if (is_within(table, budget, chosen, own->over)) {
            *found = 1;
            return DONE;
        }
        int64_t best = best_repair(table, relative, out, own, chosen);
        int status = polled(poll, relative->count * table->n_resources);
        if (best < 0 || status != DONE)
            return status == STOPPED ? DONE : status;
        chosen[relative->group[best]] = relative->position[best];
    }
    return DONE;
}

/* Makes the best change of one group while one lowers the value; only some of the choices are tried. */
static int improve(const Table *table, const int64_t *budget, const Relative *relative, const int64_t *near_index,
                   int64_t n_near, Repair *own, Poll *poll, int64_t *chosen)
{
    for (int round = 0; round < ROUNDS; round++) {
        int status = polled(poll, n_near * table->n_resources);
        int64_t best = -1;
        double least = 0.0;
        if (status != DONE)
            return status == STOPPED ? DONE : status;
        is_within(table, budget, chosen, own->over);
        for (int64_t i = 0; i < n_near; i++) {
            int64_t position = relative->position[near_index[i]], old = chosen[relative->group[near_index[i]]];
            double value = table->value[position] - table->value[old];
            if (!(value < least))
                continue;
            int fits = 1;
            for (int64_t resource = 0; fits && resource < table->n_resources; resource++)
                fits = minus(cost_of(table, resource, position), cost_of(table, resource, old)) <=
                       minus(0, own->over[resource]);
            if (fits)
                least = value, best = near_index[i];
        }
        if (best < 0)
            break;
        chosen[relative->group[best]] = relative->position[best];
    }
    return DONE;
}

static void keep_better(const Table *table, const int64_t *budget, const int64_t *selection, Reduction *out)
{
    double own = gap_of(table, selection, out, budget);
    if (own < out->gap || !out->is_feasible) {
        out->gap = own, out->is_feasible = 1;
        memcpy(out->incumbent, selection, (size_t)table->n_groups * sizeof *selection);
    }
}

/* The better of a warm start and a repaired reference, improved by what can be part of anything better. */
static int find_incumbent(const Table *table, const int64_t *budget, const int64_t *warm, int64_t pairs_up_to,
                          const Relative *relative, Repair *own, Poll *poll, Poll *late, Reduction *out)
{
    int repaired, status;
    int64_t *chosen = room_for(table->n_groups, sizeof(int64_t)), *near_index = room_for(relative->count, sizeof(int64_t));
    double *scratch = room_for(relative->count, sizeof(double));
    status = chosen && near_index && scratch ? DONE : NO_MEMORY;
    if (status == DONE && warm && is_within(table, budget, warm, own->over))
        keep_better(table, budget, warm, out);
    if (status == DONE)
        status = repair(table, budget, relative, out, own, late, chosen, &repaired);
    if (status == DONE && repaired)
        keep_better(table, budget, chosen, out);
    if (status == DONE && out->is_feasible && out->gap > 0) {
        int64_t n_near = near_choices(relative, out->gap, NULL, pairs_up_to, near_index, scratch);
        memcpy(chosen, out->incumbent, (size_t)table->n_groups * sizeof *chosen);
        status = improve(table, budget, relative, near_index, n_near, own, poll, chosen);
        if (status == DONE)
            keep_better(table, budget, chosen, out);
    }
    free(chosen), free(near_index), free(scratch);
    return status;
}

int reduce_several_budgets(const Table *table, const int64_t *budget, const uint8_t *counts, const int64_t *warm,
                           int64_t pairs_up_to, Poll *poll, Poll *late, Reduction *out)
{
    Relative relative;
    Repair own = {room_for(table->n_resources, sizeof(int64_t)), room_for(table->n_resources, sizeof(double)),
                  room_for(table->n_groups, sizeof(double))};
    int status = new_relative(table, out->core.slack, &relative);
    if (!own.over || !own.unit || !own.current)
        status = NO_MEMORY;
    out->gap = INFINITY, out->unit = 0.0, out->is_feasible = 0;
    if (status == DONE)
        status = dual_price(table, budget, counts, poll, out->price);
    if (status == DONE) {
        for (int64_t resource = 0; resource < table->n_resources; resource++) {
            int64_t most = 1;
            for (int64_t i = 0; i < table->n_choices; i++)
                most = cost_of(table, resource, i) > most ? cost_of(table, resource, i) : most;
            own.unit[resource] = (double)most;
        }
        undominated_by_any(table, &relative);
        find_reference(table, &relative, out);
        relate(table, budget, out, &relative);
        status = find_incumbent(table, budget, warm, pairs_up_to, &relative, &own, poll, late, out);
    }
    if (status == DONE) {
        keep_core(table, &relative, out);
        status = out->is_feasible ? find_unit(table, out) : DONE;
    }
    free(own.over), free(own.unit), free(own.current);
    free_relative(&relative);
    return status;
}
