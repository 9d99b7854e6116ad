/* Dynamic programming over the core of a problem with one budget; the twin is `core_search/dynamic.py`. */
#include "remaining.h"
#include "steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 256, SCREEN = 1 << 16 }; /* as in the twin, or selections that tie would be found in another order */

typedef struct {
    const Core *core;
    Search *search;
    Poll *poll;
    Remaining ahead;
    States states;
    Steps steps;
    Combinations combinations;
    Records records;
    double *least_owed, *least_total, *float_cost;
    uint8_t *keep;
} Run;

static double limit_of(const Search *search) { return search->gap - search->least_gain; }

/* The sum of the reduced costs of a partial selection. */
static inline double regret_of(double price, int64_t cost, double value)
{
    return larger(value + price * (double)cost, 0.0);
}

/* Notes the best state whose other groups keep their reference, where it is better than what is known. */
static void finish(Run *run)
{
    Search *search = run->search;
    double least = INFINITY;
    int64_t at = 0;
    for (int64_t i = 0; i < run->states.count; i++) {
        int64_t room = minus(run->core->slack[0], run->states.cost[i]);
        double total = search->price[0] * (double)room + regret_of(search->price[0], run->states.cost[i], run->states.value[i]);
        if (room >= 0 && total < least)
            least = total, at = i;
    }
    if (least < limit_of(search)) {
        search->gap = least;
        search->n_changes = walk_back(&run->steps, at, search->changes);
    }
}

/* The first pair of a state and a choice that has the least total. */
static void note_pair(Run *run, double least)
{
    Search *search = run->search;
    const Remaining *ahead = &run->ahead;
    for (int64_t state = 0; state < run->states.count; state++) {
        for (int64_t i = 0; i < ahead->count; i++) {
            int64_t cost = plus(run->states.cost[state], ahead->cost[i]), room = minus(run->core->slack[0], cost);
            double regret = regret_of(search->price[0], cost, run->states.value[state] + ahead->value[i]);
            if (room >= 0 && search->price[0] * (double)room + regret == least) {
                search->gap = least;
                search->n_changes = walk_back(&run->steps, state, search->changes);
                search->changes[search->n_changes++] = ahead->index[i];
                return;
            }
        }
    }
}

/* Whether costs and what they leave are the same in floats: then several are computed at once. */
static int is_exact_in_floats(const Run *run)
{
    const int64_t most = (int64_t)1 << 51;
    int small = run->core->slack[0] > -most && run->core->slack[0] < most;
    for (int64_t i = 0; i < run->states.count; i++)
        small &= run->states.cost[i] > -most && run->states.cost[i] < most;
    for (int64_t i = 0; i < run->ahead.count; i++)
        small &= run->ahead.cost[i] > -most && run->ahead.cost[i] < most;
    return small;
}

typedef struct {
    double price, up, minus_down, slack;
} Rates;

/* One state with every choice still to come: the least totals, and the least that a selection with both must add. */
static void screen_state(Rates rates, double before, double so_far, int64_t count, const double *restrict cost,
                         const double *restrict value, double *restrict least_total, double *restrict least_owed)
{
    for (int64_t i = 0; i < count; i++) {
        double spent = before + cost[i], left = rates.slack - spent;
        double regret = larger(so_far + value[i] + rates.price * spent, 0.0);
        double all = rates.price * left + regret, total = left < 0 ? INFINITY : all;
        double owed = larger(left * rates.minus_down, left * rates.up); /* nothing left, nothing owed: not nan */
        least_total[i] = smaller(total, least_total[i]);
        least_owed[i] = smaller(regret + owed, least_owed[i]);
    }
}

/* The same where floats would round. */
static void screen_state_in_integers(const Run *run, Rates rates, int64_t state)
{
    const Remaining *ahead = &run->ahead;
    for (int64_t i = 0; i < ahead->count; i++) {
        int64_t cost = plus(run->states.cost[state], ahead->cost[i]), room = minus(run->core->slack[0], cost);
        double regret = regret_of(rates.price, cost, run->states.value[state] + ahead->value[i]), left = (double)room;
        double owed = room > 0 ? left * rates.up : room < 0 ? left * rates.minus_down : 0.0;
        run->least_total[i] = smaller(room < 0 ? INFINITY : rates.price * left + regret, run->least_total[i]);
        run->least_owed[i] = smaller(regret + owed, run->least_owed[i]);
    }
}

/* Tests the choices still to come against all states; those that no better selection can hold are left out. */
static void screen(Run *run)
{
    const Search *search = run->search;
    Remaining *ahead = &run->ahead;
    double up = search->price[0], down = INFINITY, least = INFINITY;
    for (int64_t i = 0; i < ahead->count; i++) {
        run->least_owed[i] = run->least_total[i] = INFINITY;
        run->float_cost[i] = (double)ahead->cost[i];
        if (ahead->cost[i] > 0)
            up = smaller(ahead->gradient[i], up);
        else
            down = smaller(ahead->gradient[i], down);
    }
    Rates rates = {search->price[0], up, -down, (double)run->core->slack[0]};
    int exact = is_exact_in_floats(run);
    for (int64_t state = 0; state < run->states.count; state++) {
        if (exact)
            screen_state(rates, (double)run->states.cost[state], run->states.value[state], ahead->count, run->float_cost,
                         ahead->value, run->least_total, run->least_owed);
        else
            screen_state_in_integers(run, rates, state);
    }
    for (int64_t i = 0; i < ahead->count; i++)
        least = smaller(run->least_total[i], least);
    if (least < limit_of(search))
        note_pair(run, least);
    double limit = limit_of(search);
    for (int64_t i = 0; i < ahead->count; i++)
        run->keep[i] = run->least_owed[i] <= limit;
    keep_those(ahead, run->keep);
}

/* The groups still to come from a choice on, without the choices that no state can take in any better selection. */
static int renew(Run *run, int64_t first)
{
    Remaining *ahead = &run->ahead;
    double limit = limit_of(run->search);
    drop_before(ahead, first);
    for (int64_t i = 0; i < ahead->count; i++)
        run->keep[i] = ahead->reduced[i] <= limit;
    keep_those(ahead, run->keep);
    int64_t work = ahead->count;
    if (run->states.count && ahead->count && run->states.count <= SCREEN / ahead->count) {
        work *= run->states.count;
        screen(run);
    }
    bound_remaining(ahead, run->search->price[0]);
    return polled(run->poll, work);
}

/* Every state with every combination that can still become something better: one run of records per combination. */
static int extend(Run *run, int64_t first)
{
    Search *search = run->search;
    const States *states = &run->states;
    double price = search->price[0], limit = limit_of(search), up = run->ahead.up[first], down = -run->ahead.down[first];
    int64_t found = 0, lowest = minus(0, run->ahead.shed[first]), slack = run->core->slack[0];
    Records *records = &run->records;
    records->count = 0;
    records->n_runs = 0;
    for (int64_t combination = 0; combination < run->combinations.count; combination++) {
        int64_t more_cost = run->combinations.cost[combination];
        double more_value = run->combinations.value[combination], last = INFINITY;
        int status = begin_run(records, states->count);
        if (status == DONE)
            status = polled(run->poll, states->count % WORK_BETWEEN_POLLS);
        if (status != DONE)
            return status;
        for (int64_t state = 0; state < states->count; state++) {
            int64_t cost = plus(states->cost[state], more_cost), room = minus(slack, cost);
            double value = states->value[state] + more_value, left = (double)room;
            double total = regret_of(price, cost, value) + larger(left * up, left * down);
            if (state && state % WORK_BETWEEN_POLLS == 0 && (status = polled(run->poll, WORK_BETWEEN_POLLS)) != DONE)
                return status;
            if (!(total <= limit) || room < lowest)
                continue;
            found++;
            if (value < last) {
                records->record[records->count++] = (Record){cost, value, combination * states->count + state};
                last = value;
            }
        }
        if (search->kept + found > search->max_states)
            return STOPPED;
    }
    return merge_runs(records, run->poll);
}

static int step(Run *run, int64_t *first)
{
    Search *search = run->search;
    int64_t most = AT_ONCE / run->states.count, before = run->states.count;
    int status = combine(&run->combinations, &run->ahead, first, most > 1 ? most : 1, search->price[0], limit_of(search));
    if (status == DONE)
        status = extend(run, *first);
    if (status == DONE)
        status = keep_step(&run->steps, &run->combinations, &run->records, &run->states, before);
    if (status != DONE)
        return status;
    search->kept += run->states.count;
    finish(run);
    return DONE;
}

static int search_to_the_end(Run *run)
{
    Search *search = run->search;
    int64_t first = 0;
    finish(run);
    int status = renew(run, 0);
    double renewed = search->gap;
    while (status == DONE && run->states.count && first < run->ahead.n_groups &&
           limit_of(search) >= search->least_total) {
        status = step(run, &first);
        if (status != DONE)
            break;
        int64_t after = run->ahead.begin[first], left = run->ahead.count - after;
        if (search->gap != renewed || !left || run->states.count <= SCREEN / left) {
            status = renew(run, after);
            first = 0;
            renewed = search->gap;
        }
    }
    return status;
}

int search_core(const Core *core, Search *search, Poll *poll)
{
    Run run = {.core = core, .search = search, .poll = poll};
    search->n_changes = -1;
    search->kept = 0;
    run.least_owed = room_for(3 * core->n_choices, sizeof(double));
    run.keep = room_for(core->n_choices, 1);
    int status = run.least_owed && run.keep ? remaining_of(core, &run.ahead) : NO_MEMORY;
    if (run.least_owed) {
        run.least_total = run.least_owed + core->n_choices;
        run.float_cost = run.least_total + core->n_choices;
    }
    if (status == DONE)
        status = begin_states(&run.states);
    if (status == DONE)
        status = search_to_the_end(&run);
    free_remaining(&run.ahead);
    free_steps(&run.steps, &run.combinations, &run.records, &run.states);
    free(run.least_owed), free(run.keep);
    return status;
}
