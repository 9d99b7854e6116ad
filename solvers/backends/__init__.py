"""The general solvers: what they are given, how they are asked, and one adapter each."""
