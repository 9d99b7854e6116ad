/* The minimal algorithm for the multiple-choice knapsack problem, after its description: D. Pisinger (1995), A minimal
   algorithm for the multiple-choice knapsack problem, European Journal of Operational Research 83, 394-410.

   Written for `benchmarks.kernels.minimal` alone, in floats and without proofs. A partition of slopes finds the break
   solution; the classes enter a core, in turns by the best gradient upwards and downwards, and states that cannot beat
   the best selection go. Where the paper keeps the last choices of a state in a bit field and solves again for the rest,
   every state here remembers the state that it came from. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t weight, node, item; /* node: of the state before; item: what was added */
    double profit;
} State;

typedef struct {
    int64_t before, item;
} Node;

typedef struct {
    double gradient;
    int64_t group;
} Ranked;

typedef struct {
    int64_t n_groups, room; /* room: what the break solution leaves */
    const int64_t *start, *cost;
    const double *value;
    int64_t *choice, *light, *heavy;
    double slope, *slopes;
    Ranked *up, *down;
    State *states, *other, *run;
    int64_t n_states, size;
    Node *nodes;
    int64_t n_nodes, node_size, best;
    double reached;
} Minimal;

static double chord(const Minimal *own, int64_t light, int64_t heavy)
{
    return (own->value[light] - own->value[heavy]) / (double)(own->cost[heavy] - own->cost[light]);
}

static double median(double *number, int64_t count)
{
    int64_t low = 0, high = count - 1, wanted = count / 2;
    while (low < high) {
        double pivot = number[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (number[i] < pivot)
                i++;
            while (number[j] > pivot)
                j--;
            if (i <= j) {
                double swap = number[i];
                number[i++] = number[j], number[j--] = swap;
            }
        }
        if (wanted <= j)
            high = j;
        else if (wanted >= i)
            low = i;
        else
            break;
    }
    return number[wanted];
}

/* The ends of each class between which its best item at the slope of the linear relaxation lies. */
static void partition(Minimal *own, int64_t budget, int64_t *lightest, int64_t *heaviest)
{
    for (;;) {
        int64_t open = 0, low = 0, high = 0;
        for (int64_t group = 0; group < own->n_groups; group++)
            if (own->light[group] != own->heavy[group])
                own->slopes[open++] = chord(own, own->light[group], own->heavy[group]);
        if (!open)
            return;
        double slope = own->slope = median(own->slopes, open);
        for (int64_t group = 0; group < own->n_groups; group++) {
            int64_t light = own->light[group], heavy = own->heavy[group];
            double least = INFINITY;
            lightest[group] = heaviest[group] = light;
            for (int64_t i = own->start[group]; i < own->start[group + 1] && light != heavy; i++) {
                if (own->cost[i] < own->cost[light] || own->cost[i] > own->cost[heavy])
                    continue;
                double priced = own->value[i] + slope * (double)own->cost[i];
                if (priced < least || (priced == least && own->cost[i] < own->cost[lightest[group]]))
                    lightest[group] = i;
                if (priced < least || (priced == least && own->cost[i] > own->cost[heaviest[group]]))
                    heaviest[group] = i;
                least = priced < least ? priced : least;
            }
            /* The ends of the class that gave the slope are tied, whatever rounding says. */
            int at_an_end = (lightest[group] == light || lightest[group] == heavy) &&
                            (heaviest[group] == light || heaviest[group] == heavy);
            if (light != heavy && at_an_end && chord(own, light, heavy) == slope)
                lightest[group] = light, heaviest[group] = heavy;
            low += own->cost[lightest[group]], high += own->cost[heaviest[group]];
        }
        if (low <= budget && high > budget) {
            memcpy(own->light, lightest, (size_t)own->n_groups * sizeof *lightest);
            memcpy(own->heavy, heaviest, (size_t)own->n_groups * sizeof *heaviest);
            return;
        }
        for (int64_t group = 0; group < own->n_groups; group++) {
            if (low > budget)
                own->heavy[group] = lightest[group];
            else
                own->light[group] = heaviest[group];
        }
    }
}

static int by_gradient(const void *one, const void *other)
{
    double a = ((const Ranked *)one)->gradient, b = ((const Ranked *)other)->gradient;
    return (a > b) - (a < b);
}

/* Gradients of every class against its item of the break solution: the best upwards first, the least downwards first. */
static void rank_classes(Minimal *own)
{
    for (int64_t group = 0; group < own->n_groups; group++) {
        int64_t at = own->choice[group];
        double up = 0.0, down = INFINITY;
        for (int64_t i = own->start[group]; i < own->start[group + 1]; i++) {
            if (own->cost[i] > own->cost[at] && chord(own, at, i) > up)
                up = chord(own, at, i);
            if (own->cost[i] < own->cost[at] && chord(own, i, at) < down)
                down = chord(own, i, at);
        }
        own->up[group] = (Ranked){-up, group}, own->down[group] = (Ranked){down, group};
    }
    qsort(own->up, (size_t)own->n_groups, sizeof(Ranked), by_gradient);
    qsort(own->down, (size_t)own->n_groups, sizeof(Ranked), by_gradient);
}

static void grow(Minimal *own, int64_t wanted)
{
    if (wanted <= own->size)
        return;
    own->size = 2 * wanted;
    own->states = realloc(own->states, (size_t)own->size * sizeof(State));
    own->other = realloc(own->other, (size_t)own->size * sizeof(State));
    own->run = realloc(own->run, (size_t)own->size * sizeof(State));
}

/* Merges a list with another one shifted by an item; of states that cost no less the more profitable stay. */
static int64_t merge(const State *left, int64_t n_left, const State *base, int64_t n, int64_t item, int64_t weight, double profit,
                     State *to)
{
    int64_t i = 0, j = 0, count = 0;
    double most = -INFINITY;
    while (i < n_left || j < n) {
        State next;
        if (j == n || (i < n_left && left[i].weight <= base[j].weight + weight)) {
            next = left[i++];
        } else {
            next = (State){base[j].weight + weight, base[j].node, item, base[j].profit + profit};
            j++;
        }
        if (next.profit > most) {
            if (count && to[count - 1].weight == next.weight)
                count--;
            to[count++] = next;
            most = next.profit;
        }
    }
    return count;
}

/* Adds a class to the core: items that the slope rules out stay away, and so do states that the gradients rule out. */
static void add_class(Minimal *own, int64_t group, double up, double down)
{
    int64_t at = own->choice[group], n = own->n_states, kept = 0;
    grow(own, n * (own->start[group + 1] - own->start[group]));
    State *merged = own->other, *spare = own->run;
    int64_t count = n;
    memcpy(merged, own->states, (size_t)n * sizeof(State));
    for (int64_t i = 0; i < n; i++)
        merged[i].item = at;
    for (int64_t i = own->start[group]; i < own->start[group + 1]; i++) {
        int64_t weight = own->cost[i] - own->cost[at];
        double profit = own->value[at] - own->value[i];
        if (i == at || profit + own->slope * (double)(own->room - weight) <= own->reached)
            continue;
        count = merge(merged, count, own->states, n, i, weight, profit, spare);
        State *swap = merged;
        merged = spare, spare = swap;
    }
    if (own->n_nodes + count > own->node_size) {
        own->node_size = 2 * (own->n_nodes + count);
        own->nodes = realloc(own->nodes, (size_t)own->node_size * sizeof(Node));
    }
    for (int64_t i = 0; i < count; i++) /* the best first: what it rules out need not stay */
        if (merged[i].weight <= own->room && merged[i].profit > own->reached) {
            own->reached = merged[i].profit;
            own->best = own->n_nodes;
            own->nodes[own->n_nodes] = (Node){merged[i].node, merged[i].item};
        }
    own->n_nodes += own->best == own->n_nodes;
    for (int64_t i = 0; i < count; i++) {
        double left = (double)(own->room - merged[i].weight);
        if (!(merged[i].profit + left * (left >= 0 ? up : down) > own->reached))
            continue;
        own->states[kept] = merged[i];
        own->states[kept].node = own->n_nodes + kept;
        if (own->n_nodes + kept >= own->node_size) {
            own->node_size *= 2;
            own->nodes = realloc(own->nodes, (size_t)own->node_size * sizeof(Node));
        }
        own->nodes[own->n_nodes + kept] = (Node){merged[i].node, merged[i].item};
        kept++;
    }
    own->n_nodes += kept;
    own->n_states = kept;
    if (merged != own->other)
        own->run = spare, own->other = merged;
}

/* Classes enter in turns, by the next gradient upwards and the next downwards, until no state can be better. */
static void enumerate_core(Minimal *own, int64_t first, uint8_t *entered)
{
    int64_t next_up = 0, next_down = 0, n = own->n_groups;
    for (int64_t turn = 0, group = first; group >= 0 && own->n_states; turn++) {
        entered[group] = 1;
        while (next_up < n && entered[own->up[next_up].group])
            next_up++;
        while (next_down < n && entered[own->down[next_down].group])
            next_down++;
        add_class(own, group, next_up < n ? -own->up[next_up].gradient : 0.0,
                  next_down < n ? own->down[next_down].gradient : INFINITY);
        group = next_up == n ? -1 : turn % 2 ? own->up[next_up].group : own->down[next_down].group;
    }
}

/* Positions of a selection of least value within the budget; 0 where none fits. */
int minimal_solve(int64_t n_groups, const int64_t *start, const int64_t *cost, const double *value, int64_t budget,
                  int64_t *choice)
{
    Minimal own = {.n_groups = n_groups, .start = start, .cost = cost, .value = value, .choice = choice, .best = -1};
    int64_t *ends = malloc((size_t)(4 * n_groups) * sizeof *ends), used = 0, first = -1, heaviest = 0;
    own.light = ends, own.heavy = ends + n_groups;
    own.slopes = malloc((size_t)n_groups * sizeof(double));
    own.up = malloc((size_t)n_groups * sizeof(Ranked)), own.down = malloc((size_t)n_groups * sizeof(Ranked));
    uint8_t *entered = calloc((size_t)n_groups, 1);
    for (int64_t group = 0; group < n_groups; group++) {
        int64_t light = start[group], heavy = light;
        for (int64_t i = light + 1; i < start[group + 1]; i++) {
            if (cost[i] < cost[light] || (cost[i] == cost[light] && value[i] < value[light]))
                light = i;
            if (value[i] < value[heavy] || (value[i] == value[heavy] && cost[i] < cost[heavy]))
                heavy = i;
        }
        own.light[group] = light, own.heavy[group] = heavy;
        used += cost[light], heaviest += cost[heavy];
    }
    if (used <= budget && heaviest <= budget) {
        memcpy(choice, own.heavy, (size_t)n_groups * sizeof *choice);
    } else if (used <= budget) {
        partition(&own, budget, ends + 2 * n_groups, ends + 3 * n_groups);
        own.room = budget;
        for (int64_t group = 0; group < n_groups; group++)
            own.room -= cost[own.light[group]];
        for (int64_t group = 0; group < n_groups; group++) {
            int64_t more = cost[own.heavy[group]] - cost[own.light[group]];
            int takes = first < 0 && more <= own.room;
            choice[group] = takes ? own.heavy[group] : own.light[group];
            own.room -= takes ? more : 0;
            first = first < 0 && !takes ? group : first;
        }
        rank_classes(&own);
        grow(&own, 64);
        own.states[0] = (State){0, -1, -1, 0.0};
        own.n_states = 1;
        enumerate_core(&own, first < 0 ? 0 : first, entered);
        for (int64_t node = own.best; node >= 0; node = own.nodes[node].before)
            for (int64_t low = 0, high = n_groups; high - low >= 1;) { /* the class of the item */
                int64_t middle = low + (high - low) / 2;
                if (start[middle + 1] <= own.nodes[node].item)
                    low = middle + 1;
                else if (start[middle] > own.nodes[node].item)
                    high = middle;
                else {
                    choice[middle] = own.nodes[node].item;
                    break;
                }
            }
    }
    free(ends), free(own.slopes), free(own.up), free(own.down), free(entered);
    free(own.states), free(own.other), free(own.run), free(own.nodes);
    return used <= budget;
}
