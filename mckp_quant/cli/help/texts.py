"""A line and some examples for every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# In the order of the list of commands: first those that do everything, then the steps, then what looks closer.
SHORT = {
    "demo": "Do all of it with a small network that comes along.",
    "recipe": "Write down what is asked, as a file for 'run'.",
    "run": "Go from a network to a checked result.",
    "round": "Round every weight to every format, into a folder.",
    "measure": "Measure how much each layer suffers from each format.",
    "merge": "Put together what several processes measured.",
    "time": "Measure what each layer takes in each format on this machine.",
    "solve": "Choose a format for every layer, with a proof.",
    "front": "Size against loss: what every amount of a budget buys.",
    "smallest": "The smallest policy that keeps accuracy, KL or loss.",
    "explain": "What a byte is worth, what binds, why nothing fits.",
    "k-best": "The best policies one after the other.",
    "validate": "Run the network under a policy: measured loss beside predicted.",
    "compare": "Solvers side by side on a table.",
    "bench": "Solvers side by side on many problems, your own too.",
    "stability": "Say how sure a table is of its policy.",
    "confirm": "Measure the cells of a table that decide, and solve again.",
    "refine": "Improve a policy by running the network.",
    "finish": "Make the best network of a policy.",
    "search": "Search for a policy by running the network under many.",
    "compete": "Methods side by side on a network.",
    "export": "Write a policy in the form of a toolchain, and read it back.",
    "report": "Everything that is known of a policy on one page.",
    "audit": "Compare an existing artefact with the optimum of its size.",
    "doctor": "What works on this machine, and what to type for the rest.",
}
# As one types them, each in one line.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("mckp-quant demo", "mckp-quant demo -o results --seed 1"),
    "recipe": (
        "mckp-quant recipe net.py:model --data data.npz --budget weight_bytes=90kB",
        "mckp-quant recipe net.py:model --data data.npz --budget bits_per_weight=4 --to torchao -o small.toml",
        "mckp-quant recipe hf:FOLDER --calibration text.txt --budget weight_bytes=25% --formats w3,w4,w8",
    ),
    "run": ("mckp-quant run recipe.toml", "mckp-quant run recipe.toml -o small --json"),
    "round": (
        "mckp-quant round net.py:model --data data.npz -o bank",
        "mckp-quant round hf:FOLDER --calibration text.txt --formats auto --target gguf -o bank",
    ),
    "measure": (
        "mckp-quant measure net.py:model --data data.npz --formats w2,w3,w4,w8 -o table.json",
        "mckp-quant measure hf:FOLDER --calibration text.txt --bank bank -o table.json",
        "mckp-quant measure net.py:model --data data.npz --part 2/8 -o part2.json",
        "mckp-quant measure hf:FOLDER --calibration text.txt --kv-cache kv8,kv4 --kv-tokens 8192 -o table.json",
        "mckp-quant measure net.py:model --data data.npz --dry-run",
    ),
    "merge": ("mckp-quant merge part*.json -o table.json",),
    "time": (
        "mckp-quant time net.py:model --data data.npz --formats w4,w8,w8a8 -o latency.json",
        "mckp-quant time onnx:net.onnx --data data.npz --formats w4,w8 --threads 2 -o latency.json",
    ),
    "solve": (
        "mckp-quant solve table.json --budget weight_bytes=90kB -o policy.json",
        "mckp-quant solve table.csv --budget bits_per_weight=4 --pin head=w8 --target vllm",
        "mckp-quant solve table.json --budget weight_bytes=90kB --plot policy.png",
    ),
    "front": (
        "mckp-quant front table.json",
        "mckp-quant front table.json --budget weight_bytes=90kB --plot front.png --csv front.csv",
        "mckp-quant front table.json --along bops --budget weight_bytes=90kB --pin head=w8 -o front.json",
    ),
    "smallest": (
        "mckp-quant smallest table.json --model net.py:model --data net.py:held_back "
        "--accuracy-drop-at-most 1% -o policy.json",
        "mckp-quant smallest table.json --model net.py:model --data batches.npz --bank bank --kl-at-most 0.02",
    ),
    "explain": (
        "mckp-quant explain table.json --budget weight_bytes=90kB",
        "mckp-quant explain table.json --budget weight_bytes=60kB --budget bops=25%",
    ),
    "k-best": ("mckp-quant k-best table.json --budget weight_bytes=90kB -k 10",),
    "validate": (
        "mckp-quant validate policy.json --model net.py:model --data held_out.npz --table table.json",
        "mckp-quant validate policy.json --model net.py:model --data held_out.npz --finished finished",
    ),
    "compare": ("mckp-quant compare table.json --budget weight_bytes=90kB --solver exact,greedy,cp_sat",),
    "bench": (
        "mckp-quant bench table.json --budgets 20%,50%,80%",
        "mckp-quant bench problems/*.json --solver exact,cp_sat,solver.py:Mine -o bench",
    ),
    "stability": ("mckp-quant stability table.json --budget weight_bytes=90kB --draws 200",),
    "confirm": (
        "mckp-quant confirm table.json --budget weight_bytes=90kB --model net.py:model "
        "--data data.npz -o confirmed.json",
    ),
    "refine": (
        "mckp-quant refine table.json --budget weight_bytes=90kB --model net.py:model --data data.npz "
        "--evaluations 100 -o policy.json",
    ),
    "finish": ("mckp-quant finish net.py:model policy.json --data data.npz --bank bank -o finished",),
    "search": (
        "mckp-quant search table.json --budget weight_bytes=90kB --model net.py:model --data data.npz "
        "--method evoq --evaluations 200 -o policy.json",
    ),
    "compete": (
        "mckp-quant compete table.json --budget weight_bytes=90kB --model net.py:model --data data.npz "
        "--held-out held_out.npz",
    ),
    "export": (
        "mckp-quant export policy.json --to torchao --model net.py:model -o artefact",
        "mckp-quant export policy.json --to onnxruntime --model net.py:model --data data.npz "
        "--finished finished -o artefact",
    ),
    "report": ("mckp-quant report table.json policy.json -o report.html",),
    "audit": (
        "mckp-quant audit net.onnx --table table.json",
        "mckp-quant audit quantised.onnx --float net.onnx",
    ),
    "doctor": ("mckp-quant doctor", "mckp-quant doctor --thorough --json"),
}


def as_typed(examples: Sequence[str], width: int) -> Iterator[str]:
    """Examples within a width: what is too long goes on in the next line, before an option.

    Parameters
    ----------
    examples
        Each in one line.
    width
        In characters.

    Yields
    ------
    line
        To be typed as it stands.
    """
    for example in examples:
        line = ""
        for part in re.split(r" (?=-)", example):
            if line and len(line) + 1 + len(part) + 2 > width:
                yield f"{line} \\"
                line = f"    {part}"
            else:
                line = f"{line} {part}" if line else part
        yield line
