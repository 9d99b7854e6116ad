"""Configurations of other tools: what is written reads back, and files made after their sources are read."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, Policy, apply
from mckp_quant.export import ExportMismatch, configuration, export, read_policy
from mckp_quant.export.configurations import CONFIGURATIONS, configuration_of
from mckp_quant.export.configurations import mlx as mlx_module
from mckp_quant.export.configurations.writing import WRITTEN, ConfigurationOnly
from mckp_quant.formats.capabilities import TARGETS

from ..networks import mixed

# Names that begin and end alike, and signs that patterns of some tools mean something by.
NAMES = ("model.layers.1.q", "model.layers.10.q", "model.layers.1.q_b", "odd[1]*name", "a+b.(c)", "lm_head")
LAYERS = [Layer(name, "linear", (64, 256), 64, 16384) for name in NAMES]
MENU = [
    *(f"w{bits}{group}{zero}" for bits in (2, 3, 4, 8) for group in ("", "g32", "g64", "g128") for zero in ("", "z")),
    *("w4t", "w8t", "mxfp4", "nvfp4", "fp8_e4m3", "fp8_e4m3a8d", "w8a8s", "w8a8sd", "w4a8", "a8s", "float"),
]
WITHOUT_WEIGHTS = sorted(set(WRITTEN) - {"aimet"})
SEEDS = st.randoms(use_true_random=False)


def taken(to: str) -> list[str]:
    row = TARGETS[WRITTEN[to].capability or ""]
    return [name for name in MENU if name == "float" or row.takes(LAYERS[0], Format.named(name))]


def written(to: str, policy: Policy) -> Any:
    return configuration(policy, to, LAYERS)


@pytest.mark.parametrize("to", WITHOUT_WEIGHTS)
def test_policies_come_back_from_their_configurations_as_they_were(to: str, tmp_path: Path) -> None:
    menu = taken(to)
    assert len(menu) > 3

    @settings(max_examples=15)
    @given(SEEDS)
    def check(random: Any) -> None:
        formats = [Format.named(random.choice(menu)) for _ in NAMES]
        formats[random.randrange(len(NAMES))] = Format.named(random.choice([each for each in menu if each != "float"]))
        policy = Policy(NAMES, tuple(formats))
        document = written(to, policy)
        reader = configuration_of(document)
        assert reader is not None
        assert reader.file == WRITTEN[to].file
        path = tmp_path / WRITTEN[to].file
        path.write_text(json.dumps(document))
        assert read_policy(path, layers=NAMES) == policy
        alone = read_policy(path)  # full names, so that no network is needed
        assert all(alone[name].name == policy[name].name for name in alone.layer_names)
        assert {n for n in NAMES if policy[n].name != "float"} <= set(alone.layer_names)

    check()


@pytest.mark.parametrize("to", sorted(WRITTEN))
def test_an_export_is_the_configuration_alone_and_reads_back(to: str, tmp_path: Path) -> None:
    @settings(max_examples=3)
    @given(st.integers(0, 2**31))
    def check(seed: int) -> None:
        network = mixed()
        policy = network.policy(WRITTEN[to].capability, seed)
        policy = Policy((*policy.layer_names,), (*policy.formats[:1], first_of(to), *policy.formats[2:]))
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "made"
            report = export(policy, to, model=network.model, output=output)
            assert report.files == (WRITTEN[to].file,)
            assert [each.found for each in report.layers] == [entry.name for entry in policy.formats]
            names = [name for name, _ in network.model.named_modules() if name]
            read = read_policy(output, layers=names)
            assert all(read[name].name == policy[name].name for name in policy.layer_names)
            assert "no weights are written" in report.notes[0]

    def first_of(to: str) -> Format:
        row = TARGETS[WRITTEN[to].capability or ""]
        layer = mixed().layers[1]
        return next(Format.named(name) for name in MENU if row.takes(layer, Format.named(name)))

    check()


def test_encodings_of_aimet_are_those_of_the_rounded_weights(tmp_path: Path) -> None:
    network = mixed()
    names = ("w4z", "w3g32", "w8t")
    policy = Policy(("fc", "fc1", "inner.fc"), tuple(map(Format.named, names)))
    export(policy, "aimet", model=network.model, output=tmp_path / "made")
    document = json.loads((tmp_path / "made" / "model.encodings.json").read_text())
    rounded = dict(apply(network.model, policy).named_parameters())
    kinds = [entry["enc_type"] for entry in document["param_encodings"]]
    assert kinds == ["PER_CHANNEL", "PER_BLOCK", "PER_TENSOR"]
    for entry in document["param_encodings"]:
        weight = rounded[entry["name"]].detach().double().numpy().reshape(len(entry["scale"]), -1)
        scale, offset = (np.array(entry[key], dtype=float)[:, None] for key in ("scale", "offset"))
        codes = weight / scale - offset  # AIMET: weight = scale * (code + offset), codes from 0
        assert np.allclose(codes, np.round(codes), atol=1e-4)
        assert codes.min() > -0.5
        assert codes.max() < 2 ** entry["bw"] - 0.5
        assert entry["is_sym"] == (entry["bw"] != 4)


def test_layers_that_nobody_names_stay_float(tmp_path: Path) -> None:
    few = Policy(NAMES[:2], (Format.named("w4g64z"), Format.named("w8g64z")))
    for to in ("gptqmodel", "auto_round", "mlx"):
        path = tmp_path / f"{to}.json"
        path.write_text(json.dumps(written(to, few)))
        read = read_policy(path, layers=NAMES)
        assert [entry.name for entry in read.formats] == ["w4g64z", "w8g64z", *["float"] * 4]


def test_names_that_the_network_lacks_never_pass(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"unknown layer 'model\.layers\.1\.w': did you mean 'model\.layers\.1\.q'"):
        written("mlx", Policy(("model.layers.1.w",), (Format.named("w4g64z"),)))
    for to in WITHOUT_WEIGHTS:
        chosen = Format.named("w4g64z" if to == "mlx" else "w4g64")
        path = tmp_path / f"{to}.json"
        path.write_text(json.dumps(written(to, Policy(NAMES, (chosen,) * len(NAMES)))))
        with pytest.raises(InvalidInput, match=r"unknown layer in the configuration for .*'lm_head'"):
            read_policy(path, layers=NAMES[:-1])


def test_what_a_tool_cannot_say_is_refused() -> None:
    one = (LAYERS[0],)
    for to, name, words in (
        ("gptqmodel", "mxfp4", "gptqmodel cannot take layer .* no e2m1 weights"),
        ("mlx", "w4g64", "mlx cannot take layer .* every scale of weights has a zero point there"),
        ("modelopt", "w4g64z", "modelopt cannot take layer .* no zero points of weights"),
        ("modelopt", "w8a8", "modelopt cannot take layer .* no zero points of activations"),
        ("aimet", "w4", "aimet: encodings hold the scales of layer .* export with the network, model="),
    ):
        with pytest.raises(InvalidInput, match=words):
            configuration(Policy((NAMES[0],), (Format.named(name),)), to, one)
    with pytest.raises(InvalidInput, match="unknown target of a configuration 'gptq'"):
        configuration(Policy((NAMES[0],), (Format.named("w4"),)), "gptq", one)
    with pytest.raises(InvalidInput, match="unknown target of a configuration 'gptq'"):
        assert ConfigurationOnly("gptq").capability
    for to in ("gptqmodel", "mlx"):
        with pytest.raises(InvalidInput, match="every layer stays float, and there is nothing"):
            configuration(Policy((NAMES[0],), (Format.named("float"),)), to, one)
    own = Format("own", 4, stored_bits=lambda layer: 4)
    with pytest.raises(InvalidInput, match="no bits of weights that are known here"):
        configuration(Policy((NAMES[0],), (own,)), "coreml", one)
    with pytest.raises(
        InvalidInput, match="mlx cannot say the format 'w4' of layer 'a': its integers have zero points"
    ):
        mlx_module.MLX.write([row_of("w4")])  # type: ignore[misc]
    with pytest.raises(InvalidInput, match="model is missing"):
        export(Policy((NAMES[0],), (Format.named("w4"),)), "gptqmodel", output="nowhere")


def row_of(name: str) -> Any:
    from mckp_quant.export.configurations.contract import Row

    return Row(Layer("a", "linear", (64, 64), 64, None), Format.named(name))


def test_a_configuration_that_says_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx_module, "_settings", lambda row: {"group_size": 32, "bits": 8, "mode": "affine"})
    with pytest.raises(
        ExportMismatch, match=r"mlx: layer .* was asked in 'w4g64z', but the configuration has it in 'w8g32z'"
    ):
        configuration(Policy(NAMES[:1], (Format.named("w4g64z"),)), "mlx", LAYERS)


def test_formats_of_tables_that_count_scales_their_own_way_are_written_by_name() -> None:
    from mckp_quant.formats.format import RecordedBits

    own = Format("w4g64z", 4, stored_bits=RecordedBits(((NAMES[0], 99),)))
    document = configuration(Policy(NAMES[:1], (own,)), "mlx", LAYERS)
    assert document[NAMES[0]] == {"group_size": 64, "bits": 4, "mode": "affine"}


# Files of others, after the sources that `reference` names: document, names of the network, formats.
LLAMA = ("model.layers.0.q_proj", "model.layers.0.up_proj", "model.layers.1.up_proj", "lm_head")
FOREIGN: dict[str, tuple[Any, list[str]]] = {
    "GPTQModel: the first rule that matches the beginning counts, negative ones before all others": (
        {
            **{"bits": 4, "group_size": 128, "sym": True, "quant_method": "gptq", "checkpoint_format": "gptq"},
            "dynamic": {
                r"+:.*\.up_proj.*": {"bits": 8, "group_size": 32, "sym": False},
                r"model\.layers\.1\..*": {"bits": 2},
                "-:lm_head": {},
            },
        },
        ["w4g128", "w8g32z", "w8g32z", "float"],
    ),
    "auto-round: names, patterns, and the blocks": (
        {
            **{"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int"},
            "block_name_to_quantize": "model.layers",
            "extra_config": {"model.layers.0.q_proj": {"bits": 8}, r".*\.1\..*": {"bits": 16, "act_bits": 16}},
        },
        ["w8g128", "w4g128", "float", "float"],
    ),
    "auto-round: a head that has a format of its own": (
        {
            **{"quant_method": "intel/auto-round", "bits": 4, "group_size": -1, "sym": False},
            "block_name_to_quantize": ["model.layers"],
            "extra_config": {"lm_head": {"bits": 4, "group_size": 32, "data_type": "mx_fp"}},
        },
        ["w4z", "w4z", "w4z", "mxfp4"],
    ),
    "ModelOpt: quantized_layers of hf_quant_config.json": (
        {
            "producer": {"name": "modelopt", "version": "0.47.0"},
            "quantization": {
                "quant_algo": "MIXED_PRECISION",
                "kv_cache_quant_algo": None,
                "quantized_layers": {
                    LLAMA[0]: {"quant_algo": "FP8"},
                    LLAMA[1]: {"quant_algo": "W4A16_AWQ", "group_size": 64, "has_zero_point": False},
                    LLAMA[2]: {"quant_algo": "NVFP4", "group_size": 16},
                },
            },
        },
        ["fp8_e4m3ta8", "w4g64", "NVFP4", "float"],
    ),
    "ModelOpt: one algorithm and excluded modules, in a config.json": (
        {"quantization_config": {"quant_method": "modelopt", "quant_algo": "W8A16", "ignore": ["lm_head", "*up_proj"]}},
        ["w8", "float", "float", "float"],
    ),
    "ModelOpt: quant_cfg, of which the last entry counts": (
        {
            "quant_cfg": [
                {"quantizer_name": "*", "enable": False},
                {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": 4, "block_sizes": {"-1": 32}}},
                {"quantizer_name": "*q_proj.weight_quantizer", "cfg": {"num_bits": [4, 3], "axis": None}},
                {"quantizer_name": "*q_proj.input_quantizer", "cfg": {"num_bits": [4, 3], "axis": None}},
                {"quantizer_name": "*lm_head*", "enable": False},
            ],
            "algorithm": "max",
        },
        ["fp8_e4m3ta8", "w4g32", "w4g32", "float"],
    ),
    "MLX: the quantization of a config.json": (
        {
            "model_type": "llama",
            "quantization": {
                "group_size": 64,
                "bits": 4,
                "mode": "affine",
                LLAMA[1]: {"group_size": 32, "bits": 8},
                LLAMA[2]: {"group_size": 32, "bits": 4, "mode": "mxfp4"},
                "lm_head": False,
            },
        },
        ["w4g64z", "w8g32z", "mxfp4", "float"],
    ),
    "MLX: mxfp8": (
        {"group_size": 32, "bits": 8, "mode": "mxfp8"},
        ["mxfp8"] * 4,
    ),
    "bitsandbytes: four bits, and modules that are skipped": (
        {
            "quantization_config": {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
                "llm_int8_skip_modules": ["lm_head", "q_proj"],
            }
        },
        ["float", "bnb_nf4_nested", "bnb_nf4_nested", "float"],
    ),
    "bitsandbytes: eight bits": (
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        ["w8", "w8", "w8", "float"],
    ),
    "llm-compressor: classes and an ignored layer": (
        {
            "quant_stage": {
                "quant_modifiers": {
                    "GPTQModifier": {
                        "ignore": ["lm_head"],
                        "config_groups": {
                            "group_0": {
                                "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
                                "targets": ["re:.*up_proj"],
                            },
                            "group_1": {
                                "weights": {
                                    "num_bits": 4,
                                    "type": "int",
                                    "symmetric": False,
                                    "strategy": "group",
                                    "group_size": 128,
                                },
                                "targets": ["Linear"],
                            },
                        },
                    }
                }
            }
        },
        ["w4g128z", "w8", "w8", "float"],
    ),
    "coremltools: types that nobody said": (
        {
            "module_name_configs": {
                LLAMA[0]: {"weight_dtype": "uint8"},
                LLAMA[1]: {"weight_dtype": "float32"},
                LLAMA[2]: {"weight_dtype": "int4", "granularity": "per_tensor"},
            }
        },
        ["w8", "float", "w4t", "float"],
    ),
    "AIMET: floats beside integers": (
        {
            "version": "1.0.0",
            "param_encodings": [
                {"name": f"{LLAMA[0]}.weight", "dtype": "INT", "bw": 8, "is_sym": True, "enc_type": "PER_CHANNEL"},
                {"name": f"{LLAMA[1]}.weight", "dtype": "FLOAT", "bw": 16, "enc_type": "PER_TENSOR"},
            ],
        },
        ["w8", "float", "float", "float"],
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_files_of_others_are_read_as_their_tools_read_them(what: str, tmp_path: Path) -> None:
    document, formats = FOREIGN[what]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    read = read_policy(path, layers=LLAMA)
    assert [read[name].name for name in LLAMA] == formats


@pytest.mark.parametrize(
    "what", [key for key in FOREIGN if re.search(r"GPTQ|auto-round|ModelOpt: [oq]uant_cfg|mxfp8|bits|cla", key)]
)
def test_rules_without_a_network_are_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(FOREIGN[what][0]))
    with pytest.raises(InvalidInput, match=r"give the names of the network's layers \(layers, or --shapes FILE\)"):
        read_policy(path)


def test_bits_of_tools_own_formats(tmp_path: Path) -> None:
    layer = Layer("a", "linear", (64, 256), 64, None)
    path = tmp_path / "config.json"
    for document, bits in (
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4 * 16384 + 32 * 256),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            4 * 16384 + 8 * 256 + 32,
        ),
        ({"quant_algo": "NVFP4", "group_size": 16}, 4 * 16384 + 8 * 1024 + 32),
        ({"quant_algo": "W4A8_AWQ", "group_size": 128}, 4 * 16384 + 16 * 128),
    ):
        path.write_text(json.dumps(document))
        assert read_policy(path, layers=["a"])["a"].storage_bits(layer) == bits


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"quant_algo": "NVFP5"}, "unknown quant_algo of ModelOpt 'NVFP5'"),
        (
            {"quant_cfg": [{"quantizer_name": "lm_head.weight_quantizer", "cfg": {"num_bits": [2, 1]}}]},
            "stand for no built-in",
        ),
        ({"group_size": 64, "bits": 4, "mode": "nf4"}, "mlx: the mode 'nf4'"),
        ({"lm_head": {"bits": 4, "act_bits": 8}}, "auto_round: activations of 8 bits"),
        ({"lm_head": {"bits": 4, "data_type": "fp4_v2"}}, "auto_round: the data type 'fp4_v2'"),
        ({"module_name_configs": {"lm_head": {"weight_dtype": "fp8_e4m3"}}}, "coreml: the weight_dtype 'fp8_e4m3'"),
        ({"param_encodings": [{"name": "lm_head", "dtype": "INT", "enc_type": "LPBQ"}]}, "aimet: the enc_type 'LPBQ'"),
        (
            {"layers": ["lm_head"], "compress_weights": [{"mode": "NF4", "ignored_scope": {"names": []}}]},
            "nncf: the mode 'NF4'",
        ),
        (
            {"layers": ["lm_head"], "compress_weights": [{"mode": "INT8_SYM", "ignored_scope": {"names": ["x"]}}]},
            "nncf: the ignored node 'x'",
        ),
    ],
)
def test_what_stands_for_no_format_is_refused(document: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_policy(path, layers=["lm_head"])


def test_tensor_types_of_llama_cpp(tmp_path: Path) -> None:
    path = tmp_path / "types.txt"
    path.write_text("^blk\\.0\\.attn_q\\.weight$=q4_k\nffn_.*=Q8_0\n\noutput=bf16\n")
    names = ("blk.0.attn_q", "blk.0.ffn_up", "blk.10.ffn_up", "output", "token_embd")
    read = read_policy(path, layers=names)
    assert [entry.name for entry in read.formats] == ["q4_k", "w8g32", "w8g32", "float", "float"]
    with pytest.raises(InvalidInput, match=r"the pattern 'ffn_\.\*' may be in many names"):
        read_policy(path)
    with pytest.raises(
        InvalidInput, match=r"unknown layer in the configuration for llama\.cpp 'blk\.0\.attn_q\.weight'"
    ):
        read_policy(path, layers=names[1:])
    path.write_text("^blk\\.0\\.attn_q\\.weight$=q4_k\n")
    assert read_policy(path).layer_names == ("blk.0.attn_q",)


def test_a_checkpoint_says_which_layers_are_packed(tmp_path: Path) -> None:
    names = {
        "model.layers.0.q.qweight": (8, 64),
        "model.layers.0.q.scales": (1, 64),
        "lm_head.weight": (64, 64),
        "norm.weight": (64,),
    }
    header = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in names.items()}
    )
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    said = {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True}
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said}))
    assert read_policy(tmp_path) == Policy(
        ("model.layers.0.q", "lm_head"), (Format.named("w4g64"), Format.named("float"))
    )
    names = {"a.weight": (8, 1), "a.weight.absmax": (4,), "b.weight": (8, 8)}
    header = json.dumps(
        {name: {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]} for name, shape in names.items()}
    )
    (tmp_path / "bnb").mkdir()
    (tmp_path / "bnb" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    said = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (tmp_path / "bnb" / "config.json").write_text(json.dumps(said))
    found = read_policy(tmp_path / "bnb")
    assert {name: found[name].name for name in found.layer_names} == {"a": "bnb_fp4", "b": "float"}
    told = {"quantization": {"quant_algo": "W8A16", "exclude_modules": []}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(told))
    assert [each.name for each in read_policy(tmp_path).formats] == ["w8", "float"]


def test_every_configuration_says_after_what_it_was_made() -> None:
    assert all(re.search(r"\d", each.reference) for each in CONFIGURATIONS)
    assert len({each.name for each in CONFIGURATIONS}) == len(CONFIGURATIONS)
