"""Policies of other tools, each chosen in an environment of its own, beside those of mckp-quant."""
