/* The Python module: what it offers. */
#include "wrapping.h"

#define METHOD(name, function, text) {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, text}

static PyMethodDef methods[] = {
    METHOD("reduce_one_budget", py_reduce, "Reduce a problem with one budget to its core."),
    METHOD("reduce_several_budgets", py_reduce_several, "Reduce a problem with several budgets to its core."),
    METHOD("solve_one_budget", py_solve, "Reduce a problem with one budget and search its core."),
    METHOD("solve_draws", py_solve_draws, "Solve a problem with one budget under many values."),
    METHOD("search_core", py_search, "Search the core of a problem with one budget."),
    METHOD("search_lists", py_lists, "Search the core of a problem by state lists."),
    METHOD("merge", py_merge, "Every state of a list with every choice of one more group, less what is dominated."),
    METHOD("cheapest", py_cheapest, "The cheapest selection at a price, and what is nearly tied with it."),
    METHOD("whole_unit", py_whole_unit, "The unit of which all differences of values are whole multiples."),
    METHOD("deciding", py_deciding, "By how much values differ where a selection is not the cheapest at a price."),
    METHOD("measure", py_measure, "Costs above the least of their group, their totals and common divisors."),
    METHOD("outweighed", py_outweighed, "Whether what a group has in common outweighs its differences, and how large."),
    METHOD("chosen_total", py_chosen_total, "The sum of chosen values, rounded once; nan where one is not finite."),
    METHOD("total_below", py_total_below, "The sum of chosen values and others, rounded down."),
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
