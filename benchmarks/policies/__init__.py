"""Policies against each other on real networks: what each way to choose one predicts, and what held-out data say.

`networks` loads the trained networks and their data, for `benchmarks.sensitivity` too. Held-out data judge policies and
play no part in choosing one. How fast a solver is, or how well an estimator ranks, is measured in the other rooms.
"""
