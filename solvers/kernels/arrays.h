/* The arrays of a call from Python: taken through the buffer protocol, checked, and given back. */
#ifndef MCKP_QUANT_ARRAYS_H
#define MCKP_QUANT_ARRAYS_H

#include <pyconfig.h> /* says whether this Python has a GIL; without one there is no limited API */
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"

enum { MOST_ARRAYS = 16, WORTH_RELEASING = 1 << 12 };

/* The arrays of one call. */
typedef struct {
    Py_buffer view[MOST_ARRAYS];
    int count;
} Arrays;

void release(Arrays *arrays);
int take(Arrays *arrays, PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted, const char *kinds);
int64_t length(const Arrays *arrays, int at);
int refuse(Arrays *arrays, const char *why);
int check_start(Arrays *arrays, int at, int64_t n_choices);
int check_lengths(Arrays *arrays, int first, int last, int64_t least);
int check_selection(Arrays *arrays, int at, const Table *table);
int take_table(Arrays *arrays, int value, int cost, int start, int64_t n_resources, Table *table);
PyThreadState *let_go(int64_t work);
void take_back(PyThreadState *state);

#endif
