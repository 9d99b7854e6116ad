"""One reader a kind of file or object; each gives a raw table with the place of every cell.

A reader decides nothing about odd cells: that is for `handling`.
"""
