/* A clock that never goes back, in seconds. */
#ifndef MCKP_QUANT_CLOCK_H
#define MCKP_QUANT_CLOCK_H

#ifdef _WIN32
#include <windows.h>

static inline double clock_reading(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (double)ticks.QuadPart / (double)per_second.QuadPart;
}
#else
#include <time.h>

static inline double clock_reading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

#endif
