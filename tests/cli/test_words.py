"""What the command line says where something is wrong, and what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mckp_quant.cli import main
from mckp_quant.cli.entry import in_options
from mckp_quant.cli.networks import Source
from mckp_quant.tables import read_costs

from ..drawn_tables import make_table

NET = """
import torch

class Network(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 3)

def model():
    return torch.nn.Linear(4, 3)

def needy(width, depth):
    return torch.nn.Linear(4, 3)

def choosy(weights=None):
    return torch.nn.Linear(4, 3)

def data():
    yield torch.ones(2, 4)
    yield torch.zeros(2, 4)
    raise RuntimeError("one batch too many")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0], [7.0, 1.0, 0.0]]).save("table.json")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(list(arguments)) == code
    return capsys.readouterr().err


def test_a_class_is_no_network_and_arguments_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    measure = ("--data", "net.py:data", "--max-batches", "2", "--formats", "w4", "-o", "t.json")
    assert "model 'net.py:Network' is a class, which would be made with random weights: name a function" in said(
        capsys, "measure", "net.py:Network", *measure
    )
    assert "model 'net.py:needy' needs the arguments width, depth, and is called without any" in said(
        capsys, "measure", "net.py:needy", *measure
    )
    assert "model 'net.py:choosy' is called with weights=None: check that these are the trained weights" in said(
        capsys, "measure", "net.py:choosy", *measure, code=0
    )


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            "gpu",
            "--device 'gpu' is no device: write cpu, cuda (or cuda:1, ...) for GPUs of NVIDIA and AMD, mps on a Mac",
        ),
        ("cuda:x", "--device 'cuda:x' cannot be used here: PyTorch says"),
        ("cuda:99", "--device 'cuda:99' cannot be used here: PyTorch says"),
    ],
)
def test_devices_that_are_none_are_refused_in_words(
    device: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    err = said(capsys, "measure", "net.py:model", "--data", "net.py:data", "-o", "t.json", "--device", device)
    assert words in err
    assert err.count("\n") == 1


def test_no_more_batches_are_read_than_asked_for(here: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    source = Source("net.py:model", data="net.py:data")
    assert len(source.some_batches(source.network(), 2)) == 2
    with pytest.raises(Exception, match="one batch too many"):
        source.some_batches(source.network(), None)
    with pytest.raises(Exception, match=r"--max-batches is 0: it must be a whole number, at least 1"):
        source.some_batches(source.network(), 0)


def test_validate_reads_no_more_and_says_its_verdict_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    data = ("--data", "net.py:data", "--max-batches", "2")
    assert main(["measure", "net.py:model", *data, "--formats", "w1,w8", "-o", "t.json"]) == 0
    assert main(["solve", "t.json", "--budget", "weight_bytes=60%", "-o", "p.json"]) == 0
    capsys.readouterr()
    main(["validate", "p.json", "--model", "net.py:model", *data])
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("to run on 2 batches: ")
    assert captured.out.rstrip()


def test_odd_cells_have_a_line_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.csv").write_text("layer,shape,w4,w8\na,8x8,1,\nb,8x8,-1,0.1\n")
    lines = said(capsys, "solve", "odd.csv", "--budget", "weight_bytes=80%").splitlines()
    assert lines[0].startswith("mckp-quant: odd.csv has 3 cells that need a decision; say what to do about them (")
    assert "--on: missing=drop" in lines[0]
    assert all(line.startswith("- odd.csv, row ") for line in lines[1:])
    assert len(lines) == 4


def test_the_words_are_not_pythons(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solve = ("solve", "table.json", "--budget", "weight_bytes=50%")
    for option, wanted in (
        ("--seed", "a whole number"),
        ("--max-formats", "a whole number"),
        ("--seconds", "a number"),
    ):
        assert said(capsys, *solve, option, "x") == f"mckp-quant: Invalid value for '{option}': give {wanted}\n"
    missing = said(capsys, "solve", "none.csv", "--budget", "weight_bytes=50%")
    assert "No such file or directory" in missing
    assert "Errno" not in missing


def test_costs_may_be_called_what_they_are_and_keep_their_unit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{layer},{entry},{cost}\n" for layer in "abc" for cost, entry in enumerate(("w2", "w4", "w8")))
    for heading in ("latency", "Latency", "cost", "value"):
        Path("latency.csv").write_text(f"# unit: us\nlayer,format,{heading}\n{rows}")
        costs = read_costs("latency.csv")
        assert (costs.unit, costs.cost.tolist()) == ("us", [[0, 1, 2]] * 3)
    assert read_costs("latency.csv", unit="ms").unit == "ms"
    Path("latency.csv").write_text(f"layer,format,milliseconds\n{rows}")
    costs_option = ("--costs", "latency=latency.csv", "--budget", "latency=3")
    err = said(capsys, "solve", "table.json", *costs_option)
    assert "a column for the format but none for the numbers; name it latency, cost or value" in err


def test_a_target_that_takes_no_cheap_format_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.csv").write_text(
        "layer,kind,shape,w4g128,w8\n" + "".join(f"l{n},linear,8x1420,1,0.1\n" for n in range(5))
    )
    err = said(capsys, "solve", "rows.csv", "--target", "vllm", "--budget", "weight_bytes=60%", code=1)
    assert "even the cheapest formats take" in err
    assert (
        "the target 'vllm' leaves out w4g128 for 'l0', 'l1', 'l2' and 2 more layers: rows of 1420 weights are no "
        "multiple of 128"
    ) in err


def test_losses_without_a_unit_are_not_called_nats(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "layer,kind,shape,w2,w8\nl0,linear,8x16,1,0.1\nl1,linear,8x16,3,0.1\n"
    for head, words in (("", "(unit not given)"), ("# unit: perplexity\n", "perplexity")):
        Path("own.csv").write_text(head + rows)
        assert main(["solve", "own.csv", "--budget", "weight_bytes=60%"]) == 0
        out = capsys.readouterr().out
        assert words in out
        assert "nats" not in out


@pytest.mark.parametrize(
    ("words", "said_as"),
    [
        ("max_batches is 0: it must be at least 1", "--max-batches is 0: it must be at least 1"),
        ("seed is -1: it must be", "--seed is -1: it must be"),
        ("seconds is nan: give", "--seconds is nan: give"),
        ("use method='measured_kl', or layers=, or", "use --method measured_kl, or --layers, or"),
        ("name the other layers with layers=", "name the other layers with --layers"),
        ("seed is a word", "seed is a word"),
        ("layer 'method=a' has my_seed='x' and unheard='y'", "layer 'method=a' has my_seed='x' and unheard='y'"),
    ],
)
def test_errors_of_the_library_name_the_options_of_the_command_line(words: str, said_as: str) -> None:
    assert in_options(words) == said_as


def test_help_says_which_output_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in (("measure", "needed but for --dry-run"), ("solve", "by default nowhere")):
        assert main([command, "--help"]) == 0
        assert words in " ".join(capsys.readouterr().out.split())
    assert main(["refine", "--help"]) == 0
    assert "by default nowhere" not in " ".join(capsys.readouterr().out.split())
