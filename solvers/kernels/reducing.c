/* Reduction of a problem with one budget; the twin is `core/reduction.py`, with `core/incumbent.py`. */
#include "relating.h"
#include "relaxing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All steps of a higher rate, and of those at that very rate as many as fit, one by one. */
static void fill(const Table *table, int64_t budget, const Hulls *hulls, double price, int64_t *reference)
{
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t at = hulls->first[group];
        while (at + 1 < hulls->first[group + 1] && hulls->rate[at] > price)
            at++;
        reference[group] = hulls->point[at];
    }
    int64_t room = minus(budget, total_cost(table, 0, reference));
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

static int relax(const Table *table, int64_t budget, const Relative *relative, Reduction *out)
{
    int64_t count = relative->count, steps = 0, room = budget;
    Hulls hulls = {room_for(count, sizeof(int64_t)), room_for(table->n_groups + 1, sizeof(int64_t)),
                   room_for(count, sizeof(double))};
    double *rate = room_for(count, sizeof(double));
    int64_t *weight = room_for(count, sizeof(int64_t));
    int status = hulls.point && hulls.first && hulls.rate && rate && weight ? DONE : NO_MEMORY;
    if (status == DONE) {
        lower_hulls(table, relative->position, relative->start, &hulls);
        for (int64_t group = 0; group < table->n_groups; group++) {
            room = minus(room, table->cost[hulls.point[hulls.first[group]]]);
            for (int64_t at = hulls.first[group]; at + 1 < hulls.first[group + 1]; at++) {
                rate[steps] = hulls.rate[at];
                weight[steps++] = minus(table->cost[hulls.point[at + 1]], table->cost[hulls.point[at]]);
            }
        }
        out->price[0] = multiplier(rate, weight, steps, room);
        fill(table, budget, &hulls, out->price[0], out->reference);
    }
    free(hulls.point), free(hulls.first), free(hulls.rate), free(rate), free(weight);
    return status;
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
        int64_t count = near_choices(relative, out->gap, out->reference, pairs_up_to, near_index, value);
        for (int64_t i = 0; i < count; i++) {
            value[i] = relative->value[near_index[i]];
            cost[i] = relative->cost[near_index[i]];
            group[i] = relative->group[near_index[i]];
        }
        int64_t found = best_changes(value, cost, group, count, relative->slack[0], best, &status);
        memcpy(changed, out->reference, (size_t)table->n_groups * sizeof *changed);
        for (int64_t i = 0; i < found; i++)
            changed[group[best[i]]] = relative->position[near_index[best[i]]];
        double own = status == DONE ? gap_of(table, changed, out, &budget) : INFINITY;
        if (own < out->gap) {
            out->gap = own;
            memcpy(out->incumbent, changed, (size_t)table->n_groups * sizeof *changed);
        }
    }
    free(near_index), free(cost), free(group), free(changed), free(value);
    return status;
}

int reduce_one_budget(const Table *table, int64_t budget, const int64_t *warm, int64_t pairs_up_to, Reduction *out)
{
    Relative relative;
    int status = new_relative(table, out->core.slack, &relative);
    if (status == DONE) {
        relative.count = undominated(table, relative.position, relative.start, relative.group);
        status = relax(table, budget, &relative, out);
    }
    if (status == DONE) {
        const int64_t *first = out->reference;
        relate(table, &budget, out, &relative);
        out->gap = out->price[0] * (double)relative.slack[0];
        if (warm && total_cost(table, 0, warm) <= budget) {
            double own = gap_of(table, warm, out, &budget);
            first = own < out->gap ? warm : first;
            out->gap = smaller(own, out->gap);
        }
        memcpy(out->incumbent, first, (size_t)table->n_groups * sizeof *first);
        if (out->gap > 0)
            status = improve(table, budget, &relative, pairs_up_to, out);
    }
    if (status == DONE) {
        keep_core(table, &relative, out);
        status = find_unit(table, out);
    }
    free_relative(&relative);
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
