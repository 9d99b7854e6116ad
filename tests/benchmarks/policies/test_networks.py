from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from benchmarks.policies import networks

if TYPE_CHECKING:
    from pathlib import Path


def test_without_data_it_says_what_is_missing_and_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert networks.main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    for name in ("--data FOLDER", "akamaster/pytorch_resnet_cifar10", "karpathy/char-rnn", *networks.FILES["resnet20"]):
        assert name in printed.err


def test_files_that_the_chosen_network_lacks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "networks.py").touch()
    assert networks.main(["--data", str(tmp_path), "--network", "chargpt"]) == 2
    first_line = capsys.readouterr().err.splitlines()[0]
    assert first_line.endswith("lacks chargpt_shakespeare.safetensors, tinyshakespeare.txt.")


def test_output_of_another_kind_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert networks.main(["--output", "table.txt"]) == 2
    assert "must end in .md or .csv" in capsys.readouterr().err


def test_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        networks.main(["--network", "resnet"])
    assert "invalid choice: 'resnet'" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_uniform_formats_fit_their_average_to_the_byte(bits: int) -> None:
    layers = [mq.Layer("a", "linear", (3, 5), 3, 0), mq.Layer("b", "conv2d", (7, 3, 3, 3), 7, 0)]
    assert networks.budget_bytes(layers, Fraction(bits)) == mq.Policy.uniform(layers, f"w{bits}").costs["weight_bytes"]
    between = networks.budget_bytes(layers, Fraction(bits) + Fraction(1, 2))
    assert networks.budget_bytes(layers, Fraction(bits)) < between < networks.budget_bytes(layers, Fraction(bits + 1))


def test_the_table_goes_between_its_markers_which_a_page_without_them_gets(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("before\n", encoding="utf-8")
    networks.add_table(path, "one\n")
    path.write_text(path.read_text(encoding="utf-8") + "after\n", encoding="utf-8")
    networks.add_table(path, "two\n")
    expected = "before\n\n<!-- networks: begin -->\n\ntwo\n\n<!-- networks: end -->\nafter\n"
    assert path.read_text(encoding="utf-8") == expected
    networks.add_table(tmp_path / "new.md", "two\n")
    assert (tmp_path / "new.md").read_text(encoding="utf-8").startswith("# Results\n")


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [(0.12345, 0.0213, "0.123 ± 0.021"), (12.345, 2.13, "12.3 ± 2.1"), (0.0, 0.0, "0"), (float("nan"), 1.0, "")],
)
def test_numbers_have_two_digits_of_their_error(value: float, stderr: float, text: str) -> None:
    assert networks._number(value, stderr) == text
