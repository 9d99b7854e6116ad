/* Kernels as Python calls them that take no time worth asking about. */
#include "wrapping.h"

#include <stdlib.h>

PyObject *py_cheapest(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    /* value, above, price, start, position, near, reference, used, fits */
    if (take(&arrays, args, count, 9, "dqdqQQQQb"))
        return NULL;
    int64_t n_resources = length(&arrays, 2);
    if (take_table(&arrays, 0, 1, 3, n_resources, &table) || check_lengths(&arrays, 4, 4, table.n_groups) ||
        check_lengths(&arrays, 5, 6, table.n_choices) || check_lengths(&arrays, 7, 7, n_resources) ||
        (arrays.view[8].obj && check_lengths(&arrays, 8, 8, table.n_choices)))
        return NULL;
    const Py_buffer *view = arrays.view;
    double *scratch = room_for(table.n_choices, sizeof(double));
    int64_t near_tied = 0;
    if (scratch) {
        Cheapest found = {view[4].buf, view[5].buf, view[6].buf, view[7].buf};
        PyThreadState *state = let_go(table.n_choices);
        near_tied = cheapest(&table, view[1].buf, view[8].buf, view[2].buf, n_resources, &found, scratch);
        take_back(state);
    }
    release(&arrays);
    if (!scratch)
        return PyErr_NoMemory();
    free(scratch);
    return PyLong_FromLongLong(near_tied);
}

PyObject *py_whole_unit(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    /* value, fits, start */
    if (take(&arrays, args, count, 3, "d?q") || take_table(&arrays, 0, -1, 2, 0, &table) ||
        check_lengths(&arrays, 1, 1, table.n_choices))
        return NULL;
    double *above = room_for(table.n_choices, sizeof(double)), unit = 0.0;
    if (above) {
        PyThreadState *state = let_go(table.n_choices);
        unit = whole_unit(&table, arrays.view[1].buf, above);
        take_back(state);
    }
    release(&arrays);
    if (!above)
        return PyErr_NoMemory();
    free(above);
    return PyFloat_FromDouble(unit);
}

PyObject *py_deciding(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    /* value, start, choice, position, near, terms */
    if (take(&arrays, args, count, 6, "dqqqqD") || take_table(&arrays, 0, -1, 1, 0, &table) ||
        check_lengths(&arrays, 2, 3, table.n_groups) || check_selection(&arrays, 2, &table) ||
        check_selection(&arrays, 3, &table) || check_lengths(&arrays, 5, 5, 2 * table.n_groups))
        return NULL;
    const Py_buffer *view = arrays.view;
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

PyObject *py_measure(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* cost, start, above, totals and divisors and largest */
    if (take(&arrays, args, count, 4, "qqQQ"))
        return NULL;
    int64_t n_resources = length(&arrays, 3) / 3, n_groups = length(&arrays, 1) - 1;
    int64_t n = n_resources ? length(&arrays, 0) / n_resources : 0;
    if (check_start(&arrays, 1, n) || check_lengths(&arrays, 2, 2, n * n_resources))
        return NULL;
    const Py_buffer *view = arrays.view;
    PyThreadState *state = let_go(n);
    for (int64_t i = 0; i < n_resources; i++)
        measure(view[1].buf, n_groups, (int64_t *)view[0].buf + i * n, (int64_t *)view[2].buf + i * n,
                (int64_t *)view[3].buf + i, (int64_t *)view[3].buf + n_resources + i,
                (int64_t *)view[3].buf + 2 * n_resources + i);
    take_back(state);
    release(&arrays);
    Py_RETURN_NONE;
}

PyObject *py_outweighed(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    Table table;
    double largest;
    /* value, start */
    if (take(&arrays, args, count, 2, "dq") || take_table(&arrays, 0, -1, 1, 0, &table))
        return NULL;
    int found = outweighed(&table, &largest);
    release(&arrays);
    return Py_BuildValue("id", found, largest);
}

/* Whether the second array of a call has positions in the first. */
static int check_positions(Arrays *arrays)
{
    const int64_t *position = arrays->view[1].buf, n = length(arrays, 0);
    for (int64_t i = 0; i < length(arrays, 1); i++)
        if (position[i] < 0 || position[i] >= n)
            return refuse(arrays, "what is chosen has positions among the values");
    return 0;
}

PyObject *py_chosen_total(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, choice */
    if (take(&arrays, args, count, 2, "dq") || check_positions(&arrays))
        return NULL;
    PyThreadState *state = let_go(length(&arrays, 1));
    double total = chosen_total(arrays.view[0].buf, arrays.view[1].buf, length(&arrays, 1));
    take_back(state);
    release(&arrays);
    return PyFloat_FromDouble(total);
}

PyObject *py_total_below(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Arrays arrays;
    /* value, choice, more */
    if (take(&arrays, args, count, 3, "dqd") || check_positions(&arrays))
        return NULL;
    const Py_buffer *view = arrays.view;
    PyThreadState *state = let_go(length(&arrays, 1));
    double total = total_below(view[0].buf, view[1].buf, length(&arrays, 1), view[2].buf, length(&arrays, 2));
    take_back(state);
    release(&arrays);
    return PyFloat_FromDouble(total);
}
