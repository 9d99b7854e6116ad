"""Estimators of sensitivity against each other: what they cost, what memory they take, and how well they rank.

Other projects' estimators are called only here, each as its own users call it. What a policy chosen from an estimate is
worth belongs to `benchmarks.policies`.
"""
