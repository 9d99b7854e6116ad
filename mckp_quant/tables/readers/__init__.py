"""Readers of tables: each module reads one kind of file or object, and gives a raw table with the place of every cell.

A reader decides nothing about odd cells: that is for `handling`.
"""
