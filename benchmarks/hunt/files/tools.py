"""One valid file of each kind that other tools write, after the sources that their readers name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mckp_quant import Format, Layer, Policy
from mckp_quant.export import configuration, read_policy
from mckp_quant.export.configurations.writing import WRITTEN
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.tables import read_table
from mckp_quant.tables.sizes import read_sizes

from .kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYERS = [Layer(name, "linear", (64, 256), 64, 16384) for name in ("model.layers.1.q", "odd[1]*name", "lm_head")]
MENU = ("w4g128", "w4g64", "w4g64z", "w8", "w8a8s", "w4", "fp8_e4m3", "nvfp4", "mxfp4")
WITH_WEIGHTS = "aimet"  # says the scales of weights, which no policy holds

SHAPES = {f"model.layers.{at}.{name}": [64, 128] for at in range(2) for name in ("self_attn.q_proj", "mlp.up_proj")}
AMQ_SHAPES = {"tiny": {"n_block": 2, "linear": ["q", "v"], "linear_shape": {"q": [64, 256], "v": [32, 256]}}}
INT8 = "((16, <QuantizationDataType.int: 1>), (8, <QuantizationDataType.int: 1>))"
INT4 = "((8, <QuantizationDataType.int: 1>), (4, <QuantizationDataType.int: 1>))"
ENCODING = {
    "name": "lm_head.weight",
    "dtype": "INT",
    "enc_type": "PER_CHANNEL",
    "bw": 4,
    "is_sym": True,
    "scale": [0.5, 0.25],
    "offset": [-8, -8],
}
# The document of each tool, and what is given beside it.
TABLES: dict[str, tuple[Any, Any]] = {
    "amq": (
        {"model_name": "tiny", "dataset": "text", "loss": {"0.q": 0.01, "0.v": 0.2, "1.q": 0.01, "1.v": 0.03}},
        AMQ_SHAPES,
    ),
    "optiq": (
        {
            "base_model": "tiny",
            "candidate_bits": [4, 8],
            "group_size": 64,
            "metric": "kl_divergence_vs_reference",
            "layers": [
                {"layer_name": name, "sensitivities": {"4": 0.5, "8": 0.01}, "param_count": 8192} for name in SHAPES
            ],
        },
        None,
    ),
    "exllamav2": (
        {
            "measurement": {
                "model.layers.0.self_attn": [
                    {"accuracy": 0.75, "total_bits": 20000, "q_proj": {"bits": [4, 2], "group_size": {"4": 128}}},
                    {"accuracy": 0.9, "total_bits": 40000},
                ],
                "model.layers.1.parallel_decoder": {"attn": [{"accuracy": 0.875, "total_bits": 30000}]},
                "model.norm.norm": None,
            },
            "last_module_idx": 5,
        },
        {**SHAPES, "model.layers.1.parallel_decoder.attn.q": [64, 128]},
    ),
    "modelopt": (
        {
            "method": "gradient",
            "candidate_stats": {
                "model.layers.0.mlp.up_proj.quant_recipe": {
                    "formats": ["NVFP4_DEFAULT_CFG(effective-bits: 4.5)", "FP8_DEFAULT_CFG(effective-bits: 8.0)"],
                    "scores": [3.0, 1.0],
                    "costs": [2304.0, 4096.0],
                    "module_names": ["model.layers.0.mlp.up_proj"],
                    "cost_weight": 1.0,
                    "uncompressed_cost": 8192.0,
                }
            },
        },
        None,
    ),
    "higgs": ({"alphas": {name: 2.0 for name in SHAPES}, "errors": {"w2g64": 0.125, "w4g64": 0.0078125}}, SHAPES),
    "aimet": (
        [
            [[["input", "x"], ["weight", "model.layers.0.mlp.up_proj"]], INT8, 0.75, 0.5],
            [[["weight", "model.layers.0.mlp.up_proj"]], INT4, 0.25, 0.25],
        ],
        SHAPES,
    ),
}
MAP = "part-1.gguf:0abc1:blk.0.attn_q.weight:shape=(256, 64):dtype=q4_K:elements=16384:bytes=9216\n"


def foreign_files(folder: Path) -> list[Kind]:
    """Write one file of each kind into a folder.

    Parameters
    ----------
    folder
        An empty folder.

    Returns
    -------
    kinds
        The files with their readers.
    """
    found = []
    for name, (document, shapes) in TABLES.items():
        beside = None
        if shapes is not None:
            beside = folder / f"{name}_shapes.json"
            beside.write_text(json.dumps(shapes), encoding="utf-8")
        found.append(Kind(f"{name}.json", json.dumps(document).encode(), _table_reader(beside)))
    for name, wanted in WRITTEN.items():
        if name != WITH_WEIGHTS:
            takes = TARGETS[wanted.capability or ""].takes
            chosen = next(each for each in MENU if takes(LAYERS[0], Format.named(each)))
            policy = Policy(tuple(layer.name for layer in LAYERS[:2]), (Format.named(chosen),) * 2)
            said = configuration(policy, name, LAYERS)
            found.append(Kind(f"said_{name}.json", json.dumps(said).encode(), _read_configuration))
    texts = {"types.txt": "attn_q=q4_k\nffn_down=q6_k\n", "aimet_encodings.json": json.dumps(_encodings())}
    found += [Kind(name, text.encode(), _read_configuration) for name, text in texts.items()]
    sizes = {
        "shapes.json": json.dumps(SHAPES),
        "blocks.json": json.dumps(AMQ_SHAPES),
        "shapes.csv": 'name,shape,bits\na,"64,128",4\nb,"8,8",8\n',
        "tensors.map": MAP,
    }
    found += [Kind(name, text.encode(), read_sizes) for name, text in sizes.items()]
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    found.append(Kind("header.safetensors", len(header).to_bytes(8, "little") + header + bytes(16), read_sizes))
    for kind in found:
        (folder / kind.name).write_bytes(kind.content)
    return found


def _encodings() -> dict[str, Any]:
    return {"version": "1.0.0", "param_encodings": [ENCODING], "activation_encodings": [], "quantizer_args": {}}


def _read_configuration(path: Path) -> Policy:
    return read_policy(path, layers=[layer.name for layer in LAYERS])


def _table_reader(shapes: Path | None) -> Callable[[Path], object]:
    return lambda path: read_table(path, shapes=shapes)
