"""GPTQ: rounds the weights of a layer one input after another, so that its output changes least on its inputs."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...common.checks import check_count, check_positive
from ...errors import InvalidInput
from ...formats.blocks import GGML
from ..rounder import INPUTS
from ..rows import channel_rows, computed_in, from_channel_rows
from ..weights import check_weight, encode_weight
from .columns import descend, inverse_factor, output_error, retargeted, round_columns
from .importance import weighed_blocks
from .nearest import nearest
from .starts import Start, candidates, joined_grid, picked_scales, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...formats.format import Format
    from ...layers import Layer
    from ..encoded import EncodedWeight, StoredWeight
    from ..rounder import InputStatistics

logger = logging.getLogger(__name__)

_CHUNK = 2**21  # numbers of all formats and candidates that are rounded side by side


@dataclass(frozen=True)
class Gptq:
    """Round the inputs of a layer one after another; what each adds to the output is taken out of the rest.

    Scales are those that round-to-nearest has, times the candidate with the least output error, row by row; groups keep
    their scales fixed from the start, so that the order of columns does not matter for what is stored. An output row
    on which nearest has less output error keeps nearest's codes.

    Attributes
    ----------
    damping
        What is added to the diagonal of the Gram matrix, as a share of its mean; more where it cannot be factorised.
    scales
        Candidates by which nearest's scale of a row is multiplied.
    sweeps
        How often all columns are gone over once more, each moved to its best code with the others as they are.
    ordered
        Whether columns are taken by falling power of their input, and not as they lie.

    Raises
    ------
    InvalidInput
        When an option makes no sense.
    """

    damping: float = 0.01
    scales: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1)
    sweeps: int = 2
    ordered: bool = True
    name: ClassVar[str] = "gptq"
    reference: ClassVar[str] = (
        "Frantar, Ashkboos, Hoefler and Alistarh (2023), GPTQ: Accurate Post-Training Quantization for Generative "
        "Pre-trained Transformers"
    )
    needs: ClassVar[str] = INPUTS

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_positive("damping", self.damping)
        check_count("sweeps", self.sweeps, 0)
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales:
            raise InvalidInput("scales is empty: give at least the candidate 1.0")
        for each in self.scales:
            check_positive("a candidate of scales", each)

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        """Round a weight to formats, see `Rounder.encode`.

        Without inputs, and for formats that have no codes, this is round-to-nearest; blocks of ggml are rounded as
        `Importance` does.

        Raises
        ------
        InvalidInput
            As `quantize` does, and when the statistics are not of this layer.
        """
        check_weight(weight, layer)
        made: list[StoredWeight | None] = [None] * len(formats)
        coded = [at for at, entry in enumerate(formats) if entry.family not in (None, GGML)]
        seen = inputs is not None and bool((inputs.rows > 0).any())
        if inputs is None or not seen:
            return [nearest(weight, entry, layer) for entry in formats]
        work = _Work.of(self, weight, layer, inputs) if coded else None
        for kind in dict.fromkeys(map(_kind, (formats[at] for at in coded))):
            places = [at for at in coded if _kind(formats[at]) == kind]
            assert work is not None  # there are formats of a kind
            for at, encoded in zip(places, work.encode([formats[at] for at in places]), strict=True):
                made[at] = encoded
        for at, entry in enumerate(formats):
            if entry.family == GGML:
                made[at] = weighed_blocks(weight, entry, layer, inputs)
        return [
            nearest(weight, entry, layer) if found is None else found
            for entry, found in zip(formats, made, strict=True)
        ]


def _kind(entry: Format) -> str:
    """Formats of one kind are rounded side by side."""
    scheme = entry.weight_scheme
    if scheme is None:
        return ""
    return ("sign" if scheme.bits == 1 else "integer") if scheme.family == "integer" else scheme.element


@dataclass(frozen=True, eq=False)
class _Work:
    """One layer that is being rounded; columns in the order in which they are rounded, ``(groups, n, rows)``."""

    options: Gptq
    layer: Layer
    dtype: torch.dtype
    weight: Tensor  # the target, in columns
    plain: Tensor  # the target, as the layer has it
    order: Tensor  # (groups, n)
    gram: Tensor
    matrix: Tensor
    factor: Tensor
    unseen: Tensor  # (groups,): those that keep nearest's codes

    @classmethod
    def of(cls, options: Gptq, weight: Tensor, layer: Layer, inputs: InputStatistics) -> _Work:
        gram = inputs.gram.to(weight.device, torch.float64)
        rows = channel_rows(weight.detach().double(), layer)
        groups, n = gram.shape[0], gram.shape[-1]
        if rows.shape[1] != n or len(rows) % groups:
            raise InvalidInput(
                f"the inputs of layer {layer.name!r} have a Gram matrix of shape {tuple(gram.shape)}, but its weight "
                f"has {len(rows)} rows of {rows.shape[1]}: they are another layer's"
            )
        # A group that has seen nothing, or zeros only, is rounded to nearest; the identity is there to be factorised.
        counts = inputs.rows.to(gram.device)
        unseen = (counts <= 0) | (gram.diagonal(dim1=1, dim2=2).amax(dim=1) <= 0)
        fewest = int(torch.where(unseen, torch.inf, counts).amin().nan_to_num(posinf=n))
        if fewest < n:
            logger.warning(
                "the input of layer %r was seen in %d rows, fewer than its %d columns: give more calibration data, or "
                "its weights fit this data alone",
                layer.name,
                fewest,
                n,
            )
        gram = torch.where(unseen[:, None, None], torch.eye(n, dtype=gram.dtype, device=gram.device), gram)
        target = rows.reshape(groups, -1, n)
        if inputs.cross is not None:
            target = retargeted(target, gram, inputs.cross.to(gram), options.damping, unseen)
        diagonal = gram.diagonal(dim1=1, dim2=2)
        order = diagonal.argsort(dim=1, descending=True, stable=True) if options.ordered else None
        if order is None:
            order = torch.arange(n, device=gram.device).expand(groups, n)
        moved = gram.gather(1, order[:, :, None].expand(-1, -1, n)).gather(2, order[:, None, :].expand(-1, n, -1))
        factor, matrix, share = inverse_factor(moved, options.damping)
        if share > options.damping:
            logger.warning(
                "the inputs of layer %r do not span enough to factorise their Gram matrix: the damping was raised from "
                "%g to %g; more calibration data would help",
                layer.name,
                options.damping,
                share,
            )
        columns = target.gather(2, order[:, None, :].expand_as(target)).transpose(1, 2).contiguous()
        plain = from_channel_rows(target.reshape(rows.shape), layer).to(computed_in(weight.dtype))
        return cls(options, layer, weight.dtype, columns, plain, order, moved, matrix, factor, unseen)

    def encode(self, formats: Sequence[Format]) -> list[EncodedWeight]:
        """Round to formats of one kind."""
        begun = [encode_weight(self.plain, entry, self.layer) for entry in formats]
        tries = [candidates(entry, self.options.scales) for entry in formats]
        groups, n, rows = self.weight.shape
        step = max(1, _CHUNK // (groups * n * sum(map(len, tries))))
        pieces = [
            self._piece(formats, tries, begun, slice(begin, min(begin + step, rows))) for begin in range(0, rows, step)
        ]
        made = []
        for at, encoded in enumerate(begun):
            elements = torch.cat([piece[at][0] for piece in pieces], dim=1).reshape(encoded.elements.shape)
            scales = encoded.scales
            if scales.numel() > 1 or rows * groups == 1:
                scales = torch.cat([piece[at][1] for piece in pieces], dim=1).reshape(scales.shape).to(scales)
            made.append(dataclasses.replace(encoded, elements=elements.to(encoded.elements), scales=scales))
        return made

    def _piece(
        self,
        formats: Sequence[Format],
        tries: Sequence[Sequence[float]],
        begun: Sequence[EncodedWeight],
        rows: slice,
    ) -> list[tuple[Tensor, Tensor]]:
        """Elements ``(groups, rows, n)`` and scales ``(groups, rows, ...)`` of some rows, for every format."""
        weight = self.weight[:, :, rows]
        count = weight.shape[2]
        starts = [Start.of(entry, encoded, self.order, rows) for entry, encoded in zip(formats, begun, strict=True)]
        every = [start.scaled(share) for start, own in zip(starts, tries, strict=True) for share in own]
        grid = joined_grid([start.columns() for start in every], [start.bounds(weight) for start in every], formats[0])
        steps = round_columns(weight.repeat(1, 1, len(every)), grid, self.factor)
        errors = output_error(steps * grid.scale - weight.repeat(1, 1, len(every)), self.matrix)
        by_start = errors.reshape(len(errors), len(every), count)
        picked, kept, first = [], [], 0
        for own in tries:
            best = by_start[:, first : first + len(own)].argmin(dim=1)  # (groups, rows)
            picked.append((best + first) * count + torch.arange(count, device=best.device))
            kept.append(picked_scales([start.scale for start in every[first : first + len(own)]], best))
            first += len(own)
        at = torch.cat(picked, dim=1)[:, None].expand(-1, weight.shape[1], -1)
        grid, steps, repeated = grid.picked(at), steps.gather(2, at), weight.repeat(1, 1, len(formats))
        if self.options.sweeps:
            steps = descend(repeated, steps, grid, self.matrix, self.options.sweeps)
        error = output_error(steps * grid.scale - repeated, self.gram).reshape(len(weight), -1, count)
        steps = steps.reshape(*weight.shape[:2], len(formats), count)
        return [
            self._kept(start, steps[:, :, place], scale, error[:, place], weight)
            for place, (start, scale) in enumerate(zip(starts, kept, strict=True))
        ]

    def _kept(self, start: Start, steps: Tensor, scale: Tensor, error: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The codes that were found, or nearest's in rows where they have more output error."""
        nearest_error = output_error(start.steps * start.columns() - weight, self.gram)
        worse = (nearest_error < error) | self.unseen[:, None]
        steps = torch.where(worse[:, None], start.steps, steps).transpose(1, 2)
        back = torch.empty_like(steps).scatter_(2, self.order[:, None, :].expand_as(steps), steps)
        elements = back if start.zero is None else back + spread(start.zero, start.scheme, back.shape[2])
        return elements, torch.where(worse[:, :, None], start.scale, scale)
