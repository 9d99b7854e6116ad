/* Bounds of what follows in a state list, at each of many prices; the twin is `core_search/tails.py`. */
#include "listing.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { MOST_FACTORS = 7, AT_ONCE = 64 };
static const double FACTORS[] = {0.3, 0.6, 0.85, 1.0, 1.2, 1.7, 3.0}; /* all as in the twin, of the best price */
static const double FACTORS_OF_THREE[] = {0.5, 0.8, 1.0, 1.3, 2.0};
static const double FACTORS_ALONE[] = {0.4, 0.8, 1.25, 2.5};
static const double OF_FREE[] = {0.0, 0.2, 1.0};

typedef struct {
    int count;
    double step[MOST_FACTORS];
} Axis;

static int64_t most_prices(int64_t n_resources)
{
    return n_resources == 1 ? 7 : n_resources == 2 ? 49 : n_resources == 3 ? 125 : 5 + 4 * n_resources;
}

int new_tails(const Core *core, Tails *tails)
{
    int64_t places = core->n_groups + 1, prices = most_prices(core->n_resources);
    size_t each = (size_t)core->n_resources * sizeof(int64_t);
    tails->tilt = room_for(prices, (size_t)core->n_resources * sizeof(double));
    tails->least = room_for(places, (size_t)prices * sizeof(double));
    tails->shed = room_for(places, each), tails->fill = room_for(places, each);
    tails->size = room_for(core->n_choices, sizeof(double)), tails->charged = room_for(2 * prices, sizeof(double));
    tails->spent = room_for(AT_ONCE, (size_t)core->n_resources * sizeof(double));
    return tails->tilt && tails->least && tails->shed && tails->fill && tails->size && tails->charged && tails->spent
               ? DONE
               : NO_MEMORY;
}

void free_tails(Tails *tails)
{
    free(tails->tilt), free(tails->least), free(tails->shed), free(tails->fill);
    free(tails->size), free(tails->charged), free(tails->spent);
}

/* Prices for a budget whose best price is 0: shares of what it typically takes to shed a unit of its cost. */
static Axis along_free(const Core *core, int64_t resource, double limit, double *rate)
{
    int64_t sheds = 0, most = 0;
    for (int64_t group = 0; group < core->n_groups; group++) {
        int64_t dearest = INT64_MIN;
        for (int64_t i = core->start[group]; i < core->start[group + 1]; i++) {
            int64_t own = core->reduced[i] <= limit ? more_cost(core, resource, i) : 0;
            dearest = own > dearest ? own : dearest;
            if (own < 0)
                rate[sheds++] = core->reduced[i] / (double)minus(0, own);
        }
        most = plus(most, dearest);
    }
    if (!sheds || core->slack[resource] >= most)
        return (Axis){1, {0.0}};
    double middle = smallest(rate, sheds, sheds / 2 + 1);
    if (sheds % 2 == 0)
        middle = (smallest(rate, sheds, sheds / 2) + middle) / 2;
    return (Axis){3, {middle * OF_FREE[0], middle * OF_FREE[1], middle * OF_FREE[2]}};
}

static Axis along(const Core *core, const double *price, int64_t resource, double limit, double *scratch)
{
    if (!(price[resource] > 0))
        return along_free(core, resource, limit, scratch);
    int64_t n = core->n_resources;
    const double *factor = n <= 2 ? FACTORS : n == 3 ? FACTORS_OF_THREE : FACTORS_ALONE;
    Axis axis = {n <= 2 ? 7 : n == 3 ? 5 : 4, {0.0}};
    for (int i = 0; i < axis.count; i++)
        axis.step[i] = price[resource] * (factor[i] - 1);
    return axis;
}

/* Prices around the best one, less the best one: in all combinations up to three budgets, else one at a time. */
static void make_tilts(const Core *core, const double *price, double limit, Tails *tails)
{
    int64_t n = core->n_resources;
    tails->n_prices = 0;
    if (n > 3) {
        for (int row = 0; row < 5; row++, tails->n_prices++)
            for (int64_t resource = 0; resource < n; resource++)
                tails->tilt[tails->n_prices * n + resource] = row ? price[resource] * (FACTORS_ALONE[row - 1] - 1) : 0.0;
        for (int64_t resource = 0; resource < n; resource++) {
            Axis axis = along(core, price, resource, limit, tails->size);
            for (int i = 0; i < axis.count; i++, tails->n_prices++)
                for (int64_t other = 0; other < n; other++)
                    tails->tilt[tails->n_prices * n + other] = other == resource ? axis.step[i] : 0.0;
        }
        return;
    }
    Axis axis[3] = {{1, {0.0}}, {1, {0.0}}, {1, {0.0}}};
    for (int64_t resource = 0; resource < n; resource++)
        axis[resource] = along(core, price, resource, limit, tails->size);
    for (int i = 0; i < axis[0].count; i++)
        for (int j = 0; j < axis[1].count; j++)
            for (int k = 0; k < axis[2].count; k++, tails->n_prices++) {
                const double step[3] = {axis[0].step[i], axis[1].step[j], axis[2].step[k]};
                for (int64_t resource = 0; resource < n; resource++)
                    tails->tilt[tails->n_prices * n + resource] = step[resource];
            }
}

static double charge(const double *price, const Core *core, int64_t choice)
{
    double charged = price[0] * (double)core->cost[choice];
    for (int64_t resource = 1; resource < core->n_resources; resource++)
        charged += price[resource] * (double)more_cost(core, resource, choice);
    return charged;
}

static int64_t magnitude(int64_t cost) { return cost < 0 ? minus(0, cost) : cost; }

/* Which differences of totals, and of bounds at other prices, are rounding. */
static void find_rounding(const Core *core, const double *price, const int64_t *order, int64_t n_order, double limit,
                          Tails *tails)
{
    int64_t n = core->n_resources;
    double size_of_all = 0.0, widest = 0.0;
    int64_t *reach = tails->shed; /* not in use yet */
    for (int64_t resource = 0; resource < n; resource++)
        reach[resource] = 0;
    for (int64_t rank = 0; rank < n_order; rank++) {
        int64_t begin = core->start[order[rank]], end = core->start[order[rank] + 1];
        double size = 0.0;
        for (int64_t i = begin; i < end; i++) {
            if (!(core->reduced[i] <= limit))
                continue;
            double charged = price[0] * (double)magnitude(core->cost[i]);
            for (int64_t resource = 1; resource < n; resource++)
                charged += price[resource] * (double)magnitude(more_cost(core, resource, i));
            size = larger(fabs(core->value[i]) + charged, size);
        }
        size_of_all += size;
        for (int64_t resource = 0; resource < n; resource++) {
            int64_t most = 0;
            for (int64_t i = begin; i < end; i++) {
                int64_t own = core->reduced[i] <= limit ? magnitude(more_cost(core, resource, i)) : 0;
                most = own > most ? own : most;
            }
            reach[resource] = plus(reach[resource], most);
        }
    }
    for (int64_t k = 0; k < tails->n_prices; k++) {
        double farthest = 0.0;
        for (int64_t resource = 0; resource < n; resource++)
            farthest += fabs(tails->tilt[k * n + resource]) *
                        ((double)reach[resource] + fabs((double)core->slack[resource]));
        widest = larger(farthest, widest);
    }
    tails->noise = 4 * DBL_EPSILON * size_of_all;
    tails->rounding = tails->noise + 4 * DBL_EPSILON * widest;
}

void bound_tails(const Core *core, const double *price, const int64_t *order, int64_t n_order, double limit, Tails *tails)
{
    int64_t n = core->n_resources;
    make_tilts(core, price, limit, tails);
    find_rounding(core, price, order, n_order, limit, tails);
    tails->limit = limit;
    double *charged = tails->charged, *least = charged + tails->n_prices;
    for (int64_t k = 0; k < tails->n_prices; k++)
        charged[k] = 0.0;
    for (int64_t rank = n_order; rank >= 0; rank--) {
        int64_t begin = rank < n_order ? core->start[order[rank]] : 0;
        int64_t end = rank < n_order ? core->start[order[rank] + 1] : 0;
        for (int64_t resource = 0; resource < n; resource++) {
            int64_t down = 0, up = 0;
            for (int64_t i = begin; i < end; i++) {
                int64_t own = core->reduced[i] <= limit ? more_cost(core, resource, i) : 0;
                down = minus(0, own) > down ? minus(0, own) : down;
                up = own > up ? own : up;
            }
            int64_t at = rank * n + resource;
            tails->shed[at] = rank < n_order ? plus(tails->shed[at + n], down) : 0;
            tails->fill[at] = rank < n_order ? plus(tails->fill[at + n], up) : 0;
        }
        for (int64_t k = 0; k < tails->n_prices && rank < n_order; k++) {
            least[k] = INFINITY;
            for (int64_t i = begin; i < end; i++)
                if (core->reduced[i] <= limit)
                    least[k] = smaller(core->reduced[i] + charge(tails->tilt + k * n, core, i), least[k]);
            charged[k] += least[k];
        }
        for (int64_t k = 0; k < tails->n_prices; k++) {
            double unused = tails->tilt[k * n] * (double)core->slack[0];
            for (int64_t resource = 1; resource < n; resource++)
                unused += tails->tilt[k * n + resource] * (double)core->slack[resource];
            tails->least[rank * tails->n_prices + k] = charged[k] - unused;
        }
    }
}

/* The best of the bounds of all prices on what must be added to some states that follow each other. */
static void find_owed(const Partial *states, int64_t begin, int64_t count, const Tails *tails, int64_t rank,
                      double *restrict owed)
{
    const double *least = tails->least + rank * tails->n_prices;
    double sum[AT_ONCE];
    int64_t n = states->n_resources;
    for (int64_t i = 0; i < count; i++) {
        owed[i] = -INFINITY;
        for (int64_t resource = 0; resource < n; resource++)
            tails->spent[resource * AT_ONCE + i] = (double)states->cost[(begin + i) * n + resource];
    }
    for (int64_t k = 0; k < tails->n_prices; k++) {
        const double *restrict spent = tails->spent, *tilt = tails->tilt + k * n;
        double first = tilt[0], ahead = least[k];
        for (int64_t i = 0; i < count; i++)
            sum[i] = first * spent[i];
        for (int64_t resource = 1; resource < n; resource++) {
            double next = tilt[resource];
            spent += AT_ONCE;
            for (int64_t i = 0; i < count; i++)
                sum[i] += next * spent[i];
        }
        for (int64_t i = 0; i < count; i++)
            owed[i] = larger(sum[i] + ahead, owed[i]);
    }
}

/* Bounds the states from one on; those that are past the threshold go. */
void bound_states(Partial *states, int64_t first, const Tails *tails, int64_t rank, double threshold)
{
    int64_t n = states->n_resources, kept = first, end = states->count;
    double owed[AT_ONCE];
    for (int64_t begin = first; begin < end; begin += AT_ONCE) {
        int64_t count = end - begin < AT_ONCE ? end - begin : AT_ONCE;
        find_owed(states, begin, count, tails, rank, owed);
        for (int64_t i = begin; i < begin + count; i++) {
            double bound = states->regret[i] + owed[i - begin];
            if (!(bound <= threshold + tails->rounding))
                continue;
            for (int64_t resource = 0; resource < n; resource++)
                states->cost[kept * n + resource] = states->cost[i * n + resource];
            states->regret[kept] = states->regret[i], states->bound[kept] = bound;
            states->parent[kept] = states->parent[i], states->taken[kept++] = states->taken[i];
        }
    }
    states->count = kept;
}
