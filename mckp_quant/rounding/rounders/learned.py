"""Rounds by learning: which of two neighbouring codes every weight gets, by gradient descent on the output error."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...common.checks import check_count, check_positive, check_seed
from ...errors import unknown
from ..arithmetic import stored_scale
from ..encoded import EncodedWeight
from ..rounder import BLOCK, INPUTS
from ..rows import channel_rows, from_channel_rows, per_element
from ..weights import check_weight
from .columns import damped, retargeted
from .gptq import Gptq
from .relaxation import Codes, learn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...formats.format import Format
    from ...formats.schemes import WeightScheme
    from ...layers import Layer
    from ..blocks import BlockRun
    from ..encoded import StoredWeight
    from ..rounder import InputStatistics, Rounder

WITHIN = {"layer": INPUTS, "block": BLOCK}  # whose output error is lowered, and what that needs


@dataclass(frozen=True)
class Learned:
    """Round as `Gptq` does, then learn for every weight whether its neighbouring code is better, and scales with it.

    What is learned is kept where it lowers the output error, row by row of a layer, or for the layer as a whole where
    the error is that of its block (whose other layers stay float). Codes of integers of two bits and more are learned,
    with any granularity and with or without zero points; scales of a whole tensor stay. Other formats, layers whose
    inputs were not seen, and groups or experts that no input reached, are rounded by `start` alone. A layer without a
    block of its own is learned by its own output.

    Attributes
    ----------
    within
        ``"layer"``: the layer's output error, from the statistics of its inputs alone, all formats side by side.
        ``"block"``: that of the output of the block around it, on inputs that are kept (Li et al., 2021, *BRECQ:
        Pushing the Limit of Post-Training Quantization by Block Reconstruction*, ICLR), one format after another.
    steps
        Of gradient descent.
    rate
        Of gradient descent.
    seed
        Of the order in which a block's inputs are drawn.
    damping
        What is added to the diagonal of the Gram matrix while learning, as a share of its mean.
    start
        What gives the codes to begin with.

    Raises
    ------
    InvalidInput
        When an option makes no sense.
    """

    within: str = "layer"
    steps: int = 500
    rate: float = 0.1
    seed: int = 0
    damping: float = 0.01
    start: Rounder = field(default_factory=Gptq)
    name: ClassVar[str] = "learned"
    reference: ClassVar[str] = "Nagel et al. (2020), Up or Down? Adaptive Rounding for Post-Training Quantization"

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.within not in WITHIN:
            raise unknown("within of Learned", self.within, WITHIN)
        check_count("steps", self.steps, 1)
        check_positive("rate", self.rate)
        check_positive("damping", self.damping)
        check_seed(self.seed)

    @property
    def needs(self) -> str:
        """The statistics of the layer's inputs, and the block around it where its output is looked at."""
        return WITHIN[self.within]

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        """Round a weight to formats, see `Rounder.encode`.

        Raises
        ------
        InvalidInput
            As `quantize` does, and when the statistics are not of this layer.
        """
        check_weight(weight, layer)
        made = self.start.encode(weight, layer, formats, inputs)
        places = [
            at
            for at, (entry, found) in enumerate(zip(formats, made, strict=True))
            if isinstance(found, EncodedWeight) and _learnable(entry.weight_scheme)
        ]
        if inputs is None or not bool((inputs.rows > 0).any()) or not places:
            return made
        begun = [_Begun.of(formats[at], made[at], layer) for at in places]
        with torch.enable_grad():
            if self.within == "block" and inputs.block is not None:
                found = [self._in_block(each, weight, inputs.block) for each in begun]
            else:
                found = self._in_layer(begun, weight, inputs)
        for at, encoded in zip(places, found, strict=True):
            made[at] = encoded
        return made

    def _in_layer(self, begun: Sequence[_Begun], weight: Tensor, inputs: InputStatistics) -> list[EncodedWeight]:
        """Learn from the Gram matrix, all formats side by side; errors are compared row by row."""
        gram = inputs.gram.to(weight.device, torch.float64)
        seen = inputs.rows.to(gram.device) > 0
        gram = torch.where(seen[:, None, None], gram, torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device))
        layer, groups, n = begun[0].layer, len(gram), gram.shape[-1]
        target = channel_rows(weight.detach().double(), layer).reshape(groups, -1, n)
        if inputs.cross is not None:
            target = retargeted(target, gram, inputs.cross.to(gram), self.damping, ~seen)
        codes = [each.codes.shaped((groups, -1, n)) for each in begun]
        before = [_row_errors(own.values - target, gram) for own in codes]
        joined = Codes.joined(codes)
        targets = target.repeat(1, len(codes), 1)
        # Rows count alike, however large their outputs are: each is judged by itself. float32 is enough to learn in.
        unit = _row_errors(joined.nearest(targets) - targets, gram).float()
        unit = torch.where(unit > 0, unit, 1)  # a row that its codes hold exactly has nothing to learn
        matrix, wanted = damped(gram, self.damping).float(), targets.float()

        def loss(values: Tensor, step: int) -> Tensor:
            return (_row_errors(values - wanted, matrix) / unit).mean()

        learned = learn(joined.to(torch.float32), wanted, loss, self.steps, self.rate)
        pieces = learned.to(torch.float64).split(target.shape[1])
        kept = []
        for own, piece, error in zip(begun, pieces, before, strict=True):
            stored = own.stored(piece.shaped(own.codes.steps.shape)).shaped(target.shape)
            better = (_row_errors(stored.values - target, gram) < error) & seen[:, None]
            kept.append(own.kept(stored.shaped(own.codes.steps.shape), better.reshape(-1, 1)))
        return kept

    def _in_block(self, begun: _Begun, weight: Tensor, block: BlockRun) -> EncodedWeight:
        """Learn from the output of a block on one call after another; errors are compared over all calls."""
        layer, dtype = begun.layer, weight.dtype
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.cat(
            [torch.randperm(len(block.calls), generator=generator) for _ in range(-(-self.steps // len(block.calls)))]
        ).tolist()

        def total(rows: Tensor) -> float:
            with torch.no_grad():
                values = from_channel_rows(rows, layer).to(dtype)
                return sum(float(block.error(values, at)) for at in range(len(block.calls)))

        target = channel_rows(weight.detach().float(), layer)
        size = total(begun.codes.nearest(target.double())) / len(block.calls) or 1.0

        def loss(values: Tensor, step: int) -> Tensor:
            return block.error(from_channel_rows(values, layer).to(dtype), order[step]).float() / size

        learned = learn(begun.codes.to(torch.float32), target, loss, self.steps, self.rate)
        stored = begun.stored(learned.to(torch.float64))
        better = torch.tensor(total(stored.values) < total(begun.codes.values), device=weight.device)
        return begun.kept(stored, better.expand(len(target), 1))


@dataclass(frozen=True, eq=False)
class _Begun:
    """A weight in one format as it was before learning, ``(channels, row)``."""

    entry: Format
    layer: Layer
    start: EncodedWeight
    codes: Codes

    @classmethod
    def of(cls, entry: Format, encoded: StoredWeight, layer: Layer) -> _Begun:
        assert isinstance(encoded, EncodedWeight)
        scheme = entry.weight_scheme
        assert scheme is not None
        elements = encoded.elements.double()
        scale = per_element(encoded.scales.double(), scheme, layer).expand_as(elements)
        top = 2 ** (scheme.bits - 1) - 1
        least, most = torch.full_like(elements, -top), torch.full_like(elements, top)
        steps = elements
        if encoded.zero_points is not None:
            zero = per_element(encoded.zero_points.double(), scheme, layer).expand_as(elements)
            steps, least, most = elements - zero, -zero, 2**scheme.bits - 1 - zero
        free = torch.full_like(elements[:, :1], scheme.granularity != "tensor", dtype=torch.bool)
        return cls(entry, layer, encoded, Codes(steps, scale, least, most, free))

    def stored(self, codes: Codes) -> Codes:
        """The codes with scales rounded to what they are stored as; codes have the shape of the weight's rows."""
        scheme = self.entry.weight_scheme
        assert scheme is not None
        scale = stored_scale(codes.scale, scheme).double()
        changed = codes.free & (scale > 0)
        return dataclasses.replace(codes, scale=torch.where(changed, scale, self.codes.scale))

    def kept(self, codes: Codes, better: Tensor) -> EncodedWeight:
        """The codes in rows where they are better, ``(channels, 1)`` bool, and those from before in others."""
        scheme = self.entry.weight_scheme
        assert scheme is not None
        elements = codes.steps
        if self.start.zero_points is not None:
            elements = elements + per_element(self.start.zero_points.double(), scheme, self.layer)
        elements = torch.where(better, elements.to(self.start.elements), self.start.elements)
        scales = self.start.scales
        if scheme.granularity != "tensor":
            found = codes.scale[:, :: scheme.group_size or codes.scale.shape[1]]
            scales = torch.where(better, found.to(scales), scales)
        return dataclasses.replace(self.start, elements=elements, scales=scales)


def _learnable(scheme: WeightScheme | None) -> bool:
    return scheme is not None and scheme.family == "integer" and scheme.bits > 1


def _row_errors(difference: Tensor, gram: Tensor) -> Tensor:
    """``(groups, rows)``: ``d' G d`` for every row of ``(groups, rows, n)``."""
    return ((difference @ gram) * difference).sum(dim=2)
