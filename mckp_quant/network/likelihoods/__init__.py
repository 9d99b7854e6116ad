"""One likelihood a file, and the sum of several.

To add one, write its file and put it into `LIKELIHOODS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bernoulli import Bernoulli
from .categorical import Categorical
from .gaussian import Gaussian
from .several import Head, Several

if TYPE_CHECKING:
    from ..likelihood import OneHead

__all__ = ["LIKELIHOODS", "Bernoulli", "Categorical", "Gaussian", "Head", "Several"]

LIKELIHOODS: dict[str, OneHead] = {
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
}
