"""Solvers of our own for plain problems, one a file: exact, enumerate, greedy, relax and evolve.

Each is a frozen dataclass that keeps the protocol `Solver`. What several of them share belongs into `bounds`, `core`
or `core_search`; the front door is not imported.
"""
