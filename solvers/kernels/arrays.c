/* The arrays of a call from Python: taken through the buffer protocol, checked, and given back. */
#include "arrays.h"

void release(Arrays *arrays)
{
    while (arrays->count)
        PyBuffer_Release(&arrays->view[--arrays->count]); /* nothing for None */
}

static int is_of_kind(const Py_buffer *view, char kind)
{
    const char *format = view->format ? view->format : "B";
    if (kind == '?')
        return view->itemsize == 1 && (*format == '?' || *format == 'B' || *format == 'b');
    if (kind == 'd')
        return view->itemsize == 8 && *format == 'd';
    return view->itemsize == 8 && (*format == 'l' || *format == 'q');
}

/* Takes arrays, one letter each: d float64, q int64, ? bool; capitals are written to, and None may stand for o (int64)
   or b (bool), which are then empty. How many arguments there are in all is checked as well. */
int take(Arrays *arrays, PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted, const char *kinds)
{
    arrays->count = 0;
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "a kernel was given %zd arguments instead of %zd", given, wanted);
        return -1;
    }
    for (int at = 0; kinds[at]; at++) {
        int writable = kinds[at] == 'D' || kinds[at] == 'Q', optional = kinds[at] == 'o' || kinds[at] == 'b';
        char kind = kinds[at] == 'D' || kinds[at] == 'd' ? 'd' : kinds[at] == '?' || kinds[at] == 'b' ? '?' : 'q';
        Py_buffer *view = &arrays->view[at];
        *view = (Py_buffer){.itemsize = 1};
        if (optional && args[at] == Py_None) {
            arrays->count++;
            continue;
        }
        if (PyObject_GetBuffer(args[at], view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0))) {
            release(arrays);
            return -1;
        }
        arrays->count++;
        if (!is_of_kind(view, kind) || (view->len && (uintptr_t)view->buf % (size_t)view->itemsize)) {
            PyErr_Format(PyExc_TypeError, "array %d of a kernel must be aligned and of the type %c, not %s", at, kind,
                         view->format ? view->format : "B");
            release(arrays);
            return -1;
        }
    }
    return 0;
}

int64_t length(const Arrays *arrays, int at) { return (int64_t)(arrays->view[at].len / arrays->view[at].itemsize); }

int refuse(Arrays *arrays, const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    release(arrays);
    return -1;
}

/* The groups must cover the choices, none of them empty; a core may have no group at all. */
int check_start(Arrays *arrays, int at, int64_t n_choices)
{
    const int64_t *start = arrays->view[at].buf;
    int64_t count = length(arrays, at);
    if (count < 1 || start[0] != 0 || start[count - 1] != n_choices)
        return refuse(arrays, "the start of groups must go from 0 to the number of choices");
    for (int64_t i = 1; i < count; i++)
        if (start[i] <= start[i - 1])
            return refuse(arrays, "the start of groups must rise");
    return 0;
}

int check_lengths(Arrays *arrays, int first, int last, int64_t least)
{
    for (int at = first; at <= last; at++)
        if (length(arrays, at) < least)
            return refuse(arrays, "an array of a kernel is too short");
    return 0;
}

/* Positions must lie among the choices, and those of a selection in their group. */
int check_selection(Arrays *arrays, int at, const Table *table)
{
    const int64_t *position = arrays->view[at].buf;
    for (int64_t group = 0; group < table->n_groups; group++)
        if (position[group] < table->start[group] || position[group] >= table->start[group + 1])
            return refuse(arrays, "a selection has one position in each group");
    return 0;
}

/* The groups and choices of a problem; without costs where `cost` is negative. */
int take_table(Arrays *arrays, int value, int cost, int start, int64_t n_resources, Table *table)
{
    const Py_buffer *view = arrays->view;
    int64_t n = length(arrays, value);
    *table = (Table){length(arrays, start) - 1, n, view[start].buf, cost < 0 ? NULL : view[cost].buf, view[value].buf,
                     n_resources};
    if (check_start(arrays, start, n))
        return -1;
    if (cost >= 0 && (n_resources < 1 || length(arrays, cost) / n_resources < n))
        return refuse(arrays, "a kernel takes a row of costs for each budget");
    return 0;
}

/* Lets other threads of Python run during work that is worth it; to be ended by `take_back`. */
PyThreadState *let_go(int64_t work) { return work > WORTH_RELEASING ? PyEval_SaveThread() : NULL; }

void take_back(PyThreadState *state)
{
    if (state)
        PyEval_RestoreThread(state);
}
