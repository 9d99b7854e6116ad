"""How much memory measuring takes, counted tensor by tensor on a copy of the network that has shapes only."""

from __future__ import annotations
