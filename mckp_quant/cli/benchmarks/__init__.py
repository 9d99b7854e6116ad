"""The command that sets solvers side by side on many problems, which needs neither torch nor a network: bench."""
