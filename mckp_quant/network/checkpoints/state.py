"""The tensors that a network's state holds: what of it every file has to store, whatever the formats."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...formats.file_facts import CHECKPOINT, COMPRESSED_TENSORS, TORCHAO, FileFacts
from ...formats.safetensors_size import StateTensor, digits_of, fixed_bytes, float_bytes
from ..weight_uses import uses_in
from .plain_names import unwrapped
from .saved_names import as_saved, layer_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from ...layers import Layer

# torch's types by the names that safetensors has for them.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network that a checkpoint holds, by name.

    Parameters
    ----------
    model
        The network. One of transformers stores a tensor that several names share once, and ties it again when it is
        loaded; other networks store it under each name.

    Returns
    -------
    state
        Contiguous tensors that share no memory with each other.
    """
    model = unwrapped(model)
    once = hasattr(model, "save_pretrained")
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        kept = tensor.detach().contiguous()
        place = 0 if kept.is_meta else kept.data_ptr()
        known = not kept.is_meta and bool(kept.numel()) and place in seen
        if known and once:
            continue
        state[name] = kept.clone() if known else kept
        seen.add(place)
    return state


def weight_names(model: nn.Module, layers: Sequence[Layer]) -> tuple[str, ...]:
    """What the weights of layers are called in the network's state, such as ``"head.weight"``."""
    known = set(unwrapped(model).state_dict())
    uses = uses_in(model)
    found = []
    for layer in layers:
        use = uses.get(layer.name)
        names = (layer.name, f"{layer.name}.{'weight' if use is None else use.attribute}")
        found.append(next((name for name in names if name in known), names[-1]))
    return tuple(found)


def file_facts(model: nn.Module, layers: Sequence[Layer]) -> tuple[FileFacts, ...]:
    """What the network takes in the safetensors files of the targets that write such.

    Parameters
    ----------
    model
        The network, on the meta device too.
    layers
        Its layers.

    Returns
    -------
    facts
        One for each form; none where the state holds a tensor of a type that safetensors files do not have.
    """
    model = unwrapped(model)
    state = {name: tensor.to("meta") for name, tensor in state_of(model).items()}
    if any(tensor.dtype not in DTYPES for tensor in state.values()):
        return ()
    names = weight_names(model, layers)
    if not set(names) <= set(state):
        return ()
    weights = _tensors({name: state[name] for name in names})
    others = _tensors({name: tensor for name, tensor in state.items() if name not in set(names)})
    saved = _tensors(as_saved(model, state))
    digits = digits_of([*others, *weights])
    found = []
    for form in (COMPRESSED_TENSORS, CHECKPOINT, TORCHAO):
        renamed = weights
        if form == CHECKPOINT:
            places = [f"{layer_name(model, layer.name)}.weight" for layer in layers]
            renamed = [replace(each, name=place) for each, place in zip(weights, places, strict=True)]
        floats = tuple(float_bytes(form, each, digits) for each in renamed)
        if form == CHECKPOINT:  # some weights lie there in parts
            fixed = max(0, fixed_bytes(form, saved, (), digits) - sum(floats))
        else:
            fixed = fixed_bytes(form, others, weights, digits)
        found.append(FileFacts(form, fixed, tuple(each.name for each in renamed), floats, digits))
    return tuple(found)


def _tensors(state: Mapping[str, Tensor]) -> list[StateTensor]:
    return [StateTensor(name, DTYPES[each.dtype], tuple(each.shape)) for name, each in state.items()]
