/* State lists over a core with one budget, under a limit that rises; the twin is `core_search/lists.py`. */
#include "listing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOMINANCE_FROM = 1000, BOUND_FROM = 64, BLOCK = 1 << 20, FIRST_GROUPS = 12 }; /* all as in the twin */
enum { WIDTH = 20000, MOST_WIDTH = 320000, BEAM = 1000 };
static const double REFRESH = 0.8;

typedef struct Stage {
    struct Stage *before;
    int64_t group;
    int64_t *choice;
    int32_t *parent, *taken;
} Stage;

typedef struct {
    const Core *core;
    Search *search;
    Poll *poll;
    double price, ceiling, least_gain;
    int64_t *order, *selection, *scratch;
    double *number;
    Tails tails;
    Partial states, grown;
    Stage *last;
} Lists;

typedef struct {
    int found, exhausted, stopped;
    int64_t states;
} Walk;

static void forget_stages(Lists *lists)
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

/* The least amount of any choice of a group but the reference. */
static double least_of_group(const Core *core, int64_t group, double limit, double price, int charged)
{
    double least = INFINITY;
    for (int64_t i = core->start[group] + 1; i < core->start[group + 1]; i++) {
        if (!charged)
            least = smaller(core->reduced[i], least);
        else if (core->reduced[i] <= limit)
            least = smaller(price * fabs((double)core->cost[i]), least);
    }
    return least;
}

/* Groups that can leave their reference, those whose smallest change is largest first. */
static int64_t order_groups(Lists *lists, double limit)
{
    int64_t count = 0;
    for (int64_t group = 0; group < lists->core->n_groups; group++)
        if (least_of_group(lists->core, group, limit, 0.0, 0) <= limit) {
            lists->number[group] = -least_of_group(lists->core, group, limit, lists->price, 1);
            lists->order[count++] = group;
        }
    sort_by_number(lists->order, lists->scratch, count, lists->number);
    return count;
}

/* Every state with some of the choices of a group: those that can still meet the budget and the threshold. */
static int extend_block(Lists *lists, const int64_t *choice, int64_t first, int64_t end, double threshold, int64_t rank)
{
    const Tails *tails = &lists->tails;
    const Partial *states = &lists->states;
    Partial *to = &lists->grown;
    int64_t begin = to->count, kept = begin;
    for (int64_t taken = first; taken < end; taken++) {
        double more = lists->core->reduced[choice[taken]];
        int64_t cost = lists->core->cost[choice[taken]];
        if (grow_partial(to, to->count + states->count) != DONE)
            return NO_MEMORY;
        int status = polled(lists->poll, states->count);
        if (status != DONE)
            return status;
        for (int64_t i = 0; i < states->count; i++) {
            double regret = more + states->regret[i];
            if (!(regret <= threshold))
                continue;
            int64_t own = plus(states->cost[i], cost), room = minus(lists->core->slack, own);
            int64_t left = minus(room, tails->fill[rank]);
            double bound = regret + lists->price * (double)(left > 0 ? left : 0);
            if (!(bound <= threshold) || plus(room, tails->shed[rank]) < 0)
                continue;
            to->cost[to->count] = own, to->regret[to->count] = regret, to->bound[to->count] = bound;
            to->parent[to->count] = (int32_t)i, to->taken[to->count++] = (int32_t)taken;
        }
    }
    if (to->count - begin <= BOUND_FROM)
        return DONE;
    for (int64_t i = begin; i < to->count; i++) {
        double owed = -INFINITY;
        for (int k = 0; k < TILTS; k++)
            owed = larger(tails->tilt[k] * (double)to->cost[i] + tails->least[rank * TILTS + k], owed);
        double bound = to->regret[i] + owed;
        if (!(bound <= threshold + tails->rounding))
            continue;
        to->cost[kept] = to->cost[i], to->regret[kept] = to->regret[i], to->bound[kept] = bound;
        to->parent[kept] = to->parent[i], to->taken[kept++] = to->taken[i];
    }
    to->count = kept;
    return DONE;
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
        status = thin(&lists->states, lists->price, minus(lists->core->slack, lists->tails.fill[rank]));
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
    int64_t at = 0;
    for (int64_t i = 0; i < lists->states.count; i++) {
        int64_t room = minus(lists->core->slack, lists->states.cost[i]);
        double total = lists->states.regret[i] + lists->price * (double)room;
        if (room >= 0 && total < least)
            least = total, at = i;
    }
    if (!(least <= threshold) || least == INFINITY)
        return 0;
    note(lists, least, at);
    return 1;
}

/* Lists the selections whose total is at most the limit, keeping the `width` states of least bound. */
static int walk(Lists *lists, double limit, int64_t width, Walk *out)
{
    const Core *core = lists->core;
    Search *search = lists->search;
    int64_t n_order = order_groups(lists, limit);
    double threshold = limit, unused = lists->price * (double)core->slack;
    int cut = 0, status = DONE;
    *out = (Walk){0, 0, 0, 0};
    forget_stages(lists);
    bound_tails(core, lists->price, lists->order, n_order, limit, &lists->tails);
    if (grow_partial(&lists->states, 1) != DONE)
        return NO_MEMORY;
    lists->states.count = 1;
    lists->states.cost[0] = 0, lists->states.regret[0] = lists->states.bound[0] = 0.0;
    if (core->slack >= 0 && unused <= limit) {
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
    double sum = 0.0, limit = INFINITY;
    int64_t unused = core->slack, count = 0;
    for (int64_t group = 0; group < core->n_groups; group++) {
        double most = 0.0, least = least_of_group(core, group, 0.0, 0.0, 0);
        int64_t shed = 0;
        for (int64_t i = core->start[group]; i < core->start[group + 1]; i++) {
            most = larger(core->reduced[i], most);
            shed = minus(0, core->cost[i]) > shed ? minus(0, core->cost[i]) : shed;
        }
        sum += most;
        unused = plus(unused, shed);
        if (least > 0)
            lists->number[count] = least, lists->order[count] = count, count++;
    }
    *highest = core->n_groups ? (sum + lists->price * (double)(unused > 0 ? unused : 0)) * (1 + 1e-9) : 0.0;
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
    lists.tails.shed = room_for(n + 1, sizeof(int64_t)), lists.tails.fill = room_for(n + 1, sizeof(int64_t));
    lists.tails.least = room_for((n + 1) * TILTS, sizeof(double));
    search->n_changes = -1;
    search->kept = 0;
    int status = lists.order && lists.scratch && lists.number && lists.tails.shed && lists.tails.fill && lists.tails.least
                     ? run(&lists)
                     : NO_MEMORY;
    forget_stages(&lists);
    free_partial(&lists.states), free_partial(&lists.grown);
    free(lists.order), free(lists.scratch), free(lists.number);
    free(lists.tails.shed), free(lists.tails.fill), free(lists.tails.least);
    return status;
}
