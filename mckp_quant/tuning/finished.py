"""What the last pass for one policy made: the network, its codes, and what was decided on the way."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..common.documents import field, read_document, write_document
from ..common.files import check_regular, readable, write_bytes
from ..common.packages import require
from ..errors import InvalidInput
from ..evaluation.simulation import Simulator
from ..layers import Layer
from ..network.fingerprint import tensor_digest
from ..policy.document import policy_arguments
from ..policy.policy import Policy
from ..rounding.bank import WeightBank
from ..rounding.banks.memory import Memory
from ..rounding.encoded import BlockWeight, EncodedWeight, OpaqueWeight
from .decided import Decided

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..rounding.encoded import StoredWeight

KIND, VERSION = "finished", 1
_DOCUMENT, _TENSORS = "finished.json", "finished.safetensors"
_CODES, _STATE = "codes", "state"


@dataclass(frozen=True, eq=False)
class Finished:
    """A network after the last pass.

    Attributes
    ----------
    model
        The network under the policy: weights rounded, biases and norms matched, inputs rounded by hooks.
    bank
        The codes of its weights, each layer in its own format.
    policy
        The policy.
    decided
        What was decided, and the KL on batches held back.
    float_digests
        From the name of every parameter and buffer of the float network to its digest.
    changed
        The parameters and buffers besides the policy's weights that differ from the float network's, by name.
    """

    model: nn.Module
    bank: WeightBank
    policy: Policy
    decided: Decided
    float_digests: Mapping[str, str]
    changed: Mapping[str, Tensor]

    def save(self, folder: str | os.PathLike[str], *, made_from: str = "") -> None:
        """Write codes and changed parameters, with a document beside them; folders that are missing are made.

        Parameters
        ----------
        folder
            Where to write ``finished.json`` and ``finished.safetensors``.
        made_from
            The digest of what this was made from, where a program keeps one.

        Raises
        ------
        PackageMissing
            Without safetensors.
        """
        safetensors: Any = require("safetensors.torch", "torch")
        tensors = {f"{_STATE}/{name}": each.detach().cpu().contiguous() for name, each in self.changed.items()}
        for layer in self.bank.layers:
            stored = self.bank.encoded(layer.name, self.policy[_named(self.policy, layer)])
            tensors.update({f"{_CODES}/{layer.name}/{part}": each for part, each in _parts(stored).items()})
        write_bytes(Path(folder) / _TENSORS, safetensors.save(tensors))
        made = {"made_from": made_from} if made_from else {}
        write_document(Path(folder) / _DOCUMENT, KIND, VERSION, {**made, **self.document()})

    def document(self) -> dict[str, Any]:
        """All but the tensors, in plain types."""
        bank = {
            each.name: getattr(self.bank, each.name)
            for each in dataclasses.fields(self.bank)
            if each.name not in {"layers", "formats", "store"}
        }
        return {
            "policy": self.policy.document(),
            "decided": dataclasses.asdict(self.decided),
            "bank": bank,
            "layers": [dataclasses.asdict(layer) for layer in self.bank.layers],
            "float_digests": dict(self.float_digests),
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: nn.Module) -> Finished:
        """Read what `save` wrote.

        Parameters
        ----------
        folder
            The folder.
        model
            The float network that was finished; it is left as it was.

        Returns
        -------
        finished
            The same, with a network made from a copy of `model`.

        Raises
        ------
        InvalidInput
            When a file is missing or damaged, or the network is another one.
        PackageMissing
            Without safetensors.
        """
        path = Path(folder) / _DOCUMENT
        document = read_document(path, KIND, VERSION)
        source = f"the finished network {str(path)!r}"
        with readable(source):
            policy = Policy(**policy_arguments(field(document, "policy", source), source))
            decided = Decided(**_numbers(_plain(field(document, "decided", source))))
            rows = [Layer(**_plain(each)) for each in field(document, "layers", source)]
            meta = _plain(field(document, "bank", source))
            digests = dict(field(document, "float_digests", source))
        check_same(model, digests)
        tensors = _read(Path(folder) / _TENSORS)
        with readable(source):
            codes = {}
            for layer in rows:
                entry = policy[_named(policy, layer)]
                head = f"{_CODES}/{layer.name}/"
                codes[layer.name, entry.name] = _stored(
                    {name.removeprefix(head): each for name, each in tensors.items() if name.startswith(head)}
                )
            formats = tuple(dict.fromkeys(policy[_named(policy, layer)] for layer in rows))
            bank = WeightBank(layers=tuple(rows), formats=formats, **meta, store=OwnFormats(codes))
            made = Simulator(model, bank, other_rounder=True).apply(policy)
            head = f"{_STATE}/"
            changed = {name.removeprefix(head): each for name, each in tensors.items() if name.startswith(head)}
            _put(made, changed)
        return cls(made, bank, policy, decided, digests, changed)


@dataclass(eq=False)
class OwnFormats(Memory):
    """The codes of each layer in its policy's format alone."""

    def read(self, layer: Layer, entry: Format) -> StoredWeight:
        """The codes; raises InvalidInput for a format that the policy does not give the layer."""
        found = self.codes.get((layer.name, entry.name))
        if found is None:
            own = ", ".join(name for known, name in self.codes if known == layer.name)
            raise InvalidInput(
                f"layer {layer.name!r} was finished in {own}, and has no codes in {entry.name!r}: take the bank that "
                "round_weights made, or finish the other policy too"
            )
        return found


def float_digests(model: nn.Module) -> dict[str, str]:
    """The digest of every parameter and buffer, by name."""
    return {name: tensor_digest(each) for name, each in (*model.named_parameters(), *model.named_buffers())}


def changed_tensors(model: nn.Module, original: nn.Module, weights: set[str]) -> dict[str, Tensor]:
    """Copies of the parameters and buffers that are not the original's, besides some weights, by name."""
    before = dict([*original.named_parameters(), *original.named_buffers()])
    return {
        name: each.detach().clone()
        for name, each in (*model.named_parameters(), *model.named_buffers())
        if name not in weights and (name not in before or not torch.equal(each, before[name]))
    }


def check_same(model: nn.Module, digests: Mapping[str, str]) -> None:
    """Refuse a network of other numbers; raises InvalidInput with the first that differs."""
    own = float_digests(model)
    name = next((each for each in {**digests, **own} if own.get(each) != digests.get(each)), None)
    if name is not None:
        raise InvalidInput(f"the network's {name!r} is not the one that was finished: give the float network it is of")


def _named(policy: Policy, layer: Layer) -> str:
    """The name under which a policy has a layer: its own, or that of another module with its weight."""
    return next(name for name in (layer.name, *layer.ties) if name in policy.layer_names)


def _parts(stored: StoredWeight) -> dict[str, Tensor]:
    if isinstance(stored, OpaqueWeight):
        return {"values": stored.values.cpu().contiguous()}
    if isinstance(stored, BlockWeight):
        return {"blocks": stored.data.cpu().contiguous()}
    parts = {"elements": stored.elements, "scales": stored.scales}
    if stored.zero_points is not None:
        parts["zero_points"] = stored.zero_points
    parts["tensor_scale"] = torch.tensor(stored.tensor_scale, dtype=torch.float64)
    return {name: each.cpu().contiguous() for name, each in parts.items()}


def _stored(parts: Mapping[str, Tensor]) -> StoredWeight:
    if "values" in parts:
        return OpaqueWeight(parts["values"])
    if "blocks" in parts:
        return BlockWeight(parts["blocks"])
    above = float(parts["tensor_scale"])
    return EncodedWeight(parts["elements"], parts["scales"], parts.get("zero_points"), above)


def _read(path: Path) -> dict[str, Tensor]:
    safetensors: Any = require("safetensors", "torch")
    check_regular(path, "finished network")
    with readable(f"the finished network {str(path)!r}"), safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def _put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Replace parameters and buffers, or add the biases that a layer had not."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            module = model.get_submodule(name.rpartition(".")[0])
            attribute = name.rpartition(".")[2]
            old = getattr(module, attribute)
            if old is None:
                device = next(module.parameters()).device
                module.register_parameter(attribute, torch.nn.Parameter(tensor.to(device)))
            else:
                old.copy_(tensor)


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dataclass from JSON, whose lists are tuples."""

    def read(entry: Any) -> Any:
        return tuple(read(each) for each in entry) if isinstance(entry, list) else entry

    return {name: read(entry) for name, entry in document.items()}


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same with nan where JSON has null."""
    return {name: math.nan if entry is None else entry for name, entry in fields.items()}
