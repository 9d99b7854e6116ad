"""What becomes of a layer's weight where a runtime spreads the network over several devices.

vLLM and SGLang cut some linear layers along their inputs (row-parallel: those that close an attention or a feed-forward
block) and the others of a block along their outputs (column-parallel). Groups of weights that share a scale, and the
32-bit words that packed weights fill, run along the inputs and must not be cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..layers import Layer
    from .format import Format

_WORD = 32  # bits, in which packed weights are stored
# As the classes of vLLM name them; the router of experts and others are held whole on every device. A plain "dense"
# closes the attention of GPT-NeoX, Falcon and Phi.
ALONG_INPUTS = (
    *("o_proj", "out_proj", "down_proj", "dense_4h_to_h", "c_proj", "fc2", "wo", "w2", "fc_out", "o_b_proj"),
    *("linear_proj", "linear_2", "attention.dense", "self_attention.dense", "self_attn.dense"),
)
ALONG_OUTPUTS = (
    *("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "gate_proj", "up_proj", "gate_up_proj"),
    *("dense_h_to_4h", "c_attn", "c_fc", "fc1", "fc_in", "wq", "wk", "wv", "w1", "w3", "q_b_proj", "kv_b_proj"),
)


def refuses_shards(layer: Layer, entry: Format, devices: int) -> str:
    """Why a layer in a format cannot be spread over devices.

    Parameters
    ----------
    layer
        The layer.
    entry
        A format that stores weights.
    devices
        How many devices there are.

    Returns
    -------
    reason
        A few words; empty where it can, or is held whole.
    """
    if devices == 1 or layer.kind not in ("linear", "") or len(layer.shape) != 2:
        return ""
    rows, columns = layer.shape
    if _ends(layer.name, ALONG_OUTPUTS):
        return f"{rows} outputs cannot be spread over {devices} devices" if rows % devices else ""
    if not _ends(layer.name, ALONG_INPUTS):
        return ""
    if columns % devices:
        return f"{columns} inputs cannot be spread over {devices} devices"
    share, size = columns // devices, entry.group_size
    if size is not None and share % size:
        return f"groups of {size} do not divide the {share} inputs that each of {devices} devices holds"
    scheme = entry.weight_scheme
    packed = scheme is not None and scheme.family == "integer" and entry.activation_scheme is None
    if scheme is not None and packed and share * scheme.bits % _WORD:
        return f"{share} inputs of {scheme.bits} bits, as each of {devices} devices holds, fill no whole 32-bit words"
    return ""


def _ends(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.endswith(f".{part}") for part in parts)
