"""The names that a recipe knows without PyTorch are those that there are."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import mckp_quant
from mckp_quant.cli.networks import DTYPES as OF_COMMANDS
from mckp_quant.network import LIKELIHOODS as OF_NETWORKS
from mckp_quant.pipeline.recipes.keys import DTYPES, KEYS, LIKELIHOODS, METHODS, RANGES, ROUNDERS
from mckp_quant.rounding import ROUNDERS as OF_ROUNDING
from mckp_quant.rounding.calibration import RULES
from mckp_quant.sensitivity import ESTIMATORS


def test_names_are_those_of_their_rooms() -> None:
    assert set(ROUNDERS) == {"auto", *OF_ROUNDING}
    assert set(RANGES) == set(RULES)
    assert set(LIKELIHOODS) == set(OF_NETWORKS)
    assert set(DTYPES) == set(OF_COMMANDS)
    # One that has an option without a default cannot be named.
    assert set(METHODS) == {name for name, each in ESTIMATORS.items() if _plain(each)}


def _plain(estimator: type) -> bool:
    missing = dataclasses.MISSING
    return not any(each.default is each.default_factory is missing for each in dataclasses.fields(estimator))


def test_the_page_has_every_key_with_its_default_and_what_it_says() -> None:
    page = (Path(mckp_quant.__file__).parents[1] / "docs" / "running.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `(?!request)[\w.]+` \| ", line)]
    keys = [line for line in rows if not re.match(r"\| `[a-z]+` \| [a-z]", line) or line.startswith("| `seed`")]
    wanted = []
    for key in KEYS:
        default = "" if key.default is None or key.default == [] else f"`{json.dumps(key.default)}`"
        wanted.append(f"| `{key.path}` | {default} | {key.says} |")
    assert [line for line in wanted if line not in page] == []
    assert {line for line in keys if "." in line.split("`")[1]} <= set(wanted)
