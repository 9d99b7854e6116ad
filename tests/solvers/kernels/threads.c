/* Two threads on the same arrays, for ThreadSanitizer: kernels share nothing that they write. `.ci/sanitize` runs it. */
#include "kernels.h"
#include "steps.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 20, SIZE = 5, CHOICES = GROUPS * SIZE, BUDGETS = 2, ROUNDS = 20 };

static int64_t start[GROUPS + 1], cost[BUDGETS * CHOICES], budget[BUDGETS];
static double value[CHOICES];
static uint8_t counts[CHOICES];

/* What one thread finds. */
typedef struct {
    int64_t choice[GROUPS], listed[GROUPS], merged;
    int failed;
} Found;

static void make(void)
{
    uint64_t draw = 88172645463325252u;
    for (int64_t i = 0; i <= GROUPS; i++)
        start[i] = i * SIZE;
    for (int64_t i = 0; i < CHOICES; i++) {
        counts[i] = 1;
        for (int64_t resource = 0; resource < BUDGETS; resource++) {
            draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
            cost[resource * CHOICES + i] = (i % SIZE) * 100 + (int64_t)(draw % 90);
            budget[resource] += cost[resource * CHOICES + i];
        }
        value[i] = (double)(draw % 1000) / 7 + 900.0 / (double)(1 + i % SIZE);
    }
    for (int64_t resource = 0; resource < BUDGETS; resource++)
        budget[resource] /= SIZE + 1;
}

static void solve_one(Found *found)
{
    Table table = {GROUPS, CHOICES, start, cost, value, 1};
    Limits limits = {3000, 10, 1000000};
    double figures[3];
    int64_t numbers[3];
    found->failed |= solve_one_budget(&table, budget[0], NULL, 50000, limits, NULL, found->choice, figures, numbers) != DONE;
}

static void solve_several(Found *found)
{
    Table table = {GROUPS, CHOICES, start, cost, value, BUDGETS};
    int64_t reference[GROUPS], incumbent[GROUPS], group[GROUPS], begin[GROUPS + 1], position[CHOICES], slack[BUDGETS];
    int64_t more[BUDGETS * CHOICES];
    double price[BUDGETS], worth[CHOICES], reduced[CHOICES];
    Reduction out = {.price = price, .reference = reference, .incumbent = incumbent};
    out.core = (Core){group, begin, position, more, worth, reduced, 0, 0, BUDGETS, slack};
    found->failed |= reduce_several_budgets(&table, budget, counts, NULL, 50000, NULL, NULL, &out) != DONE;
    memset(found->listed, 0, sizeof found->listed);
    Search search = {price, out.gap, out.noise, 0.0, 1000000, found->listed, -1, 0};
    found->failed |= search_lists(&out.core, &search, NULL) != DONE;
}

static void merge(Found *found)
{
    int64_t made_cost[4 * SIZE + 1], from_cost[] = {0, 3, 4, 9}, its_cost[] = {0, 1, 2, 5, 7};
    double made_value[4 * SIZE + 1], from_value[] = {9, 5, 4, 1}, its_value[] = {8, 6, 3, 2, 0};
    States from = {4, 4, from_cost, from_value}, to = {0, 4 * SIZE + 1, made_cost, made_value};
    Group group = {SIZE, its_cost, its_value};
    found->failed |= merge_on_grid(&from, &group, 17, 1, NULL, &to) != DONE;
    found->merged = to.count;
    found->failed |= merge_by_cost(&from, &group, 100, NULL, &to) != DONE || to.count != found->merged;
}

static void *work(void *context)
{
    Found *found = context;
    for (int round = 0; round < ROUNDS; round++)
        solve_one(found), solve_several(found), merge(found);
    return NULL;
}

int main(void)
{
    static Found found[2];
    pthread_t thread[2];
    make();
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, work, &found[i]))
            return 2;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    int same = !memcmp(&found[0], &found[1], sizeof found[0]) && !found[0].failed;
    printf("threads: %s\n", same ? "the same from both" : "NOT the same from both");
    return !same;
}
