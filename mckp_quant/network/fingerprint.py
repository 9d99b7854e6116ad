"""What a measurement belongs to: every number of a network, its outputs, the data it read, and the options."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .batches import evaluating, forward
from .logits import heads_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..common.run_options import Share
    from .batch import Batch

_OUTPUTS = 256  # numbers of the outputs that are kept


@dataclass(frozen=True)
class Fingerprint:
    """What has to be the same when something is taken up again.

    Attributes
    ----------
    options
        By name, as text.
    tensors
        A digest of every parameter and buffer, by name.
    first
        The digest of the first batch.
    shape
        Of the outputs on the first batch, those of several heads one after the other.
    outputs
        Up to 256 of their numbers: they also tell activation functions and what is taken of the outputs. They are
        compared within `tolerance`, because threads and machines round otherwise.
    tolerance
        The square root of the precision of their type.
    """

    options: Mapping[str, str]
    tensors: Mapping[str, str]
    first: str
    shape: tuple[int, ...]
    outputs: tuple[float, ...]
    tolerance: float

    @classmethod
    def of(
        cls, model: nn.Module, batch: Batch, take: Callable[..., object] | None, options: Mapping[str, str]
    ) -> Fingerprint:
        """Take the fingerprint of a network on a batch; the network is given back as it was."""
        named = [*model.named_parameters(), *model.named_buffers()]
        tensors = {name: tensor_digest(tensor) for name, tensor in named}
        with evaluating(model), torch.no_grad():
            torch.manual_seed(0)
            heads = heads_of(forward(model, batch, take))
        flat = torch.cat([own.flatten() for own in heads])
        some = flat[torch.linspace(0, len(flat) - 1, min(_OUTPUTS, len(flat)), device=flat.device).long()].double()
        tolerance = float(torch.finfo(flat.dtype).eps) ** 0.5
        return cls(
            dict(options),
            tensors,
            batch_digest(batch),
            tuple(size for own in heads for size in own.shape),
            tuple(some.cpu().tolist()),
            tolerance,
        )

    def of_part(self, share: Share) -> Fingerprint:
        """The fingerprint of what one of several processes reads; of a single one it is the same."""
        return self if share.of == 1 else replace(self, options={**self.options, "part": str(share)})

    @classmethod
    def from_document(cls, document: Mapping[str, Any], tolerance: float) -> Fingerprint:
        """What `document` gave, with the tolerance of the type of its network's outputs."""
        outputs = tuple(float("nan") if each is None else float(each) for each in document["outputs"])
        shape = tuple(int(size) for size in document["shape"])
        return cls(document["options"], document["tensors"], document["first"], shape, outputs, tolerance)

    def document(self) -> dict[str, Any]:
        """The fingerprint in plain types."""
        return {
            "options": dict(self.options),
            "tensors": dict(self.tensors),
            "first": self.first,
            "shape": list(self.shape),
            "outputs": list(self.outputs),
        }

    def difference(self, document: Mapping[str, Any]) -> str:
        """What differs from a fingerprint that `document` gave, in words; empty where nothing does."""
        for what, own in (("option", self.options), ("tensor", self.tensors)):
            known = document[f"{what}s"]
            name = next((each for each in {**known, **own} if known.get(each) != own.get(each)), None)
            if name is not None and what == "option":
                return f"{name} was {known.get(name)}, and is {own.get(name)}"
            if name is not None:
                return f"the network's {name!r} differs"
        if document["first"] != self.first:
            return "it is of other calibration data, batch 0 differs"
        shape = tuple(document["shape"])
        if shape != self.shape:
            return f"the outputs of the first batch had the shape {shape}, and have {self.shape}"
        then = torch.tensor(
            [float("nan") if each is None else each for each in document["outputs"]], dtype=torch.float64
        )
        now = torch.tensor(self.outputs, dtype=torch.float64)
        allowed = self.tolerance * float(now.nan_to_num(0, 0, 0).abs().max())
        if not torch.allclose(then, now, rtol=self.tolerance, atol=allowed, equal_nan=True):
            return (
                "the outputs of the first batch differ, though the weights do not: other activation functions, or "
                "another take of outputs="
            )
        return ""


def tensor_digest(tensor: Tensor) -> str:
    """Forty hexadecimal digits that change with any bit, the type or the shape of a tensor."""
    content = hashlib.sha256(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
    plain = tensor.detach().cpu().contiguous().flatten()
    content.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return content.hexdigest()[:40]


class DataDigest:
    """A digest of batches that are added one after another; their targets do not count."""

    def __init__(self) -> None:
        self._content = hashlib.sha256()

    def add(self, batch: Batch) -> str:
        """Forty hexadecimal digits that change with any input of this batch or of one that was added before."""
        self._content.update(batch_digest(replace(batch, targets=None)).encode())
        return self._content.hexdigest()[:40]


def batch_digest(batch: Batch) -> str:
    """Forty hexadecimal digits that change with any input or target of a batch."""
    inputs = {"": batch.inputs} if isinstance(batch.inputs, Tensor) else dict(batch.inputs)
    parts = [(name, tensor_digest(each)) for name, each in sorted(inputs.items())]
    if isinstance(batch.targets, Tensor):
        parts.append(("targets", tensor_digest(batch.targets)))
    elif batch.targets is not None:
        known = ((at, own) for at, own in enumerate(batch.targets) if own is not None)
        parts += [(f"targets {at}", tensor_digest(own)) for at, own in known]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
