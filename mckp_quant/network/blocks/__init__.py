"""Blocks of a network that run one after another: found by structure, tried by running, and recomputed one by one."""

from __future__ import annotations
