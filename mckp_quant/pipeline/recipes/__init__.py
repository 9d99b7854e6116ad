"""Recipes: all that a run is asked, in one file of TOML. Its keys, its reading and its writing; no PyTorch."""

from __future__ import annotations
