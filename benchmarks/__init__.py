"""What measures the figures in docs: each module with a `main` is a command, `python -m benchmarks.ROOM.MODULE`.

The three rooms hold what is compared: solvers, estimators of sensitivity, and ways to choose a policy. At this level
stay only the helpers that all rooms share. Nothing in `mckp_quant` may import from here, and no test needs a long run.
"""
