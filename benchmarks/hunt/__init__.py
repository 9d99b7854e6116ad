"""What hunts for faults: damaged files, random moments to be killed at, changed code, growing memory, other orders.

Every module with a `main` is a command. Their short versions are among the tests; `make hunt` runs the long ones.
"""
