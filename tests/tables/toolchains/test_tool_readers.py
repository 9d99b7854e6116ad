"""Files of other tools, made after the sources that each reader names; the published ones where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant import InvalidInput, Layer, allocate, read_table
from mckp_quant.cli import main
from mckp_quant.solvers import Status
from mckp_quant.tables import Handling
from mckp_quant.tables.toolchains import READERS, reader_of

if TYPE_CHECKING:
    from mckp_quant import SensitivityTable

SHAPES = {f"model.layers.{at}.{name}": [64, 128] for at in range(2) for name in ("self_attn.q_proj", "mlp.up_proj")}
QPARAMS = {"group_size": {"4": 128, "2": 64}, "bits": [4, 2], "bits_prop": [0.25, 0.75], "scale_bits": 4}

# dlwns147/amq 1909fec, amq/amq_sensitivity.py: all linears at 4 bits, one at 2.
AMQ = {"model_name": "tiny", "dataset": "wikitext2", "loss": {"0.q": 0.011, "0.v": 0.219, "1.q": 0.0107, "1.v": 0.03}}
AMQ_SHAPES = {"tiny": {"n_block": 2, "linear": ["q", "v"], "linear_shape": {"q": [64, 256], "v": [32, 256]}}}
# mlx-optiq 0.7.7, optiq/models/llm.py::_persist_sensitivity.
OPTIQ = {
    "base_model": "tiny",
    "candidate_bits": [4, 8],
    "group_size": 64,
    "metric": "kl_divergence_vs_reference",
    "layers": [
        {"layer_name": name, "sensitivities": {"4": 0.5 + at, "8": 0.01}, "param_count": 8192}
        for at, name in enumerate(SHAPES)
    ],
}
# exllamav2 0.3.2, exllamav2/conversion/measure.py: a list of options for each attention and MLP.
EXLLAMAV2 = {
    "measurement": {
        "model.layers.0.self_attn": [
            {"accuracy": 0.75, "total_bits": 20000, "q_proj": QPARAMS},
            {"accuracy": 0.96875, "total_bits": 40000, "q_proj": QPARAMS},
        ],
        "model.layers.0.mlp": [{"accuracy": 0.5, "total_bits": 19000, "up_proj": QPARAMS}],
        "model.layers.1.parallel_decoder": {
            "attn": [{"accuracy": 0.875, "total_bits": 30000}],
            "mlp": [{"accuracy": 0.25, "total_bits": 1000}, {"accuracy": 0.5, "total_bits": 2000}],
        },
        "model.norm.norm": None,
    },
    "last_module_idx": 5,
}
# NVIDIA/Model-Optimizer a2fbac7, algorithms.py::initialize_candidate_stats; recipes as their texts.
MODELOPT: dict[str, Any] = {
    "method": "gradient",
    "candidate_stats": {
        f"model.layers.{at}.mlp.up_proj.quant_recipe": {
            "formats": ["NVFP4_DEFAULT_CFG(effective-bits: 4.5)", "FP8_DEFAULT_CFG(effective-bits: 8.0)"],
            "scores": [3.0 + at, 1.0],
            "costs": [8192 * 4.5 / 16, 8192 * 0.5],
            "module_names": [f"model.layers.{at}.mlp.up_proj"],
            "cost_weight": 1.0,
            "uncompressed_cost": 8192.0,
        }
        for at in range(2)
    },
}
# Malinovskii et al. 2025: alpha of a layer times the relative squared error of a grid.
HIGGS = {"alphas": {name: 2.0 + at for at, name in enumerate(SHAPES)}, "errors": {"w2g64": 0.125, "w4g64": 0.0078125}}
# quic/aimet c51b284, mixed_precision_algo.py::_export_accuracy_list and QuantizerGroup.to_list.
INT8 = "((16, <QuantizationDataType.int: 1>), (8, <QuantizationDataType.int: 1>))"
INT4 = "((8, <QuantizationDataType.int: 1>), (4, <QuantizationDataType.int: 1>))"
AIMET = [
    [[["input", "x"], ["weight", "model.layers.0.mlp.up_proj"]], INT8, 0.75, 0.5],
    [[["weight", "model.layers.1.mlp.up_proj"]], INT8, 0.5, 0.5],
    [[["weight", "model.layers.0.mlp.up_proj"]], INT4, 0.25, 0.25],
    [[["weight", "model.layers.1.mlp.up_proj"]], INT4, 0.125, 0.25],
    [[["output", "softmax"]], INT8, 0.1, 0.9],
]
FILES: dict[str, tuple[Any, Any]] = {
    "AMQ": (AMQ, AMQ_SHAPES),
    "mlx-optiq": (OPTIQ, None),
    "exllamav2": (
        EXLLAMAV2,
        {
            **SHAPES,
            "model.layers.1.parallel_decoder.attn.q": [64, 128],
            "model.layers.1.parallel_decoder.mlp.up": [32, 128],
        },
    ),
    "ModelOpt": (MODELOPT, None),
    "HIGGS": (HIGGS, SHAPES),
    "AIMET": (AIMET, SHAPES),
}


def written(folder: Path, document: Any, name: str = "table.json") -> str:
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)


def read(folder: Path, tool: str, **kept: str) -> SensitivityTable:
    document, shapes = FILES[tool]
    given = None if shapes is None else written(folder, shapes, "shapes.json")
    return read_table(written(folder, document), handling=Handling.of(kept), shapes=given).table


def test_every_reader_has_a_file_here_and_knows_its_own_only() -> None:
    assert {reader.name for reader in READERS} == set(FILES)
    for name, (document, _) in FILES.items():
        assert [reader.name for reader in READERS if reader.recognises(document)] == [name]
    assert reader_of({"loss": 3}) is None


@pytest.mark.parametrize("tool", FILES)
def test_one_command_solves_and_the_certificate_holds(
    tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, shapes = FILES[tool]
    given = [] if shapes is None else ["--shapes", written(tmp_path, shapes, "shapes.json")]
    command = ["solve", written(tmp_path, document), *given, "--budget", "weight_bytes=90%", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"].startswith("proved optimal")
    assert found["bound"] <= found["predicted"]
    assert found["costs"]["weight_bytes"] <= found["budgets"][0]["limit"]


def test_amq_counts_from_the_least_of_the_file_and_stores_as_hqq(tmp_path: Path) -> None:
    table = read(tmp_path, "AMQ")
    assert table.layer_names == ("0.q", "0.v", "1.q", "1.v")
    assert table.loss[:, 0].tolist() == pytest.approx([0.0003, 0.2083, 0.0, 0.0193])
    assert table.loss[:, 1].tolist() == [0.0] * 4
    assert table.formats[0].storage_bits(table.layers[0]) == 64 * 256 * 2 + 64 * 2 * 32
    with pytest.raises(InvalidInput, match="unknown model in the shapes 'tiny'"):
        read_table(written(tmp_path, AMQ), shapes=written(tmp_path, {"tin": AMQ_SHAPES["tiny"]}, "other.json"))
    with pytest.raises(InvalidInput, match="nothing says how many weights layer '0\\.q' has"):
        read_table(written(tmp_path, AMQ))


def test_optiq_stores_as_mlx_and_a_bare_list_is_read_too(tmp_path: Path) -> None:
    table = read(tmp_path, "mlx-optiq")
    assert table.format_names == ("w4g64z", "w8g64z")
    assert table.loss[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert table.formats[0].storage_bits(table.layers[0]) == 8192 * 4 + 128 * 32
    bare = read_table(written(tmp_path, OPTIQ["layers"])).table
    assert (bare.loss == table.loss).all()
    broken = [*OPTIQ["layers"], {"sensitivities": {}}]  # type: ignore[misc]
    with pytest.raises(InvalidInput, match=r"row 4, column 'layer_name': 'layer_name' is missing: the file is damaged"):
        read_table(written(tmp_path, broken))


def test_exllamav2_options_are_choices_of_their_module(tmp_path: Path) -> None:
    table = read(tmp_path, "exllamav2")
    assert table.layer_names[2:] == ("model.layers.1.parallel_decoder.attn", "model.layers.1.parallel_decoder.mlp")
    assert table.format_names == ("self_attn-0", "self_attn-1", "mlp-0", "attn-0", "mlp-1")
    assert table.loss[0, :2].tolist() == [0.25, 0.03125]
    assert table.formats[1].storage_bits(table.layers[0]) == 40000
    assert table.layers[0].elements == 64 * 128
    numbered = json.loads(json.dumps(EXLLAMAV2))
    for options in numbered["measurement"].values():
        for option in (
            [each for part in options.values() for each in part] if isinstance(options, dict) else options or ()
        ):
            option["numel"] = 4096  # as older versions wrote
    assert read_table(written(tmp_path, numbered)).table.layers[0].elements == 4096


def test_modelopt_costs_are_bits_of_sixteen(tmp_path: Path) -> None:
    table = read(tmp_path, "ModelOpt")
    assert table.layer_names == ("model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj")
    assert table.format_names == ("NVFP4_DEFAULT_CFG", "FP8_DEFAULT_CFG")
    assert [entry.storage_bits(table.layers[0]) for entry in table.formats] == [36864, 65536]
    assert table.layers[0].elements == 8192
    lost = json.loads(json.dumps(MODELOPT["candidate_stats"]))
    lost["model.layers.1.mlp.up_proj.quant_recipe"]["costs"].pop()
    with pytest.raises(InvalidInput, match="2 formats, 2 scores and 1 costs: give one each"):
        read_table(written(tmp_path, lost))


def test_higgs_is_a_product(tmp_path: Path) -> None:
    table = read(tmp_path, "HIGGS")
    assert table.loss.tolist() == [[0.125 * alpha, 0.0078125 * alpha] for alpha in (2.0, 3.0, 4.0, 5.0)]
    own = {"alphas": {"a": 3.0}, "errors": {"a": {"w2": 0.5, "w4": None}}}
    found = read_table(written(tmp_path, own), layers=[Layer("a", "", (4, 4), 4, None)], handling=Handling("drop"))
    assert found.table.loss[0, 0] == 1.5
    assert [each.kind for each in found.findings] == ["missing"]
    with pytest.raises(InvalidInput, match="has factors of HIGGS, but no relative squared errors"):
        read_table(written(tmp_path, {"alphas": {"a": 1.0}}))


def test_aimet_loses_what_is_below_the_best(tmp_path: Path) -> None:
    table = read(tmp_path, "AIMET")
    assert table.format_names == ("aimet_w8a16", "aimet_w4a8")
    assert table.loss.tolist() == [[0.0, 0.5], [0.25, 0.625]]
    assert [entry.activation_bits for entry in table.formats] == [16, 8]
    with pytest.raises(InvalidInput, match="accuracies of activations only"):
        read_table(written(tmp_path, AIMET[-1:]))
    for candidate, words in (
        ("((8, <QuantizationDataType.int: 1>),)", "says bits of activations only"),
        ("((16, float), (16, float))", "is no candidate of integer bits"),
    ):
        with pytest.raises(InvalidInput, match=words):
            read_table(written(tmp_path, [[[["weight", "a"]], candidate, 0.5, 1.0]]))


def test_odd_cells_of_a_tool_are_listed_and_never_mended(tmp_path: Path) -> None:
    document = json.loads(json.dumps(OPTIQ))
    document["layers"][0]["sensitivities"] = {"4": -0.25, "8": float("nan")}
    path = written(tmp_path, document)
    with pytest.raises(InvalidInput, match=r"2 cells that need a decision.*\n.*\n.*-0.25 is a negative loss - refused"):
        read_table(path, handling=Handling(missing="error"))
    kept = read_table(path, handling=Handling(missing="drop", negative="keep"))
    assert kept.table.loss[0, 0] == -0.25
    assert {each.answer for each in kept.findings} == {"drop", "keep"}


def test_a_document_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"it has no schema, and is no file of AMQ, mlx-optiq, exllamav2, ModelOpt"):
        read_table(written(tmp_path, {"accuracy": 0.5}))


@pytest.fixture
def published() -> Path:
    folder = os.environ.get("MCKP_QUANT_TABLES")
    if not folder:
        pytest.skip("tables that others published: name their folder in MCKP_QUANT_TABLES")
    return Path(folder)


def test_published_tables_solve(published: Path) -> None:
    amq = read_table(published / "amq/llama-2-7b_w2_jsd.json", shapes=published / "amq/llama_shapes.json").table
    kld = published / "thireus_qwen3_4b_thinking"
    keep = Handling(missing="drop", negative="keep", non_monotone="keep")
    wide = read_table(kld / "kld_results.csv", shapes=kld / "joined_long.csv", handling=keep).table
    long = read_table(kld / "joined_long.csv", handling=keep).table
    assert amq.loss.shape == (224, 2)
    assert wide.loss.shape == (253, 7)
    for table in (amq, wide, long):
        policy = allocate(table, {"weight_bytes": "80%"}).policy
        assert policy.status.startswith(("proved optimal", str(Status.OPTIMAL)))
        assert policy.bound <= policy.predicted
