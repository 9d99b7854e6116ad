"""The names that checkpoints of transformers have for a network's tensors, where they differ from the network's own.

transformers 5 renames some keys when it loads a checkpoint, and names them as before when it saves one. Other runtimes
know the names of the checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...common.packages import missing, require
from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor, nn


def as_saved(model: nn.Module, state: Mapping[str, Tensor], made: Collection[str] = ()) -> dict[str, Tensor]:
    """A state under the names, and in the parts, that checkpoints of the network have.

    Parameters
    ----------
    model
        The network. Of one that is not of transformers the names stay as they are.
    state
        Tensors by the network's names.
    made
        Of these names those of quantised tensors, which can be renamed and not be split.

    Returns
    -------
    state
        By the names of the checkpoint.

    Raises
    ------
    InvalidInput
        When checkpoints hold a quantised weight in other parts than the network.
    """
    conversions = _conversions(model)
    if not conversions:
        return dict(state)
    loading = require("transformers.core_model_loading", "export")
    others = {name: tensor for name, tensor in state.items() if name not in made}
    found: dict[str, Tensor] = loading.revert_weight_conversion(model, others)
    for name in made:
        found[_renamed(name, conversions, loading)] = state[name]
    return found


def layer_name(model: nn.Module, layer: str) -> str:
    """The name that checkpoints have for a layer; its own where they hold its weight in other parts."""
    conversions = _conversions(model)
    if not conversions:
        return layer
    try:
        found = _renamed(f"{layer}.weight", conversions, require("transformers.core_model_loading", "export"))
    except InvalidInput:
        return layer
    return found.removesuffix(".weight")


def _conversions(model: nn.Module) -> list[Any]:
    """What is undone when the network is saved, in that order."""
    if not hasattr(model, "save_pretrained") or missing("transformers"):
        return []
    loading = require("transformers.core_model_loading", "export")
    known = getattr(model, "_weight_conversions", None)
    if known is None:
        mapping = require("transformers.conversion_mapping", "export")
        known = mapping.get_model_conversion_mapping(model, add_legacy=False)
        known = [each for each in known if not isinstance(each, loading.PrefixChange)]
    return [each.reverse_transform() for each in reversed(known)]


def _renamed(name: str, conversions: list[Any], loading: Any) -> str:
    converters = [each for each in conversions if isinstance(each, loading.WeightConverter)]
    _, pattern = loading.apply_converters(name, converters)
    if pattern is not None:
        raise InvalidInput(
            f"{name!r} is stored in other parts in checkpoints of this network than the network holds it in (by "
            f"transformers' rule {pattern!r}), and quantised parts cannot be taken apart: leave its layer in float, or "
            "export to 'hf', which keeps the network's own names"
        )
    renamings = [each for each in conversions if isinstance(each, loading.WeightRenaming)]
    found: str = loading.apply_renamings(name, renamings)
    return found
