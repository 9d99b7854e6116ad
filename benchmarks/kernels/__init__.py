"""What the compiled kernels of the solvers gain over NumPy."""
