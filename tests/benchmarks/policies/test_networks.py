from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mckp_quant as mq

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "policies" / "networks.py"


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("benchmarks_networks_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_without_data_it_says_what_is_missing_and_how_to_get_it(
    script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    for name in ("--data FOLDER", "akamaster/pytorch_resnet_cifar10", "karpathy/char-rnn", *script.FILES["resnet20"]):
        assert name in printed.err


def test_files_that_the_chosen_network_lacks_are_named(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "networks.py").touch()
    assert script.main(["--data", str(tmp_path), "--network", "chargpt"]) == 2
    first_line = capsys.readouterr().err.splitlines()[0]
    assert first_line.endswith("lacks chargpt_shakespeare.safetensors, tinyshakespeare.txt.")


def test_output_of_another_kind_is_refused_before_anything_runs(
    script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--output", "table.txt"]) == 2
    assert "must end in .md or .csv" in capsys.readouterr().err


def test_unknown_network_is_refused(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        script.main(["--network", "resnet"])
    assert "invalid choice: 'resnet'" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_uniform_formats_fit_their_average_to_the_byte(script: Any, bits: int) -> None:
    layers = [mq.Layer("a", "linear", (3, 5), 3, 0), mq.Layer("b", "conv2d", (7, 3, 3, 3), 7, 0)]
    assert script.budget_bytes(layers, Fraction(bits)) == mq.Policy.uniform(layers, f"w{bits}").costs["weight_bytes"]
    between = script.budget_bytes(layers, Fraction(bits) + Fraction(1, 2))
    assert script.budget_bytes(layers, Fraction(bits)) < between < script.budget_bytes(layers, Fraction(bits + 1))


def test_the_part_between_markers_is_replaced_and_the_rest_stays(script: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("before\n", encoding="utf-8")
    path.write_text(script.between_markers(path, "one\n") + "after\n", encoding="utf-8")
    text = script.between_markers(path, "two\n")
    assert text == f"before\n\n{script.START}\ntwo\n{script.END}\nafter\n"
    assert "two\n" in script.between_markers(tmp_path / "new.md", "two\n")


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [(0.12345, 0.0213, "0.123 ± 0.021"), (12.345, 2.13, "12.3 ± 2.1"), (0.0, 0.0, "0"), (float("nan"), 1.0, "")],
)
def test_numbers_have_two_digits_of_their_error(script: Any, value: float, stderr: float, text: str) -> None:
    assert script._number(value, stderr) == text
