"""The commands of recipes: `recipe` writes a first one, `run` goes from the network to a checked result."""

from __future__ import annotations
