"""Exporters: each module holds one target, with what it refuses, how it writes, and how the artefact is read back.

What all of them share is in `contract`, `exporting` and `sources`.
"""
