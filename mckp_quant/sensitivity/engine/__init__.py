"""What estimators are made of: hooks on layers, contractions with rounding errors, replays, Hessian products.

Nothing here knows the name of an estimator.
"""
