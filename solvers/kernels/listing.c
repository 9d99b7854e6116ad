/* State lists over a core with any number of budgets, under a limit that rises; the twin is `core_search/lists.py`. */
#include "walking.h"

#include <math.h>
#include <stdlib.h>

enum { FIRST_GROUPS = 12, WIDTH = 20000, MOST_WIDTH = 320000, BEAM = 1000 }; /* all as in the twin */

/* Looks for a good selection in short lists: the limit rises until there is one, then falls to its total. */
static int climb(Lists *lists, double trial)
{
    int found = 0;
    while (trial < lists->ceiling || found) {
        Walk one;
        int status = walk(lists, smaller(trial, lists->ceiling), BEAM, &one);
        if (status != DONE || one.stopped || (found && !one.found))
            return status;
        found |= one.found;
        trial = found ? lists->ceiling : 2 * trial;
    }
    return DONE;
}

static double growth_after(int64_t states) { return states < 100 ? 4.0 : states < 500 ? 2.0 : states < 5000 ? 1.5 : 1.25; }

/* A limit under which few groups can leave their reference, and an upper bound on the total of every selection. */
static double first_limit(Lists *lists, double *highest)
{
    const Core *core = lists->core;
    double sum = 0.0, charged = 0.0, limit = INFINITY;
    int64_t count = 0;
    for (int64_t group = 0; group < core->n_groups; group++) {
        double most = 0.0, least = least_of_group(core, group);
        for (int64_t i = core->start[group]; i < core->start[group + 1]; i++)
            most = larger(core->reduced[i], most);
        sum += most;
        if (least > 0)
            lists->number[count] = least, lists->order[count] = count, count++;
    }
    for (int64_t resource = 0; resource < core->n_resources; resource++) {
        int64_t unused = core->slack[resource];
        for (int64_t group = 0; group < core->n_groups; group++) {
            int64_t shed = 0;
            for (int64_t i = core->start[group]; i < core->start[group + 1]; i++) {
                int64_t own = minus(0, more_cost(core, resource, i));
                shed = own > shed ? own : shed;
            }
            unused = plus(unused, shed);
        }
        charged += lists->price[resource] * (double)(unused > 0 ? unused : 0);
    }
    *highest = core->n_groups ? (sum + charged) * (1 + 1e-9) : 0.0;
    sort_by_number(lists->order, lists->scratch, count, lists->number);
    if (count)
        limit = lists->number[lists->order[(count < FIRST_GROUPS ? count : FIRST_GROUPS) - 1]];
    return limit;
}

/* Trial after trial under limits that rise: DONE where nothing is left that is better than the best found. */
static int run(Lists *lists)
{
    double highest, trial = first_limit(lists, &highest);
    int64_t width = WIDTH;
    while (lists->ceiling >= lists->search->least_total) {
        Walk one;
        if (trial >= smaller(lists->ceiling, highest))
            trial = lists->ceiling;
        int status = walk(lists, trial, width, &one);
        if (status != DONE || (one.exhausted && (one.found || trial >= lists->ceiling)))
            return status;
        if (one.exhausted) {
            trial *= growth_after(one.states);
            continue;
        }
        if (width == WIDTH)
            status = climb(lists, trial);
        if (status != DONE)
            return status;
        if (one.stopped || lists->search->kept >= lists->search->max_states || width >= MOST_WIDTH)
            return STOPPED;
        width *= 4;
        trial = smaller(trial, lists->ceiling);
    }
    return DONE;
}

int search_lists(const Core *core, Search *search, Poll *poll)
{
    int64_t n = core->n_groups;
    Lists lists = {.core = core, .search = search, .poll = poll, .price = search->price, .selection = search->changes};
    lists.ceiling = search->gap - search->least_gain;
    lists.least_gain = isfinite(search->gap) ? search->least_gain : 0.0;
    lists.order = room_for(n, sizeof(int64_t)), lists.scratch = room_for(n, sizeof(int64_t));
    lists.number = room_for(n, sizeof(double));
    lists.states.n_resources = lists.grown.n_resources = core->n_resources;
    search->n_changes = -1;
    search->kept = 0;
    int status = new_tails(core, &lists.tails);
    if (!lists.order || !lists.scratch || !lists.number)
        status = NO_MEMORY;
    if (status == DONE)
        status = run(&lists);
    forget_stages(&lists);
    free_partial(&lists.states), free_partial(&lists.grown);
    free(lists.order), free(lists.scratch), free(lists.number);
    free_tails(&lists.tails);
    return status;
}
