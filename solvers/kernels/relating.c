/* Choices relative to a reference, and the core that they leave; the twins are `core/gap_space.py` and `reduction.py`. */
#include "relating.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int new_relative(const Table *table, int64_t *slack, Relative *relative)
{
    int64_t n = table->n_choices;
    *relative = (Relative){0,
                           room_for(table->n_groups + 1, sizeof(int64_t)),
                           room_for(n, sizeof(int64_t)),
                           room_for(n, sizeof(int64_t)),
                           room_for(n, (size_t)table->n_resources * sizeof(int64_t)),
                           slack,
                           room_for(n, sizeof(double)),
                           room_for(n, sizeof(double))};
    return relative->start && relative->position && relative->group && relative->cost && relative->value &&
                   relative->reduced
               ? DONE
               : NO_MEMORY;
}

void free_relative(Relative *relative)
{
    free(relative->start), free(relative->position), free(relative->group), free(relative->cost);
    free(relative->value), free(relative->reduced);
}

int64_t total_cost(const Table *table, int64_t resource, const int64_t *selection)
{
    int64_t total = 0;
    for (int64_t group = 0; group < table->n_groups; group++)
        total = plus(total, cost_of(table, resource, selection[group]));
    return total;
}

/* What a choice costs at a price. */
double price_of(const Table *table, const double *price, int64_t position)
{
    double charged = price[0] * (double)table->cost[position];
    for (int64_t resource = 1; resource < table->n_resources; resource++)
        charged += price[resource] * (double)cost_of(table, resource, position);
    return charged;
}

/* Value of a selection less the Lagrangian bound, as a sum of terms that are not negative. */
double gap_of(const Table *table, const int64_t *selection, const Reduction *out, const int64_t *budget)
{
    double regrets = 0.0, unused = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t new = selection[group], old = out->reference[group];
        if (new == old)
            continue;
        double charged = out->price[0] * (double)minus(table->cost[new], table->cost[old]);
        for (int64_t resource = 1; resource < table->n_resources; resource++)
            charged += out->price[resource] * (double)minus(cost_of(table, resource, new), cost_of(table, resource, old));
        regrets += larger(table->value[new] - table->value[old] + charged, 0.0);
    }
    for (int64_t resource = 0; resource < table->n_resources; resource++)
        unused += out->price[resource] * (double)minus(budget[resource], total_cost(table, resource, selection));
    return regrets + unused;
}

void relate(const Table *table, const int64_t *budget, const Reduction *out, Relative *relative)
{
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t old = out->reference[group];
        for (int64_t i = relative->start[group]; i < relative->start[group + 1]; i++) {
            int64_t own = relative->position[i];
            double charged = 0.0;
            for (int64_t resource = 0; resource < table->n_resources; resource++) {
                int64_t more = minus(cost_of(table, resource, own), cost_of(table, resource, old));
                relative->cost[resource * table->n_choices + i] = more;
                charged += out->price[resource] * (double)more;
            }
            relative->group[i] = group;
            relative->value[i] = table->value[own] - table->value[old];
            relative->reduced[i] = larger(charged + relative->value[i], 0.0);
        }
    }
    for (int64_t resource = 0; resource < table->n_resources; resource++)
        relative->slack[resource] = minus(budget[resource], total_cost(table, resource, out->reference));
}

/* Indices of the choices near enough to be part of anything better; with too many, of those of least reduced cost.
   Choices of the selection `left_out`, where there is one, are none of them. */
int64_t near_choices(const Relative *relative, double gap, const int64_t *left_out, int64_t most, int64_t *near_index,
                     double *scratch)
{
    int64_t count = 0, kept = 0, tied;
    for (int64_t i = 0; i < relative->count; i++)
        if (relative->reduced[i] <= gap && !(left_out && relative->position[i] == left_out[relative->group[i]])) {
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

static void take(Core *core, int64_t stride, const Relative *relative, int64_t i)
{
    int64_t at = core->n_choices++;
    core->position[at] = relative->position[i];
    core->value[at] = relative->value[i];
    core->reduced[at] = relative->reduced[i];
    for (int64_t resource = 0; resource < core->n_resources; resource++)
        core->cost[resource * stride + at] = relative->cost[resource * stride + i];
}

/* The largest term of any choice of the last group of a core. */
static double size_of_last(const Core *core, int64_t stride, const double *price)
{
    double size = 0.0;
    for (int64_t at = core->start[core->n_groups - 1]; at < core->n_choices; at++) {
        double charged = 0.0;
        for (int64_t resource = 0; resource < core->n_resources; resource++)
            charged += price[resource] * fabs((double)core->cost[resource * stride + at]);
        size = larger(charged + fabs(core->value[at]), size);
    }
    return size;
}

/* The groups in which a choice other than the reference is within the gap, references first; and what is rounding. */
void keep_core(const Table *table, const Relative *relative, Reduction *out)
{
    Core *core = &out->core;
    int64_t stride = table->n_choices;
    double noise = 0.0;
    core->n_groups = core->n_choices = 0;
    core->n_resources = table->n_resources;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t own = relative->start[group], others = 0;
        for (int64_t i = relative->start[group]; i < relative->start[group + 1]; i++) {
            int is_reference = relative->position[i] == out->reference[group];
            own = is_reference ? i : own;
            others += !is_reference && relative->reduced[i] <= out->gap;
        }
        if (!others)
            continue;
        core->start[core->n_groups] = core->n_choices;
        core->group[core->n_groups++] = group;
        take(core, stride, relative, own);
        for (int64_t i = relative->start[group]; i < relative->start[group + 1]; i++)
            if (i != own && relative->reduced[i] <= out->gap)
                take(core, stride, relative, i);
        noise += size_of_last(core, stride, out->price);
    }
    core->start[core->n_groups] = core->n_choices;
    out->noise = 4 * DBL_EPSILON * noise;
    for (int64_t resource = 1; resource < core->n_resources && core->n_choices; resource++) /* rows of a core touch */
        memmove(core->cost + resource * core->n_choices, core->cost + resource * stride,
                (size_t)core->n_choices * sizeof *core->cost);
}

/* The unit of all values of the core, and of the changes that lead to the incumbent. */
int find_unit(const Table *table, Reduction *out)
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
