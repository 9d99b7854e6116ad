"""Experts of a mixture: a network holds those of a layer in one tensor, and files in several."""

from __future__ import annotations

import contextlib
import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InvalidInput
from ..layers import Layer
from ..network.batches import as_batch, call, evaluating
from ..network.checkpoints.saved_names import as_saved
from ..network.weight_uses import EXPERTS, uses_in
from ..rounding.encoded import BlockWeight, EncodedWeight
from .codes import rows_of
from .contract import ExportMismatch, Stored
from .sources import trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..rounding.encoded import StoredWeight
    from .contract import Job

_WEIGHT = ".weight"


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a layer's weight that a file holds by itself.

    Attributes
    ----------
    name
        The name of its module, or tensor, in the file.
    rows
        ``(n,)`` int64: the rows of the layer that it has, in its order.
    """

    name: str
    rows: Tensor

    def of(self, encoded: StoredWeight) -> StoredWeight:
        """The codes of these rows."""
        return rows_of(encoded, self.rows)

    def layer(self, whole: Layer) -> Layer:
        """The facts about this part of a layer."""
        row = whole.elements // whole.known_channels
        return Layer(self.name, "linear", (len(self.rows), row), len(self.rows), None)


def saved_pieces(model: nn.Module, layer: Layer) -> tuple[Piece, ...]:
    """The matrices in which checkpoints of a network hold the experts of a layer.

    Parameters
    ----------
    model
        The network.
    layer
        A layer of experts, ``(experts, out, in)``.

    Returns
    -------
    pieces
        One for each expert, two where the network holds gates and ups together.

    Raises
    ------
    InvalidInput
        When its checkpoints hold all experts in one tensor.
    """
    # Where the rows go is seen from what becomes of their numbers.
    numbers = torch.arange(layer.known_channels, dtype=torch.float64).reshape(*layer.shape[:-1], 1)
    found = as_saved(model, {layer.name: numbers})
    if layer.name in found or not all(name.endswith(_WEIGHT) and each.ndim == 2 for name, each in found.items()):
        raise InvalidInput(
            f"layer {layer.name!r} holds its experts in one tensor in checkpoints too, and the runtime takes a matrix "
            "for each: pin the layer to 'float'"
        )
    return tuple(Piece(name.removesuffix(_WEIGHT), each.reshape(-1).long()) for name, each in found.items())


def check_run(target: str, job: Job, made: Callable[[Layer, Format], Tensor]) -> None:
    """Refuse experts whose network cannot multiply by the target's tensors.

    Parameters
    ----------
    target
        The name of the target, whose tensors stand in the place of the experts' weights.
    job
        What is asked. The network runs on its first batch, or on the few tokens that a model of transformers has for
        such trials; without either nothing is tried.
    made
        From a layer and its format to the target's tensor.

    Raises
    ------
    InvalidInput
        When a mixture fails with these tensors, each expert by itself (transformers' implementation ``"eager"``).
    """
    chosen = [(layer, entry) for layer, entry in job.chosen if layer.kind == EXPERTS]
    batch = trial(job)
    if not chosen or batch is None:
        return
    uses = uses_in(job.model)
    given: dict[nn.Module, tuple[Any, Any]] = {}

    def keep(module: nn.Module, args: Any, kwargs: Any) -> None:
        given.setdefault(module, (args, kwargs))

    with contextlib.ExitStack() as hooks, evaluating(job.model), torch.no_grad():
        for layer, _ in chosen:
            hook = uses[layer.name].module.register_forward_pre_hook(keep, with_kwargs=True)
            hooks.callback(hook.remove)
        call(job.model, as_batch(batch).head(1))
    for layer, entry in chosen:
        module = uses[layer.name].module
        if module not in given:
            continue
        tried, (args, kwargs) = one_by_one(copy.deepcopy(module)), given[module]
        setattr(tried, uses[layer.name].attribute, torch.nn.Parameter(made(layer, entry), requires_grad=False))
        try:
            with torch.no_grad():
                tried(*args, **kwargs)
        except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{target} cannot take layer {layer.name!r} in format {entry.name!r}: a {type(module).__name__} "
                f"multiplies its weights in a way that {target}'s tensors do not know "
                f"({str(error).partition(chr(10))[0]}); pin the layer to 'float'"
            ) from error


def one_by_one(module: nn.Module) -> nn.Module:
    """Make a mixture of transformers, which is given back, multiply expert by expert; others do as they do."""
    config: Any = getattr(module, "config", None)
    if hasattr(config, "_experts_implementation"):
        config._experts_implementation = "eager"
    return module


def experts_pattern(pieces: Sequence[Piece]) -> str:
    """The target of a config group that matches the matrices of all experts beside these, and nothing else.

    The runtimes give all of them one format, and look for it under names that checkpoints need not have, such as
    ``gate_proj`` where these have ``w1``.
    """
    module = pieces[0].name.rpartition(".experts.")[0]
    return rf"re:^{re.escape(module)}\.experts\.\d+\.\w+$"


def halves(layer: Layer, names: Sequence[str]) -> tuple[Piece, ...]:
    """A layer in one tensor, or its gates in one and its ups in another, for all experts."""
    rows = torch.arange(layer.known_channels)
    if len(names) == 1:
        return (Piece(names[0], rows),)
    apart = rows.reshape(layer.shape[0], len(names), -1)
    return tuple(Piece(name, apart[:, at].reshape(-1)) for at, name in enumerate(names))


def joined(layer: Layer, pieces: Sequence[Piece], found: Mapping[str, Stored]) -> Stored:
    """What a file says of a layer, from what it says of the pieces; raises ExportMismatch where one is missing."""
    missing = next((piece.name for piece in pieces if piece.name not in found), None)
    if missing is not None:
        raise ExportMismatch(f"{missing!r}, which holds a part of layer {layer.name!r}, is not in the artefact")
    own = [found[piece.name] for piece in pieces]
    kinds = sorted({stored.format.name for stored in own})
    if len(kinds) > 1:
        raise ExportMismatch(f"the parts of layer {layer.name!r} have the formats {', '.join(kinds)} in the artefact")
    order = torch.cat([piece.rows for piece in pieces]).argsort()
    weights = [stored.weight for stored in own if stored.weight is not None]
    row = layer.elements // layer.known_channels
    weight = None
    if len(weights) == len(own):
        weight = torch.cat([each.reshape(-1, row) for each in weights])[order].reshape(layer.shape)
    codes = [stored.codes for stored in own if stored.codes is not None]
    return Stored(
        own[0].format,
        sum(stored.nbytes for stored in own),
        own[0].place,
        weight,
        _joined_codes(codes, order) if len(codes) == len(own) else None,
    )


def _joined_codes(codes: Sequence[StoredWeight], order: Tensor) -> StoredWeight | None:
    def rows(name: str) -> Any:
        parts = [getattr(each, name) for each in codes]
        return None if any(each is None for each in parts) else torch.cat(parts)[order]

    if all(isinstance(each, BlockWeight) for each in codes):
        return BlockWeight(rows("data"))
    if all(isinstance(each, EncodedWeight) for each in codes):
        return EncodedWeight(rows("elements"), rows("scales"), rows("zero_points"))
    return None
