"""The inner loops of the solvers in C, where they were compiled: arrays in, arrays out, to the last bit as in NumPy.

A function that has a kernel asks `compiled` for it and goes on in NumPy where there is none. No other room comes in.
"""
