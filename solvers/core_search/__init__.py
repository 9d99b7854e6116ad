"""The searches of the core that reduction leaves: dynamic programming, state lists, pairs of half selections, in turns.

They know a core, a price and a gap, and return positions in the core. Options, names and the protocol of solvers stay
in `methods`; the only general solver used here is CP-SAT.
"""
