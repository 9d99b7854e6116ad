"""From a problem to its core: the few choices that can still be part of a better selection, and a first good selection.

All exact methods start here. What searches the core is in `core_search` and `backends`, and does not come in.
"""
