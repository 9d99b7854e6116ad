/* One trial: the selections whose total is at most a limit, in a list that grows group by group; see `core_search/lists.py`. */
#include "walking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOMINANCE_FROM = 1000, BOUND_FROM = 64, BLOCK = 1 << 20 }; /* all as in the twin */
static const double REFRESH = 0.8;

void forget_stages(Lists *lists)
{
    while (lists->last) {
        Stage *stage = lists->last;
        lists->last = stage->before;
        free(stage->choice), free(stage->parent), free(stage->taken), free(stage);
    }
}

static double larger_of_gains(const Lists *lists) { return larger(lists->tails.noise, lists->least_gain); }

/* Keeps a selection that is better than what is known: indices into the core, one for each group. */
static void note(Lists *lists, double total, int64_t state)
{
    lists->search->gap = lists->ceiling = total;
    lists->search->n_changes = lists->core->n_groups;
    memcpy(lists->selection, lists->core->start, (size_t)lists->core->n_groups * sizeof(int64_t));
    for (const Stage *stage = lists->last; stage; stage = stage->before) {
        lists->selection[stage->group] = stage->choice[stage->taken[state]];
        state = stage->parent[state];
    }
}

/* The least reduced cost of any choice of a group but the reference. */
double least_of_group(const Core *core, int64_t group)
{
    double least = INFINITY;
    for (int64_t i = core->start[group] + 1; i < core->start[group + 1]; i++)
        least = smaller(core->reduced[i], least);
    return least;
}

/* The least that a change of a group costs at the price, up or down, of those within the limit. */
static double least_change(const Core *core, int64_t group, double limit, const double *price)
{
    double least = INFINITY;
    for (int64_t i = core->start[group] + 1; i < core->start[group + 1]; i++) {
        if (!(core->reduced[i] <= limit))
            continue;
        double spent = price[0] * fabs((double)core->cost[i]);
        for (int64_t resource = 1; resource < core->n_resources; resource++)
            spent += price[resource] * fabs((double)more_cost(core, resource, i));
        least = smaller(spent, least);
    }
    return least;
}

/* Groups that can leave their reference, those whose smallest change is largest first. */
static int64_t order_groups(Lists *lists, double limit)
{
    int64_t count = 0;
    for (int64_t group = 0; group < lists->core->n_groups; group++)
        if (least_of_group(lists->core, group) <= limit) {
            lists->number[group] = -least_change(lists->core, group, limit, lists->price);
            lists->order[count++] = group;
        }
    sort_by_number(lists->order, lists->scratch, count, lists->number);
    return count;
}

/* Some states with one choice of a group: those that can still meet the budgets and the threshold. */
static void extend_some(Lists *lists, int64_t begin, int64_t end, int64_t choice, int64_t taken, double threshold, int64_t rank)
{
    const Core *core = lists->core;
    const Partial *states = &lists->states;
    Partial *to = &lists->grown;
    int64_t n = core->n_resources;
    const int64_t *shed = lists->tails.shed + rank * n, *fill = lists->tails.fill + rank * n;
    for (int64_t i = begin; i < end; i++) {
        double regret = core->reduced[choice] + states->regret[i], charged = 0.0;
        int64_t *cost = to->cost + to->count * n;
        int within = 1;
        if (!(regret <= threshold))
            continue;
        for (int64_t resource = 0; resource < n; resource++) {
            cost[resource] = plus(states->cost[i * n + resource], more_cost(core, resource, choice));
            int64_t room = minus(core->slack[resource], cost[resource]), left = minus(room, fill[resource]);
            charged += lists->price[resource] * (double)(left > 0 ? left : 0);
            within &= plus(room, shed[resource]) >= 0;
        }
        if (!within || !(regret + charged <= threshold))
            continue;
        to->regret[to->count] = regret, to->bound[to->count] = regret + charged;
        to->parent[to->count] = (int32_t)i, to->taken[to->count++] = (int32_t)taken;
    }
}

/* Every state with some of the choices of a group, bounded where they are many. */
static int extend_block(Lists *lists, const int64_t *choice, int64_t first, int64_t end, double threshold, int64_t rank)
{
    int64_t begin = lists->grown.count, count = lists->states.count;
    for (int64_t taken = first; taken < end; taken++) {
        if (grow_partial(&lists->grown, lists->grown.count + count) != DONE)
            return NO_MEMORY;
        for (int64_t at = 0; at < count; at += WORK_BETWEEN_POLLS) {
            int64_t last = count - at < WORK_BETWEEN_POLLS ? count : at + WORK_BETWEEN_POLLS;
            int status = polled(lists->poll, last - at);
            if (status != DONE)
                return status;
            extend_some(lists, at, last, choice[taken], taken, threshold, rank);
        }
    }
    if (lists->grown.count - begin <= BOUND_FROM)
        return DONE;
    int status = polled(lists->poll, (lists->grown.count - begin) * lists->tails.n_prices / 8);
    if (status == DONE)
        bound_states(&lists->grown, begin, &lists->tails, rank, threshold);
    return status;
}

/* The choices of a group that matter, and the stage that holds them. */
static Stage *new_stage(Lists *lists, int64_t group, double threshold, int64_t *count)
{
    const Core *core = lists->core;
    Stage *stage = calloc(1, sizeof *stage);
    if (!stage)
        return NULL;
    stage->group = group;
    stage->choice = room_for(core->start[group + 1] - core->start[group], sizeof(int64_t));
    *count = 0;
    for (int64_t i = core->start[group]; stage->choice && i < core->start[group + 1]; i++)
        if (core->reduced[i] <= threshold)
            stage->choice[(*count)++] = i;
    return stage;
}

static void swap_lists(Lists *lists)
{
    Partial swap = lists->states;
    lists->states = lists->grown;
    lists->grown = swap;
}

/* Adds a group to the list; the stage joins the others once its states are known. */
static int add_stage(Lists *lists, Stage *stage, int64_t n_choices, double threshold, int64_t rank, int64_t width, int *cut)
{
    int64_t block = BLOCK / lists->states.count;
    int status = DONE;
    lists->grown.count = 0;
    for (int64_t at = 0; at < n_choices && status == DONE; at += block > 1 ? block : 1) {
        int64_t end = n_choices - at < block ? n_choices : at + (block > 1 ? block : 1);
        status = extend_block(lists, stage->choice, at, end, threshold, rank);
    }
    if (status != DONE)
        return status;
    swap_lists(lists);
    if (lists->states.count > DOMINANCE_FROM)
        status = thin(&lists->states, lists->price, lists->core->slack, lists->tails.fill + rank * lists->core->n_resources);
    if (status == DONE && lists->states.count > width) {
        *cut = 1;
        status = keep_least(&lists->states, width);
    }
    return status;
}

static int keep_stage(Lists *lists, Stage *stage)
{
    size_t bytes = (size_t)lists->states.count * sizeof(int32_t);
    stage->parent = room_for(lists->states.count, sizeof(int32_t));
    stage->taken = room_for(lists->states.count, sizeof(int32_t));
    stage->before = lists->last;
    lists->last = stage;
    if (!stage->parent || !stage->taken)
        return NO_MEMORY;
    if (bytes) {
        memcpy(stage->parent, lists->states.parent, bytes);
        memcpy(stage->taken, lists->states.taken, bytes);
    }
    return DONE;
}

/* Notes the best state whose other groups keep their reference, where it is within the threshold. */
static int finished(Lists *lists, double threshold)
{
    double least = INFINITY;
    int64_t at = 0, n = lists->core->n_resources;
    for (int64_t i = 0; i < lists->states.count; i++) {
        double unused = 0.0;
        int within = 1;
        for (int64_t resource = 0; resource < n; resource++) {
            int64_t room = minus(lists->core->slack[resource], lists->states.cost[i * n + resource]);
            unused += lists->price[resource] * (double)room;
            within &= room >= 0;
        }
        double total = lists->states.regret[i] + unused;
        if (within && total < least)
            least = total, at = i;
    }
    if (!(least <= threshold) || least == INFINITY)
        return 0;
    note(lists, least, at);
    return 1;
}

/* Lists the selections whose total is at most the limit, keeping the `width` states of least bound. */
int walk(Lists *lists, double limit, int64_t width, Walk *out)
{
    const Core *core = lists->core;
    Search *search = lists->search;
    int64_t n_order = order_groups(lists, limit);
    double threshold = limit, unused = 0.0;
    int cut = 0, status = DONE, within = 1;
    *out = (Walk){0, 0, 0, 0};
    forget_stages(lists);
    bound_tails(core, lists->price, lists->order, n_order, limit, &lists->tails);
    if (grow_partial(&lists->states, 1) != DONE)
        return NO_MEMORY;
    lists->states.count = 1;
    lists->states.regret[0] = lists->states.bound[0] = 0.0;
    for (int64_t resource = 0; resource < core->n_resources; resource++) {
        lists->states.cost[resource] = 0;
        unused += lists->price[resource] * (double)core->slack[resource];
        within &= core->slack[resource] >= 0;
    }
    if (within && unused <= limit) {
        note(lists, unused, 0);
        out->found = 1;
    }
    for (int64_t rank = 0; rank < n_order && status == DONE; rank++) {
        int64_t n_choices;
        if (out->found) {
            threshold = search->gap - larger_of_gains(lists);
            if (search->gap < REFRESH * lists->tails.limit)
                bound_tails(core, lists->price, lists->order, n_order, search->gap, &lists->tails);
        }
        if (threshold < search->least_total)
            break;
        Stage *stage = new_stage(lists, lists->order[rank], threshold, &n_choices);
        if (!stage || !stage->choice || n_choices < 2) {
            status = stage && stage->choice ? DONE : NO_MEMORY;
            free(stage ? stage->choice : NULL), free(stage);
            continue;
        }
        status = add_stage(lists, stage, n_choices, threshold, rank + 1, width, &cut);
        if (status == DONE && search->kept + out->states + lists->states.count > search->max_states)
            status = STOPPED;
        if (status != DONE) {
            free(stage->choice), free(stage);
            break;
        }
        out->states += lists->states.count;
        status = keep_stage(lists, stage);
        if (status != DONE || !lists->states.count)
            break;
        out->found |= finished(lists, threshold);
    }
    search->kept += out->states;
    out->stopped = status == STOPPED;
    out->exhausted = !cut && !out->stopped;
    return status == STOPPED ? DONE : status;
}

