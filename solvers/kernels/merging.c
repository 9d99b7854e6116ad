/* One more group for a list of nondominated states, as in a front; the twin is `questions/states.py`. */
#include "steps.h"

#include <math.h>
#include <stdlib.h>

enum { CELLS_AT_ONCE = 2048, BUCKETS = 4096 }; /* what they hold stays near the processor */

typedef struct {
    int64_t cost;
    double value;
} Point;

static int64_t least_of_two(int64_t a, int64_t b) { return a < b ? a : b; }

/* Shifted minima over a grid of costs: for each cell the least of what each choice brings there. */
int merge_on_grid(const States *from, const Group *group, int64_t cells, int64_t unit, Poll *poll, States *to)
{
    int64_t span = from->cost[from->count - 1] / unit + 2, kept = 0;
    double least[CELLS_AT_ONCE], lowest = INFINITY, inverse = 1.0 / (double)unit, *held = room_for(span, sizeof(double));
    if (!held)
        return NO_MEMORY;
    for (int64_t i = 0; i < span; i++)
        held[i] = INFINITY;
    for (int64_t i = 0; i < from->count; i++) /* costs are multiples of the unit: a product is as good as a division */
        held[(int64_t)((double)from->cost[i] * inverse + 0.5)] = from->value[i];
    for (int64_t begin = 0; begin < cells; begin += CELLS_AT_ONCE) {
        int64_t end = least_of_two(cells, begin + CELLS_AT_ONCE);
        int status = polled(poll, (end - begin) * group->count);
        if (status != DONE) {
            free(held);
            return status;
        }
        for (int64_t i = 0; i < end - begin; i++)
            least[i] = INFINITY;
        for (int64_t choice = 0; choice < group->count; choice++) {
            int64_t shift = group->cost[choice] / unit, first = begin > shift ? begin : shift;
            int64_t count = least_of_two(end, plus(shift, span)) - first;
            const double *restrict own = held + (first - shift);
            double *restrict here = least + (first - begin), extra = group->value[choice];
            for (int64_t i = 0; i < count; i++)
                here[i] = smaller(own[i] + extra, here[i]);
        }
        for (int64_t i = begin; i < end; i++) { /* written in any case: there is room for one more than stay */
            double own = least[i - begin];
            to->cost[kept] = i * unit, to->value[kept] = own;
            kept += own < lowest;
            lowest = smaller(own, lowest);
        }
    }
    to->count = kept;
    free(held);
    return DONE;
}

/* The least value of all pairs that cost less than each of some evenly spaced costs: pairs above it are dominated. */
typedef struct {
    double least[BUCKETS + 2], inverse;
} Envelope;

static int64_t bucket_of(const Envelope *envelope, int64_t cost) { return (int64_t)((double)cost * envelope->inverse); }

static void find_envelope(const States *from, const Group *group, int64_t room, Envelope *envelope)
{
    int64_t most = plus(from->cost[from->count - 1], group->cost[group->count - 1]);
    most = most < 0 || most > room ? room : most;
    envelope->inverse = BUCKETS / ((double)most + 1.0);
    for (int64_t i = 0; i < BUCKETS + 2; i++)
        envelope->least[i] = INFINITY;
    for (int64_t choice = 0; choice < group->count; choice++)
        for (int64_t i = 0; i < from->count && group->cost[choice] <= room - from->cost[i]; i++) {
            double *own = envelope->least + bucket_of(envelope, from->cost[i] + group->cost[choice]) + 1;
            *own = smaller(from->value[i] + group->value[choice], *own);
        }
    for (int64_t i = 1; i < BUCKETS + 2; i++)
        envelope->least[i] = smaller(envelope->least[i - 1], envelope->least[i]);
}

/* Every state with one choice, less those past the room or above the envelope; only counted where there is no place. */
static int64_t shifted(const States *from, int64_t cost, double value, int64_t room, const Envelope *envelope, Point *to)
{
    int64_t count = 0;
    for (int64_t i = 0; i < from->count && cost <= room - from->cost[i]; i++) {
        Point own = {from->cost[i] + cost, from->value[i] + value};
        int keep = own.value < envelope->least[bucket_of(envelope, own.cost)];
        if (to)
            to[count] = own;
        count += keep;
    }
    return count;
}

/* Two lists as one: of equal costs the lower value stays, and values fall strictly. */
static int64_t merge_two(const Point *left, const Point *left_end, const Point *right, const Point *right_end, Point *to)
{
    Point *begin = to;
    double last = INFINITY;
    while (left < left_end || right < right_end) {
        int from_left =
            right == right_end || (left < left_end && (left->cost < right->cost ||
                                                       (left->cost == right->cost && left->value <= right->value)));
        const Point *own = from_left ? left++ : right++;
        if (own->value < last) {
            *to++ = *own;
            last = own->value;
        }
    }
    return to - begin;
}

/* Lists merged in pairs until one is left; `run` holds where each begins, and where the last one ends. */
static int merge_in_pairs(Point **points, Point **other, int64_t *run, int64_t n_runs, Poll *poll)
{
    while (n_runs > 1) {
        int64_t count = 0, left = 0;
        for (int64_t i = 0; i < n_runs; i += 2) {
            int64_t begin = run[i], middle = run[i + 1], end = i + 1 < n_runs ? run[i + 2] : middle;
            const Point *from = *points;
            int status = polled(poll, end - begin);
            if (status != DONE)
                return status;
            run[left++] = count;
            count += merge_two(from + begin, from + middle, from + middle, from + end, *other + count);
        }
        run[left] = count, n_runs = left;
        Point *swap = *points;
        *points = *other, *other = swap;
    }
    return DONE;
}

int merge_by_cost(const States *from, const Group *group, int64_t room, Poll *poll, States *to)
{
    int64_t most = 1, *run = room_for(group->count + 1, sizeof(int64_t));
    Envelope *envelope = room_for(1, sizeof *envelope);
    Point *points = NULL, *other = NULL;
    int status = run && envelope ? polled(poll, 3 * from->count * group->count) : NO_MEMORY;
    to->count = 0;
    if (status == DONE) {
        find_envelope(from, group, room, envelope);
        for (int64_t choice = 0; choice < group->count; choice++)
            most += shifted(from, group->cost[choice], group->value[choice], room, envelope, NULL);
        points = room_for(most, sizeof(Point)), other = room_for(most, sizeof(Point));
        status = points && other ? DONE : NO_MEMORY;
    }
    if (status == DONE) {
        run[0] = 0;
        for (int64_t choice = 0; choice < group->count; choice++)
            run[choice + 1] = run[choice] + shifted(from, group->cost[choice], group->value[choice], room, envelope,
                                                    points + run[choice]);
        status = merge_in_pairs(&points, &other, run, group->count, poll);
    }
    if (status == DONE) {
        to->count = run[1];
        for (int64_t i = 0; i < to->count; i++)
            to->cost[i] = points[i].cost, to->value[i] = points[i].value;
    }
    free(run), free(points), free(other), free(envelope);
    return status;
}
