"""Bounds on the value of every selection: dominance, hulls, prices, the Lagrangian bound and Farkas prices.

What is proved here goes into certificates, so each bound allows for its own rounding. No search comes in and no
selection is built; the room imports the problem, and `Answer` as a type.
"""
