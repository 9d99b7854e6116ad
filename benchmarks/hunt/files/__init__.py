"""One valid file of each kind with the reader that takes it, and what damages it.

`documents` and `tools` need no optional package, `artefacts` those of the toolchains, and `runs` runs a network.
"""
