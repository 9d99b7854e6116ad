/* States, combinations and their origins; the twins are `core_search/combinations.py` and `_nondominated`. */
#include "steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Makes an array hold at least so many elements. */
static int grow(void **array, int64_t *size, int64_t wanted, size_t each)
{
    if (wanted <= *size)
        return DONE;
    int64_t next = wanted > 2 * *size ? wanted : 2 * *size;
    if ((uint64_t)next > SIZE_MAX / 2 / each)
        return NO_MEMORY;
    void *larger_one = realloc(*array, (size_t)next * each);
    if (!larger_one)
        return NO_MEMORY;
    *array = larger_one;
    *size = next;
    return DONE;
}

static int grow_both(int64_t **cost, double **value, int64_t *size, int64_t wanted)
{
    int64_t same = *size;
    if (grow((void **)cost, &same, wanted, sizeof(int64_t)) != DONE)
        return NO_MEMORY;
    return grow((void **)value, size, wanted, sizeof(double));
}

int begin_states(States *states)
{
    if (grow_both(&states->cost, &states->value, &states->size, 64) != DONE)
        return NO_MEMORY;
    states->cost[0] = 0, states->value[0] = 0.0;
    states->count = 1;
    return DONE;
}

static void forget_changes(Change *change, int count)
{
    for (int i = 0; i < count; i++)
        free(change[i].choice), free(change[i].kept);
}

/* One more group: every combination without it, then with each of its choices in turn. */
static int add_group(Combinations *to, const Remaining *ahead, int64_t begin, int64_t end, double price, double limit)
{
    int64_t before = to->count, size = end - begin;
    Change *change = &to->change[to->n_changes];
    if (grow_both(&to->cost, &to->value, &to->size, before * (size + 1)) != DONE)
        return NO_MEMORY;
    *change = (Change){before, room_for(size, sizeof(int64_t)), NULL};
    to->n_changes++;
    if (!change->choice)
        return NO_MEMORY;
    for (int64_t own = 0; own < size; own++) {
        change->choice[own] = ahead->index[begin + own];
        for (int64_t i = 0; i < before; i++) {
            to->cost[to->count] = plus(ahead->cost[begin + own], to->cost[i]);
            to->value[to->count++] = ahead->value[begin + own] + to->value[i];
        }
    }
    if (to->count <= FILTER_FROM)
        return DONE;
    change->kept = room_for(to->count, sizeof(int32_t));
    if (!change->kept)
        return NO_MEMORY;
    int64_t kept = 0;
    for (int64_t i = 0; i < to->count; i++)
        if (to->value[i] + price * (double)to->cost[i] <= limit) {
            to->cost[kept] = to->cost[i], to->value[kept] = to->value[i];
            change->kept[kept++] = (int32_t)i;
        }
    to->count = kept;
    return DONE;
}

int combine(Combinations *to, const Remaining *ahead, int64_t *first, int64_t most, double price, double limit)
{
    if (grow_both(&to->cost, &to->value, &to->size, 1) != DONE)
        return NO_MEMORY;
    to->cost[0] = 0, to->value[0] = 0.0;
    to->count = 1;
    to->n_changes = 0;
    while (*first < ahead->n_groups && to->n_changes < GROUPS_AT_ONCE) {
        int64_t begin = ahead->begin[*first], end = ahead->begin[*first + 1];
        if (to->n_changes && to->count * (end - begin + 1) > most)
            break;
        int status = add_group(to, ahead, begin, end, price, limit);
        if (status != DONE)
            return status;
        ++*first;
    }
    return DONE;
}

/* Begins a run of at most so many records. */
int begin_run(Records *records, int64_t most)
{
    if (grow((void **)&records->run, &records->runs_size, records->n_runs + 2, sizeof(int64_t)) != DONE)
        return NO_MEMORY;
    records->run[records->n_runs++] = records->count;
    return grow((void **)&records->record, &records->size, records->count + most, sizeof(Record));
}

/* Merges two runs; of equal costs the lower value stays, of equal states the earlier, and values fall strictly. */
static int merge(const Record *left, const Record *left_end, const Record *right, const Record *right_end, Record *to,
                 Poll *poll, int64_t *count)
{
    Record *begin = to;
    double last = INFINITY;
    int64_t done = 0;
    while (left < left_end || right < right_end) {
        if (++done == WORK_BETWEEN_POLLS) {
            int status = polled(poll, done);
            if (status != DONE)
                return status;
            done = 0;
        }
        int from_left = right == right_end ||
                        (left < left_end && (left->cost < right->cost ||
                                             (left->cost == right->cost && left->value <= right->value)));
        const Record *own = from_left ? left++ : right++;
        if (own->value < last) {
            *to++ = *own;
            last = own->value;
        }
    }
    *count = to - begin;
    return polled(poll, done);
}

int merge_runs(Records *records, Poll *poll)
{
    if (grow((void **)&records->other, &records->other_size, records->count, sizeof(Record)) != DONE)
        return NO_MEMORY;
    while (records->n_runs > 1) {
        int64_t count = 0, n_runs = 0, *run = records->run;
        run[records->n_runs] = records->count;
        for (int64_t i = 0; i < records->n_runs; i += 2) {
            const Record *from = records->record;
            int64_t begin = run[i], middle = run[i + 1], end = i + 1 < records->n_runs ? run[i + 2] : middle;
            int64_t merged;
            int status = merge(from + begin, from + middle, from + middle, from + end, records->other + count, poll, &merged);
            if (status != DONE)
                return status;
            run[n_runs++] = count;
            count += merged;
        }
        Record *swap = records->record;
        int64_t size = records->size;
        records->record = records->other, records->size = records->other_size;
        records->other = swap, records->other_size = size;
        records->count = count, records->n_runs = n_runs;
    }
    return DONE;
}

/* Makes the records the states, and keeps where they came from. The step owns the changes from now on. */
int keep_step(Steps *steps, Combinations *combinations, const Records *records, States *states, int64_t n_before)
{
    size_t changes = (size_t)combinations->n_changes * sizeof(Change);
    Step *step = malloc(sizeof(Step) + changes);
    if (!step)
        return NO_MEMORY;
    *step = (Step){steps->last, combinations->n_changes, room_for(records->count, sizeof(int32_t)),
                   room_for(records->count, sizeof(int32_t))};
    memcpy(step->change, combinations->change, changes);
    combinations->n_changes = 0;
    steps->last = step;
    if (!step->parent || !step->taken ||
        grow_both(&states->cost, &states->value, &states->size, records->count) != DONE)
        return NO_MEMORY;
    for (int64_t i = 0; i < records->count; i++) {
        const Record *own = &records->record[i];
        states->cost[i] = own->cost, states->value[i] = own->value;
        step->parent[i] = (int32_t)(own->origin % n_before);
        step->taken[i] = (int32_t)(own->origin / n_before);
    }
    states->count = records->count;
    return DONE;
}

/* Walks back from a state of the last step to the choices that made it. */
int64_t walk_back(const Steps *steps, int64_t state, int64_t *changes)
{
    int64_t count = 0;
    for (const Step *step = steps->last; step; step = step->before) {
        int64_t combination = step->taken[state];
        state = step->parent[state];
        for (int i = step->n_changes - 1; i >= 0; i--) {
            const Change *change = &step->change[i];
            int64_t pair = change->kept ? change->kept[combination] : combination, which = pair / change->before;
            combination = pair % change->before;
            if (which)
                changes[count++] = change->choice[which - 1];
        }
    }
    return count;
}

void free_steps(Steps *steps, Combinations *combinations, Records *records, States *states)
{
    while (steps->last) {
        Step *step = steps->last;
        steps->last = step->before;
        forget_changes(step->change, step->n_changes);
        free(step->parent), free(step->taken), free(step);
    }
    forget_changes(combinations->change, combinations->n_changes);
    free(combinations->cost), free(combinations->value);
    free(records->record), free(records->other), free(records->run);
    free(states->cost), free(states->value);
}
