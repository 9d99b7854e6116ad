/* Kernels as Python calls them that do whole steps at once: a solve, many solves, a merge of a front. */
#include "asking.h"
#include "clock.h"
#include "steps.h"

#include <math.h>

enum { WORK_OF_A_DRAW = 1 << 12 }; /* about so much, as polls count it: Python is asked now and then between draws */

/* Reduction and first search at once; the numbers go out through arrays, since an interrupt leaves nothing else. */
PyObject *py_solve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    /* value, cost, start, choice, figures, counts, warm */
    if (take(&arrays, args, count, 13, "dqqQDQo") || take_table(&arrays, 0, 1, 2, 1, &table) ||
        check_lengths(&arrays, 3, 3, table.n_groups) || check_lengths(&arrays, 4, 5, 3) ||
        take_warm(&arrays, 6, &table))
        return NULL;
    const Py_buffer *view = arrays.view;
    long long budget = PyLong_AsLongLong(args[7]), pairs_up_to = PyLong_AsLongLong(args[8]);
    Limits limits = {PyLong_AsLongLong(args[9]), PyLong_AsLongLong(args[10]), PyLong_AsLongLong(args[11])};
    double seconds = PyFloat_AsDouble(args[12]);
    if (!PyErr_Occurred() && (table.n_groups < 1 || pairs_up_to < 1))
        PyErr_SetString(PyExc_ValueError, "solve takes at least one group");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    PyThreadState *state;
    Asking asking = asking_for(seconds, &state);
    Poll poll = {ask, &asking, 0};
    state = PyEval_SaveThread();
    int status = solve_one_budget(&table, budget, view[6].buf, pairs_up_to, limits, &poll, view[3].buf, view[4].buf,
                                  view[5].buf);
    PyEval_RestoreThread(state);
    release(&arrays);
    return ended(status);
}

/* The same for many values beside the same costs, one row of values and one of choices each; which of them are done. */
PyObject *py_solve_draws(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    /* value, cost, start, choice, done, warm */
    if (take(&arrays, args, count, 12, "dqqQQo"))
        return NULL;
    const Py_buffer *view = arrays.view;
    int64_t n = length(&arrays, 1), n_groups = length(&arrays, 2) - 1, n_draws = length(&arrays, 4);
    table = (Table){n_groups, n, view[2].buf, view[1].buf, view[0].buf, 1};
    if (check_start(&arrays, 2, n) || take_warm(&arrays, 5, &table))
        return NULL;
    long long budget = PyLong_AsLongLong(args[6]), pairs_up_to = PyLong_AsLongLong(args[7]);
    Limits limits = {PyLong_AsLongLong(args[8]), PyLong_AsLongLong(args[9]), PyLong_AsLongLong(args[10])};
    double seconds = PyFloat_AsDouble(args[11]), figures[3];
    int64_t counts[3], *done = view[4].buf;
    if (!PyErr_Occurred() && (n_groups < 1 || pairs_up_to < 1))
        PyErr_SetString(PyExc_ValueError, "solve takes at least one group");
    if (!PyErr_Occurred() && (length(&arrays, 0) / n < n_draws || length(&arrays, 3) / n_groups < n_draws))
        PyErr_SetString(PyExc_ValueError, "draws have a value for each choice, and a choice for each group");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    int status = DONE;
    PyThreadState *state;
    Asking asking = asking_for(seconds, &state);
    Poll poll = {ask, &asking, 0};
    state = PyEval_SaveThread();
    for (int64_t draw = 0; draw < n_draws && status != INTERRUPTED && status != NO_MEMORY; draw++) {
        table.value = (const double *)view[0].buf + draw * n;
        asking.deadline = clock_reading() + seconds;
        status = solve_one_budget(&table, budget, view[5].buf, pairs_up_to, limits, &poll,
                                  (int64_t *)view[3].buf + draw * n_groups, figures, counts);
        done[draw] = status == DONE;
        if (status == STOPPED || status == DONE)
            status = polled(&poll, WORK_OF_A_DRAW) == INTERRUPTED ? INTERRUPTED : DONE;
    }
    PyEval_RestoreThread(state);
    release(&arrays);
    return ended(status);
}

/* The costs of a list rise from 0 or more, those of choices are at least 0. */
static int check_rising(Arrays *arrays, int at, int64_t count)
{
    const int64_t *cost = arrays->view[at].buf;
    if (count < 1 || cost[0] < 0)
        return refuse(arrays, "merge takes at least one state and one choice, at costs of 0 or more");
    for (int64_t i = 1; i < count; i++)
        if (cost[i] < cost[i - 1])
            return refuse(arrays, "the costs of states, and of choices, must rise");
    return 0;
}

/* Merges on a grid where there is a number of cells, else by cost; how many states there are then. */
PyObject *py_merge(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* cost and value of states, then of choices, then of what is made */
    if (take(&arrays, args, count, 9, "qdqdQD"))
        return NULL;
    const Py_buffer *view = arrays.view;
    int64_t n = length(&arrays, 0), n_choices = length(&arrays, 2), made = length(&arrays, 4);
    if (check_lengths(&arrays, 1, 1, n) || check_lengths(&arrays, 3, 3, n_choices) || check_lengths(&arrays, 5, 5, made) ||
        check_rising(&arrays, 0, n) || check_rising(&arrays, 2, n_choices))
        return NULL;
    long long room = PyLong_AsLongLong(args[6]), cells = PyLong_AsLongLong(args[7]), unit = PyLong_AsLongLong(args[8]);
    int64_t most = n > INT64_MAX / 32 / n_choices ? INT64_MAX : n * n_choices;
    const int64_t *cost = view[0].buf;
    if (!PyErr_Occurred() && cells > 0 && (unit < 1 || cost[n - 1] / unit >= cells))
        PyErr_SetString(PyExc_ValueError, "the grid of a merge has a unit, and a cell for every state");
    if (!PyErr_Occurred() && room < 0)
        PyErr_SetString(PyExc_ValueError, "merge takes a room of 0 or more");
    if (!PyErr_Occurred() && made <= (cells > 0 && cells < most ? cells : most))
        PyErr_SetString(PyExc_ValueError, "merge needs room for one state more than there are cells, or pairs");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    States from = {n, n, view[0].buf, view[1].buf}, to = {0, made, view[4].buf, view[5].buf};
    Group group = {n_choices, view[2].buf, view[3].buf};
    PyThreadState *state;
    Asking asking = asking_for(INFINITY, &state);
    Poll poll = {ask, &asking, 0};
    state = PyEval_SaveThread();
    int status = cells > 0 ? merge_on_grid(&from, &group, cells, unit, &poll, &to)
                           : merge_by_cost(&from, &group, room, &poll, &to);
    PyEval_RestoreThread(state);
    release(&arrays);
    return status == DONE ? PyLong_FromLongLong(to.count) : ended(status);
}
