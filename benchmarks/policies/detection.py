"""A detector in few bits: mean average precision and KL of the exact policy against uniform with the same rounder.

    python -m benchmarks.policies.detection run --folder FOLDER [--bits 3,4] [--seeds 0] [--csv FILE]
    python -m benchmarks.policies.detection page [--csv FILE]

`run` trains the detector of `benchmarks.trained.detector` once for each seed, a minute or two of one core, and keeps
its weights in FOLDER. Weights are rounded by GPTQ on one half of the scenes of calibration digits, the table is
measured on the other, and both networks are judged on scenes of held-out digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

import mckp_quant as mq
from mckp_quant.demo import digits
from mckp_quant.evaluation import Evaluator

from ..command_line import Command, WrongInput, require_file, say
from ..environment import environment
from ..pages import RESULTS, append_rows, read_rows, table
from ..trained.detector import OUTPUTS, Detector, Scenes, detect, difference, scenes, train

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mckp_quant.evaluation.figures import Evaluation

    from ..trained.detector import Found

FORMATS = "w2,w3,w4,w5,w6,w8"
CALIBRATION, HELD_OUT, BATCH = 512, 400, 32
FIELDS = (
    *("seed", "bits", "policy", "weight_bytes", "predicted", "predicted_stderr", "kl", "kl_stderr", "over_uniform"),
    *("over_uniform_stderr", "map", "map_change", "map_change_stderr", "map_over_uniform", "map_over_uniform_stderr"),
    *("metric", "metric_change", "metric_change_stderr", "formats", "date", "commit", "versions", "processor"),
)


def trained(folder: Path, seed: int) -> Detector:
    """The detector of a seed: read from the folder, or trained and kept there."""
    path = folder / f"detector-{seed}.safetensors"
    if path.is_file():
        model = Detector()
        model.load_state_dict(load_file(path))
        return model.eval()
    say(f"training the detector of seed {seed}")
    model = train(digits.load().training, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model


def compared(
    model: Detector, calibration: Scenes, held_out: Scenes, bits: Sequence[int]
) -> Iterator[tuple[int, str, mq.Policy, Evaluation, Found]]:
    """For each width uniform and the exact policy of its bytes, as measured on held-out scenes; first the float one."""
    data = calibration.batches(BATCH)
    bank = mq.round_weights(model, data[::2], FORMATS, rounder="gptq")
    # On the scenes that the weights were rounded on, losses would come out too low.
    measured = mq.measure(model, data[1::2], formats=FORMATS, bank=bank, outputs=OUTPUTS)
    judge = Evaluator(model, held_out.batches(BATCH), outputs=OUTPUTS, bank=bank)
    whole = mq.Policy.uniform(measured, "w8")
    yield 32, "float", whole, judge.reference, detect(model, held_out)
    for width in bits:
        uniform = mq.Policy.uniform(measured, f"w{width}")
        exact = mq.allocate(measured, {"weight_bytes": uniform.costs["weight_bytes"]}, solver="exact").policy
        for name, policy in (("uniform", uniform), ("exact", exact)):
            yield width, name, policy, judge.evaluate(policy), detect(mq.apply(model, policy, bank=bank), held_out)


def rows(folder: Path, bits: Sequence[int], seed: int) -> Iterator[dict[str, object]]:
    """What is known of one seed's detector, a line for each network."""
    parts, where = digits.load(), environment(("torch", "numpy"))
    calibration = scenes(parts.calibration, CALIBRATION, 1_000_000 + seed)
    held_out = scenes(parts.held_out, HELD_OUT, 2_000_000 + seed)
    known: dict[str, tuple[Evaluation, Found]] = {}
    for width, name, policy, found, detected in compared(trained(folder, seed), calibration, held_out, bits):
        known[name] = found, detected
        line: dict[str, object] = {
            "seed": seed,
            "bits": width,
            "policy": name,
            "map": detected.mean_average_precision(),
        }
        line |= {"kl": found.kl, "kl_stderr": found.kl_stderr, "metric": found.metric, **where}
        if name != "float":
            line |= {"predicted": policy.predicted, "predicted_stderr": policy.predicted_stderr}
            line |= {"weight_bytes": policy.costs["weight_bytes"]}
            line["formats"] = " ".join(entry.name for entry in policy.formats)
            line["map_change"], line["map_change_stderr"] = difference(detected, known["float"][1])
            line["metric_change"], line["metric_change_stderr"] = found.difference(known["float"][0], "metric")
        if name == "exact":
            line["over_uniform"], line["over_uniform_stderr"] = found.kl_difference(known["uniform"][0])
            line["map_over_uniform"], line["map_over_uniform_stderr"] = difference(detected, known["uniform"][1])
        say(f"{seed} {width} {name}: mean average precision {line['map']:.4f}, KL {found.kl:.5f}")
        yield line


def page(lines: Sequence[Mapping[str, str]]) -> str:
    """Every network, a line each."""

    def number(text: str, digits: int = 4) -> str:
        return f"{float(text):.{digits}g}" if text else ""

    def change(line: Mapping[str, str], name: str) -> str:
        return f"{float(line[name]):+.3f} +- {float(line[f'{name}_stderr']):.3f}" if line[name] else ""

    head = ("seed", "bits", "policy", "mAP", "change", "beside uniform", "KL", "+-", "predicted")
    found = [
        (
            *(line["seed"], line["bits"], line["policy"], number(line["map"], 3)),
            *(change(line, "map_change"), change(line, "map_over_uniform")),
            *(number(line["kl"]), number(line["kl_stderr"], 2), number(line["predicted"])),
        )
        for line in lines
    ]
    return table(head, found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    command = Command(__doc__, ("run", "page"))
    command.folder("--folder", help="Where the detectors' weights are kept.")
    command.several("--bits", int, "3,4", "The widths of the uniform formats.")
    command.several("--seeds", int, "0", "Of the detectors and their scenes.")
    command.file("--csv", RESULTS / "detection.csv")
    return command.run(arguments, _work)


def _work(options: argparse.Namespace) -> int:
    if options.action == "page":
        require_file("--csv", options.csv, "benchmarks.policies.detection run")
        print(page(read_rows(options.csv)))
        return 0
    if options.folder is None:
        raise WrongInput("--folder is missing: name the folder that keeps the detectors' weights")
    torch.set_num_threads(1)
    for seed in options.seeds:
        append_rows(options.csv, FIELDS, rows(options.folder, options.bits, seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
