"""Every key of a recipe: what it says, what it may be, and what holds where it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.amounts import bytes_of
from ...common.checks import (
    check_count,
    check_fraction,
    check_least,
    check_positive,
    check_seconds,
    check_seed,
)
from ...errors import InvalidInput, unknown
from ...export.exporting import EXPORTERS
from ...formats.format import as_formats
from ...formats.menus import AUTO
from ...solvers import available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TOP = ""  # the section of keys that stand before all sections
ROUNDERS = ("auto", "nearest", "gptq", "learned", "importance")
METHODS = (
    *("gauss_newton", "measured_kl", "measured_loss", "hessian_form", "empirical_fisher", "first_order"),
    *("hutchinson", "hutchinson_blockwise", "hutch_plus_plus", "weight_mse", "sqnr"),
)
RANGES = ("minmax", "percentile", "mse")
LIKELIHOODS = ("categorical", "bernoulli", "gaussian")
DTYPES = ("float32", "float64", "bfloat16", "float16")
BATCHES = "package.module:function, path/to/file.py:function, or an .npz with inputs, targets"


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes
    ----------
    section
        Where it stands; empty for the top, ``data.NAME`` for any name.
    name
        The key.
    kind
        The type in JSON Schema of its value.
    default
        What holds where it is left out; None where nothing does.
    says
        What it says and what it may be, as a person reads it.
    check
        Refuses, under a name, a value that cannot be used; raises InvalidInput.
    needed
        Whether a recipe has to have it.
    """

    section: str
    name: str
    kind: str
    default: Any
    says: str
    check: Callable[[str, Any], object]
    needed: bool = False

    @property
    def path(self) -> str:
        """The key with its section, as errors and the page of keys name it."""
        return f"{self.section}.{self.name}" if self.section else self.name


def _text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} is {value!r}: it must be text, which is not empty")


def _one_of(known: Iterable[str]) -> Callable[[str, Any], object]:
    names = tuple(known)

    def check(name: str, value: object) -> None:
        _text(name, value)
        if value not in names:
            raise InvalidInput(f"{name}: {unknown(name.rpartition('.')[2], value, names)}")

    return check


def _formats(name: str, value: object) -> None:
    _text(name, value)
    if value != AUTO:
        try:
            as_formats(str(value))
        except InvalidInput as error:
            raise InvalidInput(f"{name} is {value!r}: {error}") from error


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{name} is {value!r}: it must be a whole number")


def _count(name: str, value: object) -> None:
    check_count(name, value, 1)


def _count_or_none(name: str, value: object) -> None:
    check_count(name, value, 0)


def _amount(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidInput(f"{name} is {value!r}: it must be a number of bytes, such as '500MB'")
    bytes_of(name, value)


def _least_0(name: str, value: object) -> None:
    check_least(name, value, 0)


def _seed(name: str, value: object) -> None:
    _renamed("seed", name, lambda: check_seed(value))


def _seconds(name: str, value: object) -> None:
    _renamed("seconds", name, lambda: check_seconds(value))


def _renamed(said: str, name: str, check: Callable[[], None]) -> None:
    """Let a check that has its own name for what it checks say the name of the key."""
    try:
        check()
    except InvalidInput as error:
        raise InvalidInput(name + str(error).removeprefix(said)) from error


def _solver(name: str, value: object) -> None:
    _one_of(("auto", *available()))(name, value)


def _heads(name: str, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) and "=" in each for each in value):
        raise InvalidInput(f"{name} is {value!r}: it must be a list of heads, such as ['boxes=gaussian,weight=0.5']")


def _targets(name: str, value: object) -> None:
    if not isinstance(value, list):
        raise InvalidInput(f"{name} is {value!r}: it must be a list of targets, such as ['torchao']")
    for each in value:
        if each not in EXPORTERS:
            raise InvalidInput(f"{name}: {unknown('export target', each, EXPORTERS)}")


_DATA = (
    ("batches", "string", None, f"The batches: {BATCHES}.", _text),
    ("text", "string", None, "For hf:FOLDER in the place of batches: a text file, UTF-8.", _text),
    ("batch_size", "integer", None, "Samples in a batch, for an .npz (32) or a text (1 window).", _count),
    ("context", "integer", None, "Tokens in a window of the text; 512 if the model takes as many.", _count),
)

KEYS: tuple[Key, ...] = (
    Key(TOP, "seed", "integer", 0, "Seed of all that is drawn: the same seed gives the same files.", _seed),
    Key(TOP, "max_batches", "integer", None, "Read at most so many batches of every data set; by default all.", _count),
    Key(
        TOP,
        "memory_limit",
        "string",
        None,
        "Bytes in memory, such as '500MB', of sums of inputs while rounding, and of all that measuring takes.",
        _amount,
    ),
    Key(
        "network",
        "model",
        "string",
        None,
        "The network: package.module:function, path/to/file.py:function, or hf:FOLDER for a local checkpoint.",
        _text,
        needed=True,
    ),
    Key("network", "device", "string", None, "Where it runs, such as cuda; by default where it was made.", _text),
    Key("network", "dtype", "string", None, f"{', '.join(DTYPES)}; by default as it was made.", _one_of(DTYPES)),
    Key(
        "outputs",
        "likelihood",
        "string",
        "categorical",
        "What the outputs are: categorical for class logits, bernoulli for one logit a label, gaussian for numbers.",
        _one_of(LIKELIHOODS),
    ),
    Key(
        "outputs",
        "class_dim",
        "integer",
        None,
        "Where dense outputs, (N, C, H, W), have their classes: 1 there.",
        _whole,
    ),
    Key(
        "outputs",
        "heads",
        "array",
        [],
        "Several heads in place of these, in the order of the targets: classes=categorical, boxes=gaussian,weight=0.5.",
        _heads,
    ),
    Key(
        "outputs",
        "function",
        "string",
        None,
        "In place of all these: path/to/file.py:function that returns an Outputs, for heads that have to be computed.",
        _text,
    ),
    *(Key("data.NAME", name, kind, default, says, check) for name, kind, default, says, check in _DATA),
    Key(
        "data.NAME",
        "weight",
        "number",
        1.0,
        "How much the losses on this set count beside those on other sets.",
        check_positive,
    ),
    Key(
        "held_out",
        "share",
        "number",
        0.25,
        "The share of the samples of every data set that only judges; not beside held_out.batches or text.",
        check_fraction,
    ),
    *(Key("held_out", name, kind, default, says, check) for name, kind, default, says, check in _DATA),
    Key(
        "round",
        "formats",
        "string",
        AUTO,
        "The formats, such as 'w2,w3,w4,w8'; auto takes some 36 of weights.",
        _formats,
    ),
    Key("round", "rounder", "string", "auto", "What rounds weights: auto, nearest, gptq, learned.", _one_of(ROUNDERS)),
    Key(
        "round",
        "activation_range",
        "string",
        "mse",
        "How ranges of activations are chosen: minmax, percentile or mse.",
        _one_of(RANGES),
    ),
    Key(
        "measure",
        "method",
        "string",
        "gauss_newton",
        "The estimator, such as gauss_newton or measured_kl.",
        _one_of(METHODS),
    ),
    Key(
        "measure",
        "precision",
        "number",
        None,
        "Stop at this relative standard error of every loss that matters; by default all batches are read.",
        check_positive,
    ),
    Key("allocate", "solver", "string", "auto", "The solver, such as exact or cp_sat.", _solver),
    Key("allocate", "seconds", "number", 60.0, "Time limit of the solver.", _seconds),
    Key(
        "confirm",
        "evaluations",
        "integer",
        40,
        "Passes over the batches to measure the cells of the table that decide; 0 leaves that out.",
        _count_or_none,
    ),
    Key(
        "refine",
        "evaluations",
        "number",
        40,
        "Passes over the batches to improve the policy by running the network; 0 leaves that out.",
        _least_0,
    ),
    Key("refine", "held_back", "number", 0.125, "The share of the batches held back from that search.", check_fraction),
    Key(
        "finish",
        "held_back",
        "number",
        0.25,
        "The share of the calibration samples that judges what the last pass decides.",
        check_fraction,
    ),
    Key("finish", "steps", "integer", 0, "Steps of learning scales, biases and norms.", _count_or_none),
    Key("export", "to", "array", [], f"Toolchains to write files for: {', '.join(EXPORTERS)}.", _targets),
)
SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS))
REQUEST = "request"  # a section whose keys are those of a request


def keys_of(section: str) -> dict[str, Key]:
    """The keys of a section by name; of ``data.NAME`` for every data set."""
    return {key.name: key for key in KEYS if key.section == section}
