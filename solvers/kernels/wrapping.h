/* The kernels as Python calls them: `asking.c` and `batches.c` hold those that ask the clock, `wrapping.c` the others. */
#ifndef MCKP_QUANT_WRAPPING_H
#define MCKP_QUANT_WRAPPING_H

#include "arrays.h"

typedef PyObject *Wrapper(PyObject *module, PyObject *const *args, Py_ssize_t count);

Wrapper py_reduce, py_reduce_several, py_search, py_lists, py_solve, py_solve_draws, py_merge;
Wrapper py_cheapest, py_whole_unit, py_deciding, py_measure, py_outweighed, py_chosen_total, py_total_below;

#endif
