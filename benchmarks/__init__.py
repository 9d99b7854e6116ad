"""What measures the figures in docs: every module with a `main` is a command, to be run with ``python -m``.

Its three rooms compare solvers, estimators of sensitivity, and ways to choose a policy. Only helpers that all rooms
share stand at this level. `mckp_quant` imports nothing from here.
"""
