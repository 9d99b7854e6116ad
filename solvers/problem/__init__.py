"""The problem as arrays that are checked once: values, costs, budgets, further rows, pairwise terms, and their files.

Whoever holds a `Problem` can rely on it, so every other room takes it as it is. Nothing comes in that solves or bounds;
this room imports the errors only.
"""
