"""General solvers: the model that they are given, how they are called and interrupted, and one adapter for each.

An adapter states a `BackendModel` in the terms of its package, which it imports inside a function. Nothing of a
package's own types leaves its adapter, and no algorithm of ours comes in.
"""
