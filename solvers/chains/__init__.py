"""The solver for chains: selections whose labels only fall, or only rise, along the groups.

Its table, bound and search are here and serve nothing else. Rules of other kinds are rows of the problem, or a room of
their own.
"""
