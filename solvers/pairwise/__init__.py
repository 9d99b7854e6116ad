"""The solver for problems whose value has terms for pairs of choices: bound, depth-first search, and exchanges.

Only `solver` is used from outside. The bound that certificates recheck is in `bounds.lagrangian`, because a
certificate must not depend on the solver that made it.
"""
