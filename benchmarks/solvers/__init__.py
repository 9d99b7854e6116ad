"""Solvers against each other: their time, memory and correctness on named problems.

The room holds the library of instances, the best value known of each, and the general solvers used without this
project's help. Networks do not come in: everything here runs without PyTorch.
"""
