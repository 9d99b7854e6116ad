/* Reduction of a problem with one budget; the twin is `core/reduction.py`, with `core/incumbent.py`. */
#include "kernels.h"
#include "relaxing.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All undominated choices relative to the reference, see `core/gap_space.py`. */
typedef struct {
    int64_t count, slack;
    int64_t *position, *group, *cost;
    double *value, *reduced;
} Relative;

static int64_t total_cost(const Table *table, const int64_t *selection)
{
    int64_t total = 0;
    for (int64_t group = 0; group < table->n_groups; group++)
        total = plus(total, table->cost[selection[group]]);
    return total;
}

/* Value of a selection less the Lagrangian bound, as a sum of terms that are not negative. */
static double gap_of(const Table *table, const int64_t *selection, const int64_t *reference, double price, int64_t budget)
{
    double regrets = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t new = selection[group], old = reference[group];
        if (new == old)
            continue;
        double charged = price * (double)minus(table->cost[new], table->cost[old]);
        regrets += larger(table->value[new] - table->value[old] + charged, 0.0);
    }
    return regrets + price * (double)minus(budget, total_cost(table, selection));
}

/* All steps of a higher rate, and of those at that very rate as many as fit, one by one. */
static void fill(const Table *table, int64_t budget, const Hulls *hulls, double price, int64_t *reference)
{
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t at = hulls->first[group];
        while (at + 1 < hulls->first[group + 1] && hulls->rate[at] > price)
            at++;
        reference[group] = hulls->point[at];
    }
    int64_t room = minus(budget, total_cost(table, reference));
    for (int64_t group = 0; group < table->n_groups; group++) {
        for (int64_t at = hulls->first[group]; at + 1 < hulls->first[group + 1]; at++) {
            int64_t weight = minus(table->cost[hulls->point[at + 1]], table->cost[hulls->point[at]]);
            if (hulls->rate[at] == price && weight <= room) {
                reference[group] = hulls->point[at + 1];
                room = minus(room, weight);
            }
        }
    }
}

static int relax(const Table *table, int64_t budget, const int64_t *position, const int64_t *kept_start, Reduction *out)
{
    int64_t count = kept_start[table->n_groups], steps = 0, room = budget;
    Hulls hulls = {room_for(count, sizeof(int64_t)), room_for(table->n_groups + 1, sizeof(int64_t)),
                   room_for(count, sizeof(double))};
    double *rate = room_for(count, sizeof(double));
    int64_t *weight = room_for(count, sizeof(int64_t));
    int status = hulls.point && hulls.first && hulls.rate && rate && weight ? DONE : NO_MEMORY;
    if (status == DONE) {
        lower_hulls(table, position, kept_start, &hulls);
        for (int64_t group = 0; group < table->n_groups; group++) {
            room = minus(room, table->cost[hulls.point[hulls.first[group]]]);
            for (int64_t at = hulls.first[group]; at + 1 < hulls.first[group + 1]; at++) {
                rate[steps] = hulls.rate[at];
                weight[steps++] = minus(table->cost[hulls.point[at + 1]], table->cost[hulls.point[at]]);
            }
        }
        out->price = multiplier(rate, weight, steps, room);
        fill(table, budget, &hulls, out->price, out->reference);
    }
    free(hulls.point), free(hulls.first), free(hulls.rate), free(rate), free(weight);
    return status;
}

static void relate(const Table *table, int64_t budget, const int64_t *kept_start, const Reduction *out, Relative *relative)
{
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t old = out->reference[group];
        for (int64_t i = kept_start[group]; i < kept_start[group + 1]; i++) {
            int64_t own = relative->position[i];
            relative->group[i] = group;
            relative->value[i] = table->value[own] - table->value[old];
            relative->cost[i] = minus(table->cost[own], table->cost[old]);
            relative->reduced[i] = larger(out->price * (double)relative->cost[i] + relative->value[i], 0.0);
        }
    }
    relative->slack = minus(budget, total_cost(table, out->reference));
}

/* Indices of the choices near enough to be part of anything better; with too many, of those of least reduced cost. */
static int64_t near_choices(const Relative *relative, const Reduction *out, int64_t most, int64_t *near_index, double *scratch)
{
    int64_t count = 0, kept = 0, tied;
    for (int64_t i = 0; i < relative->count; i++)
        if (relative->reduced[i] <= out->gap && relative->position[i] != out->reference[relative->group[i]]) {
            scratch[count] = relative->reduced[i];
            near_index[count++] = i;
        }
    if (count <= most)
        return count;
    double limit = smallest(scratch, count, most);
    tied = most;
    for (int64_t i = 0; i < count; i++)
        tied -= relative->reduced[near_index[i]] < limit;
    for (int64_t i = 0; i < count; i++) {
        double own = relative->reduced[near_index[i]];
        if (own < limit || (own == limit && tied-- > 0))
            near_index[kept++] = near_index[i];
    }
    return kept;
}

/* Changes one choice or two of the reference where that is better than the incumbent. */
static int improve(const Table *table, int64_t budget, const Relative *relative, int64_t pairs_up_to, Reduction *out)
{
    int64_t n = relative->count, best[2];
    int status = DONE;
    int64_t *near_index = room_for(n, sizeof(int64_t)), *cost = room_for(n, sizeof(int64_t));
    int64_t *group = room_for(n, sizeof(int64_t)), *changed = room_for(table->n_groups, sizeof(int64_t));
    double *value = room_for(n, sizeof(double));
    if (!near_index || !cost || !group || !changed || !value) {
        status = NO_MEMORY;
    } else {
        int64_t count = near_choices(relative, out, pairs_up_to, near_index, value);
        for (int64_t i = 0; i < count; i++) {
            value[i] = relative->value[near_index[i]];
            cost[i] = relative->cost[near_index[i]];
            group[i] = relative->group[near_index[i]];
        }
        int64_t found = best_changes(value, cost, group, count, relative->slack, best, &status);
        memcpy(changed, out->reference, (size_t)table->n_groups * sizeof *changed);
        for (int64_t i = 0; i < found; i++)
            changed[group[best[i]]] = relative->position[near_index[best[i]]];
        double own = status == DONE ? gap_of(table, changed, out->reference, out->price, budget) : INFINITY;
        if (own < out->gap) {
            out->gap = own;
            memcpy(out->incumbent, changed, (size_t)table->n_groups * sizeof *changed);
        }
    }
    free(near_index), free(cost), free(group), free(changed), free(value);
    return status;
}

static void take(Core *core, const Relative *relative, int64_t i)
{
    int64_t at = core->n_choices++;
    core->position[at] = relative->position[i];
    core->value[at] = relative->value[i];
    core->cost[at] = relative->cost[i];
    core->reduced[at] = relative->reduced[i];
}

/* The groups in which a choice other than the reference is within the gap, references first; and what is rounding. */
static void keep_core(const Relative *relative, const int64_t *kept_start, int64_t n_groups, Reduction *out)
{
    Core *core = &out->core;
    double noise = 0.0;
    core->n_groups = core->n_choices = 0;
    for (int64_t group = 0; group < n_groups; group++) {
        int64_t own = kept_start[group], others = 0;
        for (int64_t i = kept_start[group]; i < kept_start[group + 1]; i++) {
            int is_reference = relative->position[i] == out->reference[group];
            own = is_reference ? i : own;
            others += !is_reference && relative->reduced[i] <= out->gap;
        }
        if (!others)
            continue;
        core->start[core->n_groups] = core->n_choices;
        core->group[core->n_groups++] = group;
        take(core, relative, own);
        for (int64_t i = kept_start[group]; i < kept_start[group + 1]; i++)
            if (i != own && relative->reduced[i] <= out->gap)
                take(core, relative, i);
        double size = 0.0;
        for (int64_t at = core->start[core->n_groups - 1]; at < core->n_choices; at++)
            size = larger(out->price * fabs((double)core->cost[at]) + fabs(core->value[at]), size);
        noise += size;
    }
    core->start[core->n_groups] = core->n_choices;
    core->slack = relative->slack;
    out->noise = 4 * DBL_EPSILON * noise;
}

/* The unit of all values of the core, and of the changes that lead to the incumbent. */
static int find_unit(const Table *table, Reduction *out)
{
    const Core *core = &out->core;
    double *value = room_for(core->n_choices + table->n_groups, sizeof(double)), most = 0.0;
    if (!value)
        return NO_MEMORY;
    int64_t count = core->n_choices;
    if (count)
        memcpy(value, core->value, (size_t)count * sizeof *value);
    for (int64_t group = 0; group < table->n_groups; group++)
        if (out->incumbent[group] != out->reference[group])
            value[count++] = table->value[out->incumbent[group]] - table->value[out->reference[group]];
    for (int64_t i = 0; i < count; i++)
        most = larger(fabs(value[i]), most);
    out->unit = unit_of(value, count, most);
    free(value);
    return DONE;
}

int reduce_one_budget(const Table *table, int64_t budget, const int64_t *warm, int64_t pairs_up_to, Reduction *out)
{
    int64_t n = table->n_choices, n_groups = table->n_groups;
    Relative relative = {0, 0, room_for(n, sizeof(int64_t)), room_for(n, sizeof(int64_t)), room_for(n, sizeof(int64_t)),
                         room_for(n, sizeof(double)), room_for(n, sizeof(double))};
    int64_t *kept_start = room_for(n_groups + 1, sizeof(int64_t));
    int status = NO_MEMORY;
    if (relative.position && relative.group && relative.cost && relative.value && relative.reduced && kept_start) {
        relative.count = undominated(table, relative.position, kept_start, relative.group);
        status = relax(table, budget, relative.position, kept_start, out);
    }
    if (status == DONE) {
        const int64_t *first = out->reference;
        relate(table, budget, kept_start, out, &relative);
        out->gap = out->price * (double)relative.slack;
        if (warm && total_cost(table, warm) <= budget) {
            double own = gap_of(table, warm, out->reference, out->price, budget);
            first = own < out->gap ? warm : first;
            out->gap = smaller(own, out->gap);
        }
        memcpy(out->incumbent, first, (size_t)n_groups * sizeof *first);
        if (out->gap > 0)
            status = improve(table, budget, &relative, pairs_up_to, out);
    }
    if (status == DONE) {
        keep_core(&relative, kept_start, n_groups, out);
        status = find_unit(table, out);
    }
    free(relative.position), free(relative.group), free(relative.cost), free(relative.value), free(relative.reduced);
    free(kept_start);
    return status;
}

/* The change of one group, or of two together, that fits and adds the least value: how many, and which. */
int64_t best_changes(const double *value, const int64_t *cost, const int64_t *group, int64_t count, int64_t slack,
                     int64_t best[2], int *status)
{
    /* A change of nothing in no group stands for the missing partner: it is the last one. */
    int64_t n = count + 1, reach, found = 0;
    int64_t *order = room_for(n, sizeof(int64_t)), *scratch = room_for(n, sizeof(int64_t));
    int64_t *least = room_for(n, sizeof(int64_t)), *own_cost = room_for(n, sizeof(int64_t));
    double lowest = INFINITY;
    *status = order && scratch && least && own_cost ? DONE : NO_MEMORY;
    if (*status == DONE) {
        memcpy(own_cost, cost, (size_t)count * sizeof *cost);
        own_cost[count] = 0;
        for (int64_t i = 0; i < n; i++)
            order[i] = i;
        sort_by_integer(order, scratch, n, own_cost);
#define VALUE(i) ((i) == count ? 0.0 : value[i])
#define GROUP(i) ((i) == count ? -1 : group[i])
        least[0] = order[0];
        for (int64_t i = 1; i < n; i++)
            least[i] = VALUE(order[i]) <= VALUE(least[i - 1]) ? order[i] : least[i - 1];
        reach = n - 1;
        for (int64_t i = 0; i < n; i++) {
            int64_t one = order[i], left = minus(slack, own_cost[one]);
            while (reach >= 0 && own_cost[order[reach]] > left)
                reach--;
            if (reach < 0)
                break;
            double total = VALUE(one) + VALUE(least[reach]);
            if (total < lowest && GROUP(one) != GROUP(least[reach])) {
                lowest = total;
                best[0] = one, best[1] = least[reach];
                found = 2;
            }
        }
#undef VALUE
#undef GROUP
        if (found && best[1] == count)
            found = 1;
        if (found && best[0] == count)
            best[0] = best[1], found--;
    }
    free(order), free(scratch), free(least), free(own_cost);
    return found;
}
