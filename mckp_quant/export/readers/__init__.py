"""Readers of artefacts: each module reads the formats and weights of one kind, without running anything in it.

They serve the exporters, which read back what they wrote, and `read_policy`.
"""
