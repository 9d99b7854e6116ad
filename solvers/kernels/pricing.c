/* The best prices of several budgets, by column generation; the twin is `bounds/price.py`, which says why. */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIVOTS_PER_RESOURCE = 500 }; /* all as in the twin */
static const double DEARER = 100.0, ENOUGH = 1e-12, ROUNDING = 1e-13, NEGLIGIBLE = 1e-11, OVERRUN = 1e7;

/* Values and costs above the least of their group, in units of order one; and the basis of the simplex method. */
typedef struct {
    const Table *table;
    int64_t n, *chosen; /* n is the number of budgets */
    double scale, *value, *cost, *unit, *room;
    double *basis, *both, *dual, *column, *charge, *excess, *trial;
    uint8_t *is_overrun;
} Pricing;

static void scale_values(Pricing *own, const uint8_t *counts)
{
    const Table *table = own->table;
    own->scale = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        double least = INFINITY;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++)
            least = counts[i] ? smaller(table->value[i], least) : least;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++) {
            own->value[i] = counts[i] ? table->value[i] - least : INFINITY;
            own->scale = isfinite(own->value[i]) ? larger(own->value[i], own->scale) : own->scale;
        }
    }
    own->scale = own->scale != 0 ? own->scale : 1.0;
    for (int64_t i = 0; i < table->n_choices; i++)
        own->value[i] /= own->scale;
}

static void scale_costs(Pricing *own, const int64_t *budget, int64_t resource)
{
    const Table *table = own->table;
    const int64_t *cost = table->cost + resource * table->n_choices;
    double *to = own->cost + resource * table->n_choices;
    int64_t total = 0, spread = 0, largest = 1;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t least = cost[table->start[group]], most = least;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++) {
            least = cost[i] < least ? cost[i] : least;
            most = cost[i] > most ? cost[i] : most;
        }
        total = plus(total, least), most = minus(most, least), spread = plus(spread, most);
        largest = most > largest ? most : largest;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++)
            to[i] = (double)minus(cost[i], least);
    }
    int64_t room = minus(budget[resource], total);
    own->unit[resource] = (double)largest;
    own->room[resource] = (double)(room < spread ? room : spread) / own->unit[resource];
    for (int64_t i = 0; i < table->n_choices; i++)
        to[i] /= own->unit[resource];
}

/* Value of the selection that is cheapest at a price; by how much it exceeds each budget is left in `excess`. */
static double cheapest_selection(Pricing *own, const double *price)
{
    const Table *table = own->table;
    double total = 0.0;
    for (int64_t group = 0; group < table->n_groups; group++) {
        int64_t at = table->start[group];
        double least = INFINITY;
        for (int64_t i = table->start[group]; i < table->start[group + 1]; i++) {
            double charged = price[0] * own->cost[i];
            for (int64_t resource = 1; resource < own->n; resource++)
                charged += price[resource] * own->cost[resource * table->n_choices + i];
            charged += own->value[i];
            if (charged < least)
                least = charged, at = i;
        }
        own->chosen[group] = at;
        total += own->value[at];
    }
    for (int64_t resource = 0; resource < own->n; resource++) {
        double spent = 0.0;
        for (int64_t group = 0; group < table->n_groups; group++)
            spent += own->cost[resource * table->n_choices + own->chosen[group]];
        own->excess[resource] = spent - own->room[resource];
    }
    return total;
}

/* The inverse of the basis, in the right half of `both`; 0 where there is none. */
static int invert(Pricing *own)
{
    int64_t m = own->n + 1, width = 2 * m;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++) {
            own->both[i * width + j] = own->basis[i * m + j];
            own->both[i * width + m + j] = i == j;
        }
    for (int64_t column = 0; column < m; column++) {
        int64_t pivot = column;
        for (int64_t i = column + 1; i < m; i++)
            if (fabs(own->both[i * width + column]) > fabs(own->both[pivot * width + column]))
                pivot = i;
        double *from = own->both + pivot * width, *to = own->both + column * width, divisor = from[column];
        if (divisor == 0)
            return 0;
        for (int64_t j = 0; j < width; j++) {
            double swap = to[j];
            to[j] = from[j], from[j] = swap;
            to[j] /= divisor;
        }
        for (int64_t i = 0; i < m; i++) {
            double factor = own->both[i * width + column];
            for (int64_t j = 0; j < width && i != column; j++)
                own->both[i * width + j] -= factor * to[j];
        }
    }
    return 1;
}

/* The basic column whose share falls to zero first; -1 where none does. */
static int64_t leaving(const Pricing *own)
{
    int64_t m = own->n + 1, found = -1;
    double most = 0.0, least = INFINITY;
    for (int64_t i = 0; i < m; i++) {
        const double *row = own->both + i * 2 * m + m;
        double change = 0.0;
        for (int64_t j = 0; j < m; j++)
            change += row[j] * own->column[j];
        own->charge[i] = change;
        most = larger(fabs(change), most);
    }
    for (int64_t i = 0; i < m; i++) {
        if (!(own->charge[i] > 1e-11 * most))
            continue;
        double share = larger(own->both[i * 2 * m + 2 * m - 1], 0.0) / own->charge[i];
        if (found < 0 || share < least)
            least = share, found = i;
    }
    return found;
}

static int is_overrun_left(const Pricing *own)
{
    int64_t m = own->n + 1;
    for (int64_t i = 0; i < m; i++)
        if (own->is_overrun[i] && own->both[i * 2 * m + 2 * m - 1] > NEGLIGIBLE)
            return 1;
    return 0;
}

/* Pivot after pivot; DONE with the best of all prices that were tried, all 0 where the budgets cannot be met. */
static int pivot_to_the_end(Pricing *own, double *cost, Poll *poll, double *price)
{
    int64_t n = own->n, m = n + 1;
    double overrun = 1.0;
    memset(price, 0, (size_t)n * sizeof *price);
    double best = cheapest_selection(own, price);
    memset(own->basis, 0, (size_t)(m * m) * sizeof *own->basis);
    for (int64_t i = 0; i < n; i++) {
        own->is_overrun[i] = own->excess[i] > 0;
        own->basis[i * m + i] = own->excess[i] <= 0 ? 1.0 : -1.0;
        own->basis[i * m + n] = own->excess[i];
        cost[i] = own->excess[i] <= 0 ? 0.0 : overrun;
    }
    own->basis[n * m + n] = 1.0, own->is_overrun[n] = 0, cost[n] = best;
    for (int64_t pivots = 0; pivots < PIVOTS_PER_RESOURCE * n; pivots++) {
        int status = polled(poll, n * own->table->n_choices);
        if (status != DONE)
            return status == STOPPED ? DONE : status;
        if (!invert(own))
            return DONE;
        int64_t unused = 0;
        double most = 0.0, entering = 0.0;
        for (int64_t j = 0; j < m; j++) {
            own->dual[j] = cost[0] * own->both[m + j];
            for (int64_t i = 1; i < m; i++)
                own->dual[j] += cost[i] * own->both[i * 2 * m + m + j];
            most = larger(fabs(own->dual[j]), most);
            unused = j < n && own->dual[j] > own->dual[unused] ? j : unused;
        }
        memset(own->column, 0, (size_t)m * sizeof *own->column);
        if (own->dual[unused] > ROUNDING * most) {
            own->column[unused] = 1.0;
        } else {
            double bound = 0.0;
            for (int64_t j = 0; j < n; j++)
                own->trial[j] = larger(-own->dual[j], 0.0);
            entering = cheapest_selection(own, own->trial);
            for (int64_t j = 0; j < n; j++) {
                own->column[j] = own->excess[j];
                bound += own->trial[j] * own->excess[j];
            }
            own->column[n] = 1.0;
            if (entering + bound > best) {
                best = entering + bound;
                memcpy(price, own->trial, (size_t)n * sizeof *price);
            }
            if (own->dual[n] - best <= ENOUGH * fabs(best) + DBL_EPSILON) {
                if (!is_overrun_left(own))
                    return DONE;
                if (overrun > OVERRUN * (double)own->table->n_groups) {
                    memset(price, 0, (size_t)n * sizeof *price);
                    return DONE;
                }
                overrun *= DEARER;
                for (int64_t i = 0; i < m; i++)
                    cost[i] = own->is_overrun[i] ? overrun : cost[i];
                continue;
            }
        }
        int64_t out = leaving(own);
        if (out < 0)
            return DONE;
        for (int64_t i = 0; i < m; i++)
            own->basis[i * m + out] = own->column[i];
        cost[out] = entering, own->is_overrun[out] = 0;
    }
    return DONE;
}

int dual_price(const Table *table, const int64_t *budget, const uint8_t *counts, Poll *poll, double *price)
{
    int64_t n = table->n_resources, m = n + 1, n_choices = table->n_choices;
    Pricing own = {.table = table, .n = n};
    own.value = room_for(n_choices, (size_t)m * sizeof(double));
    own.chosen = room_for(table->n_groups, sizeof(int64_t));
    own.basis = room_for(3 * m * m + 8 * m, sizeof(double));
    own.is_overrun = room_for(m, 1);
    int status = own.value && own.chosen && own.basis && own.is_overrun ? DONE : NO_MEMORY;
    if (status == DONE) {
        own.cost = own.value + n_choices;
        own.both = own.basis + m * m;
        own.dual = own.both + 2 * m * m, own.column = own.dual + m, own.charge = own.column + m;
        own.excess = own.charge + m, own.trial = own.excess + m, own.unit = own.trial + m, own.room = own.unit + m;
        scale_values(&own, counts);
        for (int64_t resource = 0; resource < n; resource++)
            scale_costs(&own, budget, resource);
        status = pivot_to_the_end(&own, own.room + m, poll, price);
    }
    double most = 0.0;
    for (int64_t resource = 0; status == DONE && resource < n; resource++)
        most = larger(price[resource], most);
    for (int64_t resource = 0; status == DONE && resource < n; resource++)
        price[resource] = price[resource] < NEGLIGIBLE * most ? 0.0 : price[resource] * own.scale / own.unit[resource];
    free(own.value), free(own.chosen), free(own.basis), free(own.is_overrun);
    return status;
}
