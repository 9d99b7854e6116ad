/* The Python module: takes arrays through the buffer protocol, checks them, and calls the kernels without the GIL. */
#include "arrays.h"
#include "clock.h"
#include <stdlib.h>

/* Asks the clock, and, not too often, Python whether the user has interrupted. */
typedef struct {
    double deadline, next;
    PyThreadState *state;
} Asking;

static int ask(void *context)
{
    Asking *asking = context;
    double now = clock_reading();
    if (now > asking->deadline)
        return STOPPED;
    if (now < asking->next)
        return DONE;
    asking->next = now + 0.05;
    PyEval_RestoreThread(asking->state);
    int raised = PyErr_CheckSignals();
    asking->state = PyEval_SaveThread();
    return raised ? INTERRUPTED : DONE;
}

static PyObject *py_reduce(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, cost, start, reference, incumbent, group, start, position, cost, value, reduced of the core, warm */
    if (check_count(count, 14) || take(&arrays, args, args[11] == Py_None ? "dqqQQQQQQDD" : "dqqQQQQQQDDq"))
        return NULL;
    int64_t n = length(&arrays, 0), n_groups = length(&arrays, 2) - 1;
    long long budget = PyLong_AsLongLong(args[12]), pairs_up_to = PyLong_AsLongLong(args[13]);
    if (PyErr_Occurred() || check_start(&arrays, 2, n) || check_lengths(&arrays, 1, 1, n) ||
        check_lengths(&arrays, 3, 5, n_groups) || check_lengths(&arrays, 6, 6, n_groups + 1) ||
        check_lengths(&arrays, 7, 10, n)) {
        release(&arrays);
        return NULL;
    }
    const Py_buffer *view = arrays.view;
    Table table = {n_groups, n, view[2].buf, view[1].buf, view[0].buf};
    const int64_t *warm = arrays.count > 11 ? view[11].buf : NULL;
    int good = n_groups > 0 && pairs_up_to > 0 && (!warm || length(&arrays, 11) == n_groups);
    for (int64_t group = 0; good && warm && group < n_groups; group++)
        good = warm[group] >= table.start[group] && warm[group] < table.start[group + 1];
    if (!good) {
        refuse(&arrays, "reduce takes at least one group, and a warm start with one position in each");
        return NULL;
    }
    Reduction out = {.reference = view[3].buf, .incumbent = view[4].buf};
    out.core = (Core){view[5].buf, view[6].buf, view[7].buf, view[8].buf, view[9].buf, view[10].buf, 0, 0, 0};
    PyThreadState *state = n > WORTH_RELEASING ? PyEval_SaveThread() : NULL;
    int status = reduce_one_budget(&table, budget, warm, pairs_up_to, &out);
    if (state)
        PyEval_RestoreThread(state);
    release(&arrays);
    if (status != DONE)
        return PyErr_NoMemory();
    return Py_BuildValue("ddddLLL", out.price, out.gap, out.noise, out.unit, (long long)out.core.n_groups,
                         (long long)out.core.n_choices, (long long)out.core.slack);
}

static PyObject *searched(PyObject *const *args, Py_ssize_t count, int (*search_with)(const Core *, Search *, Poll *))
{
    Arrays arrays;
    /* start, cost, value, reduced, changes and their number, gap */
    if (check_count(count, 13) || take(&arrays, args, "qqddQQD"))
        return NULL;
    int64_t n = length(&arrays, 1), n_groups = length(&arrays, 0) - 1;
    long long slack = PyLong_AsLongLong(args[7]), max_states = PyLong_AsLongLong(args[8]);
    double price = PyFloat_AsDouble(args[9]), least_gain = PyFloat_AsDouble(args[10]);
    double least_total = PyFloat_AsDouble(args[11]), deadline = PyFloat_AsDouble(args[12]);
    if (PyErr_Occurred() || check_start(&arrays, 0, n) || check_lengths(&arrays, 2, 3, n) ||
        check_lengths(&arrays, 4, 4, n_groups) || check_lengths(&arrays, 5, 6, 1)) {
        release(&arrays);
        return NULL;
    }
    const Py_buffer *view = arrays.view;
    Core core = {NULL, view[0].buf, NULL, view[1].buf, view[2].buf, view[3].buf, n_groups, n, slack};
    Search search = {price, *(double *)view[6].buf, least_gain, least_total,
                     max_states < INT32_MAX ? max_states : INT32_MAX, view[4].buf, -1, 0};
    Asking asking = {clock_reading() + deadline, 0.0, NULL};
    asking.next = clock_reading() + 0.05;
    Poll poll = {ask, &asking, 0};
    asking.state = PyEval_SaveThread();
    int status = search_with(&core, &search, &poll);
    PyEval_RestoreThread(asking.state);
    *(double *)view[6].buf = search.gap;
    *(int64_t *)view[5].buf = search.n_changes;
    release(&arrays);
    if (status == INTERRUPTED)
        return NULL;
    if (status == NO_MEMORY)
        return PyErr_NoMemory();
    return Py_BuildValue("iL", status == DONE, (long long)search.kept);
}

static PyObject *py_search(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return searched(args, count, search_core);
}

static PyObject *py_lists(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return searched(args, count, search_lists);
}

static PyObject *py_cheapest(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, above, price, start, position, near, reference, used, fits */
    if (check_count(count, 9) || take(&arrays, args, args[8] == Py_None ? "dqdqQQQQ" : "dqdqQQQQ?"))
        return NULL;
    int64_t n = length(&arrays, 0), n_groups = length(&arrays, 3) - 1, n_resources = length(&arrays, 2);
    if (check_start(&arrays, 3, n) || check_lengths(&arrays, 4, 4, n_groups) || check_lengths(&arrays, 5, 6, n) ||
        check_lengths(&arrays, 7, 7, n_resources) || (arrays.count > 8 && check_lengths(&arrays, 8, 8, n)))
        return NULL;
    if (n_resources < 1 || length(&arrays, 1) / n_resources < n) {
        refuse(&arrays, "cheapest takes costs above the least for every price");
        return NULL;
    }
    const Py_buffer *view = arrays.view;
    Table table = {n_groups, n, view[3].buf, NULL, view[0].buf};
    double *scratch = room_for(n, sizeof(double));
    int64_t near_tied = 0;
    if (scratch) {
        Cheapest found = {view[4].buf, view[5].buf, view[6].buf, view[7].buf};
        const uint8_t *fits = arrays.count > 8 ? view[8].buf : NULL;
        PyThreadState *state = n > WORTH_RELEASING ? PyEval_SaveThread() : NULL;
        near_tied = cheapest(&table, view[1].buf, fits, view[2].buf, n_resources, &found, scratch);
        if (state)
            PyEval_RestoreThread(state);
    }
    release(&arrays);
    if (!scratch)
        return PyErr_NoMemory();
    free(scratch);
    return PyLong_FromLongLong(near_tied);
}

static PyObject *py_whole_unit(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, fits, start */
    if (check_count(count, 3) || take(&arrays, args, "d?q"))
        return NULL;
    int64_t n = length(&arrays, 0);
    if (check_start(&arrays, 2, n) || check_lengths(&arrays, 1, 1, n))
        return NULL;
    Table table = {length(&arrays, 2) - 1, n, arrays.view[2].buf, NULL, arrays.view[0].buf};
    double *above = room_for(n, sizeof(double)), unit = 0.0;
    if (above) {
        PyThreadState *state = n > WORTH_RELEASING ? PyEval_SaveThread() : NULL;
        unit = whole_unit(&table, arrays.view[1].buf, above);
        if (state)
            PyEval_RestoreThread(state);
    }
    release(&arrays);
    if (!above)
        return PyErr_NoMemory();
    free(above);
    return PyFloat_FromDouble(unit);
}

/* Reduction and first search at once; the numbers go out through arrays, since an interrupt leaves nothing else. */
static PyObject *py_solve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, cost, start, choice, figures, counts, warm */
    if (check_count(count, 13) || take(&arrays, args, args[6] == Py_None ? "dqqQDQ" : "dqqQDQq"))
        return NULL;
    const Py_buffer *view = arrays.view;
    Table table = {length(&arrays, 2) - 1, length(&arrays, 0), view[2].buf, view[1].buf, view[0].buf};
    long long budget = PyLong_AsLongLong(args[7]), pairs_up_to = PyLong_AsLongLong(args[8]);
    Limits limits = {PyLong_AsLongLong(args[9]), PyLong_AsLongLong(args[10]), PyLong_AsLongLong(args[11])};
    double seconds = PyFloat_AsDouble(args[12]);
    if (PyErr_Occurred() || check_start(&arrays, 2, table.n_choices) || check_lengths(&arrays, 1, 1, table.n_choices) ||
        check_lengths(&arrays, 3, 3, table.n_groups) || check_lengths(&arrays, 4, 5, 3) ||
        (arrays.count > 6 && (check_lengths(&arrays, 6, 6, table.n_groups) || check_selection(&arrays, 6, &table)))) {
        release(&arrays);
        return NULL;
    }
    if (table.n_groups < 1 || pairs_up_to < 1) {
        refuse(&arrays, "solve takes at least one group");
        return NULL;
    }
    Asking asking = {clock_reading() + seconds, clock_reading() + 0.05, NULL};
    Poll poll = {ask, &asking, 0};
    asking.state = PyEval_SaveThread();
    int status = solve_one_budget(&table, budget, arrays.count > 6 ? view[6].buf : NULL, pairs_up_to, limits, &poll,
                                  view[3].buf, view[4].buf, view[5].buf);
    PyEval_RestoreThread(asking.state);
    release(&arrays);
    if (status == INTERRUPTED)
        return NULL;
    if (status == NO_MEMORY)
        return PyErr_NoMemory();
    return PyBool_FromLong(status == DONE);
}

static PyObject *py_deciding(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, start, choice, position, near, terms */
    if (check_count(count, 6) || take(&arrays, args, "dqqqqD"))
        return NULL;
    const Py_buffer *view = arrays.view;
    Table table = {length(&arrays, 1) - 1, length(&arrays, 0), view[1].buf, NULL, view[0].buf};
    if (check_start(&arrays, 1, table.n_choices) || check_lengths(&arrays, 2, 3, table.n_groups) ||
        check_selection(&arrays, 2, &table) || check_selection(&arrays, 3, &table) ||
        check_lengths(&arrays, 5, 5, 2 * table.n_groups))
        return NULL;
    const int64_t *near_tied = view[4].buf;
    for (int64_t i = 0; i < length(&arrays, 4); i++)
        if (near_tied[i] < 0 || near_tied[i] >= table.n_choices) {
            refuse(&arrays, "what is nearly tied has a position among the choices");
            return NULL;
        }
    int64_t n_terms;
    double total = deciding(&table, view[2].buf, view[3].buf, near_tied, length(&arrays, 4), view[5].buf, &n_terms);
    release(&arrays);
    return Py_BuildValue("dL", total, (long long)n_terms);
}

static PyObject *py_measure(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* cost, start, above, totals and divisors and largest */
    if (check_count(count, 4) || take(&arrays, args, "qqQQ"))
        return NULL;
    int64_t n_resources = length(&arrays, 3) / 3, n_groups = length(&arrays, 1) - 1;
    int64_t n = n_resources ? length(&arrays, 0) / n_resources : 0;
    if (check_start(&arrays, 1, n) || check_lengths(&arrays, 2, 2, n * n_resources))
        return NULL;
    const Py_buffer *view = arrays.view;
    PyThreadState *state = n > WORTH_RELEASING ? PyEval_SaveThread() : NULL;
    for (int64_t i = 0; i < n_resources; i++)
        measure(view[1].buf, n_groups, (int64_t *)view[0].buf + i * n, (int64_t *)view[2].buf + i * n,
                (int64_t *)view[3].buf + i, (int64_t *)view[3].buf + n_resources + i,
                (int64_t *)view[3].buf + 2 * n_resources + i);
    if (state)
        PyEval_RestoreThread(state);
    release(&arrays);
    Py_RETURN_NONE;
}

static PyObject *py_outweighed(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    double largest;
    /* value, start */
    if (check_count(count, 2) || take(&arrays, args, "dq") || check_start(&arrays, 1, length(&arrays, 0)))
        return NULL;
    Table table = {length(&arrays, 1) - 1, length(&arrays, 0), arrays.view[1].buf, NULL, arrays.view[0].buf};
    int found = outweighed(&table, &largest);
    release(&arrays);
    return Py_BuildValue("id", found, largest);
}

#define METHOD(name, function, text) {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, text}

static PyMethodDef methods[] = {
    METHOD("reduce_one_budget", py_reduce, "Reduce a problem with one budget to its core."),
    METHOD("solve_one_budget", py_solve, "Reduce a problem with one budget and search its core."),
    METHOD("search_core", py_search, "Search the core of a problem with one budget."),
    METHOD("search_lists", py_lists, "Search the core of a problem with one budget by state lists."),
    METHOD("cheapest", py_cheapest, "The cheapest selection at a price, and what is nearly tied with it."),
    METHOD("whole_unit", py_whole_unit, "The unit of which all differences of values are whole multiples."),
    METHOD("deciding", py_deciding, "By how much values differ where a selection is not the cheapest at a price."),
    METHOD("measure", py_measure, "Costs above the least of their group, their totals and common divisors."),
    METHOD("outweighed", py_outweighed, "Whether what a group has in common outweighs its differences, and how large."),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_compiled", "Compiled kernels of the solvers.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
