"""The other tools: what is installed for each, what it is asked, and what could not be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL_BITS = (2, 3, 4, 5, 6, 8)
UNIFORM = "uniform"


@dataclass(frozen=True)
class Tool:
    """One tool, and how it is asked.

    Attributes
    ----------
    name
        Also that of its environment and of its worker, ``workers/with_NAME.py``.
    packages
        What pip installs, the tool itself first; the versions that were tried.
    bits
        The formats that it chooses from here.
    averages
        The average bits a weight that it is asked for.
    methods
        Its own ways to choose; ``"uniform"`` stands for one format for all layers, which it rounds.
    networks
        The networks that it takes.
    not_run
        From each other network to why it could not be run.
    """

    name: str
    packages: tuple[str, ...]
    bits: tuple[int, ...]
    averages: tuple[Fraction, ...]
    methods: tuple[str, ...]
    networks: tuple[str, ...]
    not_run: Mapping[str, str]

    @property
    def worker(self) -> str:
        """The module that runs in its environment."""
        return f"{__package__}.workers.with_{self.name.replace('-', '_')}"

    @property
    def menu(self) -> str:
        """Its formats by the names of mckp-quant."""
        return ",".join(f"w{bits}" for bits in self.bits)

    def policies(self, average: Fraction) -> list[str]:
        """The methods that can be asked for at that average."""
        whole = average.denominator == 1 and int(average) in self.bits
        return [each for each in self.methods if whole or not each.startswith(UNIFORM)]


_TORCH = ("torch==2.13.0", "numpy", "safetensors")
_NO_CONVOLUTIONS = "it stores convolutions in 8 bits at least: only the weights of matrix products get 4"
_ONLY_TRANSFORMERS = "it takes models of transformers only, and this network has no counterpart there"
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "modelopt",
            # It imports the two in the middle, and does not ask for them.
            ("nvidia-modelopt==0.47.0", "requests", "huggingface_hub", *_TORCH),
            ALL_BITS,
            (Fraction(3), Fraction(4)),
            ("gradient", UNIFORM, "kl_div"),
            ("demo", "resnet20", "chargpt"),
            {},
        ),
        Tool(
            "nncf",
            ("nncf==3.4.0", *_TORCH),
            (4, 8),
            (Fraction(5),),
            (
                "weight_quantization_error",
                "hessian_input_activation",
                "mean_activation_variance",
                "max_activation_variance",
                "mean_activation_magnitude",
            ),
            ("chargpt",),
            {"demo": _NO_CONVOLUTIONS, "resnet20": _NO_CONVOLUTIONS},
        ),
        Tool(
            "auto-round",
            ("auto-round==0.16.1", "transformers", *_TORCH),
            ALL_BITS,
            (Fraction(3),),
            ("AutoScheme, nearest", f"{UNIFORM}, nearest", "AutoScheme, tuned", f"{UNIFORM}, tuned"),
            ("chargpt",),
            {"demo": _ONLY_TRANSFORMERS, "resnet20": _ONLY_TRANSFORMERS},
        ),
    )
}
