/* Kernels as Python calls them that look at the clock and let the user interrupt: they run without the GIL. */
#include "asking.h"
#include "clock.h"

static const double BETWEEN_SIGNALS = 0.05;

int ask(void *context)
{
    Asking *asking = context;
    double now = clock_reading();
    if (now > asking->deadline)
        return STOPPED;
    if (now < asking->next)
        return DONE;
    asking->next = now + BETWEEN_SIGNALS;
    PyEval_RestoreThread(*asking->state);
    int raised = PyErr_CheckSignals();
    *asking->state = PyEval_SaveThread();
    return raised ? INTERRUPTED : DONE;
}

Asking asking_for(double seconds, PyThreadState **state)
{
    double now = clock_reading();
    return (Asking){now + seconds, now + BETWEEN_SIGNALS, state};
}

/* NULL where a kernel was interrupted, or had too little memory; else whether it came to its end. */
PyObject *ended(int status)
{
    if (status == INTERRUPTED)
        return NULL;
    return status == NO_MEMORY ? PyErr_NoMemory() : PyBool_FromLong(status == DONE);
}

/* A selection to start from, or none. */
int take_warm(Arrays *arrays, int at, const Table *table)
{
    if (!arrays->view[at].obj)
        return 0;
    return check_lengths(arrays, at, at, table->n_groups) || check_selection(arrays, at, table);
}

/* The arrays of a reduction, from one on: reference, incumbent, and the group, start, position, cost, value and reduced
   costs of the core. */
static int take_reduction(Arrays *arrays, int at, const Table *table, Reduction *out)
{
    const Py_buffer *view = arrays->view;
    int64_t n_groups = table->n_groups, n = table->n_choices;
    if (check_lengths(arrays, at, at + 2, n_groups) || check_lengths(arrays, at + 3, at + 3, n_groups + 1) ||
        check_lengths(arrays, at + 4, at + 7, n) || check_lengths(arrays, at + 5, at + 5, n * table->n_resources))
        return -1;
    out->reference = view[at].buf, out->incumbent = view[at + 1].buf;
    out->core = (Core){view[at + 2].buf, view[at + 3].buf, view[at + 4].buf, view[at + 5].buf,
                       view[at + 6].buf, view[at + 7].buf, 0, 0, table->n_resources, NULL};
    return 0;
}

PyObject *py_reduce(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    double price = 0.0;
    int64_t slack = 0;
    Reduction out = {.price = &price};
    /* value, cost, start, then those of the reduction, warm */
    if (take(&arrays, args, count, 14, "dqqQQQQQQDDo") || take_table(&arrays, 0, 1, 2, 1, &table) ||
        take_reduction(&arrays, 3, &table, &out) || take_warm(&arrays, 11, &table))
        return NULL;
    long long budget = PyLong_AsLongLong(args[12]), pairs_up_to = PyLong_AsLongLong(args[13]);
    if (!PyErr_Occurred() && (table.n_groups < 1 || pairs_up_to < 1))
        PyErr_SetString(PyExc_ValueError, "reduce takes at least one group");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    out.core.slack = &slack;
    PyThreadState *state = let_go(table.n_choices);
    int status = reduce_one_budget(&table, budget, arrays.view[11].buf, pairs_up_to, &out);
    take_back(state);
    release(&arrays);
    if (status != DONE)
        return PyErr_NoMemory();
    return Py_BuildValue("ddddLLL", price, out.gap, out.noise, out.unit, (long long)out.core.n_groups,
                         (long long)out.core.n_choices, (long long)slack);
}

PyObject *py_reduce_several(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    Reduction out = {0};
    /* value, cost, start, then those of the reduction, budget, which choices count, price, slack, warm */
    if (take(&arrays, args, count, 19, "dqqQQQQQQDDq?DQo"))
        return NULL;
    int64_t n_resources = length(&arrays, 11);
    if (take_table(&arrays, 0, 1, 2, n_resources, &table) || take_reduction(&arrays, 3, &table, &out) ||
        check_lengths(&arrays, 12, 12, table.n_choices) || check_lengths(&arrays, 13, 14, n_resources) ||
        take_warm(&arrays, 15, &table))
        return NULL;
    const Py_buffer *view = arrays.view;
    long long pairs_up_to = PyLong_AsLongLong(args[16]);
    double seconds = PyFloat_AsDouble(args[17]), grace = PyFloat_AsDouble(args[18]);
    if (!PyErr_Occurred() && (table.n_groups < 1 || pairs_up_to < 1))
        PyErr_SetString(PyExc_ValueError, "reduce takes at least one group");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    out.price = view[13].buf, out.core.slack = view[14].buf;
    PyThreadState *state;
    Asking asking = asking_for(seconds, &state), asking_late = asking_for(seconds + grace, &state);
    Poll poll = {ask, &asking, 0}, late = {ask, &asking_late, 0};
    state = PyEval_SaveThread();
    int status = reduce_several_budgets(&table, view[11].buf, view[12].buf, view[15].buf, pairs_up_to, &poll, &late, &out);
    PyEval_RestoreThread(state);
    release(&arrays);
    if (status != DONE)
        return ended(status);
    return Py_BuildValue("dddLLi", out.gap, out.noise, out.unit, (long long)out.core.n_groups,
                         (long long)out.core.n_choices, out.is_feasible);
}

static PyObject *searched(PyObject *const *args, Py_ssize_t count, int any_budgets,
                          int (*search_with)(const Core *, Search *, Poll *))
{
    Arrays arrays;
    Table table;
    /* value, cost, start, reduced, slack, price, changes and their number, gap */
    if (take(&arrays, args, count, 13, "dqqdqdQQD"))
        return NULL;
    const Py_buffer *view = arrays.view;
    int64_t n_resources = length(&arrays, 4);
    if (take_table(&arrays, 0, 1, 2, n_resources, &table) || check_lengths(&arrays, 3, 3, table.n_choices) ||
        check_lengths(&arrays, 5, 5, n_resources) || check_lengths(&arrays, 6, 6, table.n_groups) ||
        check_lengths(&arrays, 7, 8, 1))
        return NULL;
    long long max_states = PyLong_AsLongLong(args[9]);
    double least_gain = PyFloat_AsDouble(args[10]), least_total = PyFloat_AsDouble(args[11]);
    double seconds = PyFloat_AsDouble(args[12]);
    if (!PyErr_Occurred() && !any_budgets && n_resources != 1)
        PyErr_SetString(PyExc_ValueError, "search_core takes one budget");
    if (!PyErr_Occurred() && length(&arrays, 1) != n_resources * table.n_choices)
        PyErr_SetString(PyExc_ValueError, "a core has a cost for each budget and choice");
    if (PyErr_Occurred()) {
        release(&arrays);
        return NULL;
    }
    Core core = {NULL, view[2].buf, NULL, view[1].buf, view[0].buf, view[3].buf, table.n_groups, table.n_choices,
                 n_resources, view[4].buf};
    Search search = {view[5].buf, *(double *)view[8].buf, least_gain, least_total,
                     max_states < INT32_MAX ? max_states : INT32_MAX, view[6].buf, -1, 0};
    PyThreadState *state;
    Asking asking = asking_for(seconds, &state);
    Poll poll = {ask, &asking, 0};
    state = PyEval_SaveThread();
    int status = search_with(&core, &search, &poll);
    PyEval_RestoreThread(state);
    *(double *)view[8].buf = search.gap;
    *(int64_t *)view[7].buf = search.n_changes;
    release(&arrays);
    if (status == INTERRUPTED || status == NO_MEMORY)
        return ended(status);
    return Py_BuildValue("iL", status == DONE, (long long)search.kept);
}

PyObject *py_search(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return searched(args, count, 0, search_core);
}

PyObject *py_lists(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return searched(args, count, 1, search_lists);
}
