/* What long kernels ask between their steps, and how they end. */
#ifndef MCKP_QUANT_ASKING_H
#define MCKP_QUANT_ASKING_H

#include "wrapping.h"

/* Asks the clock, and, not too often, Python whether the user has interrupted. */
typedef struct {
    double deadline, next;
    PyThreadState **state; /* of the thread, while it has let the GIL go */
} Asking;

int ask(void *context);
Asking asking_for(double seconds, PyThreadState **state);
PyObject *ended(int status);
int take_warm(Arrays *arrays, int at, const Table *table);

#endif
