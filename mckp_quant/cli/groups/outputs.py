"""What the outputs of a network mean, as options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import InvalidInput
from ..load import load_outputs
from ..options import names, pairs

if TYPE_CHECKING:
    from ...network.outputs import Outputs

OUTPUTS = "Outputs of the network"


@dataclass(frozen=True)
class OutputsOptions:
    """What the network's outputs mean."""

    likelihood: Annotated[
        str,
        typer.Option(
            "--likelihood",
            rich_help_panel=OUTPUTS,
            help="categorical, bernoulli for sigmoid outputs, or gaussian for regression.",
        ),
    ] = "categorical"
    class_dim: Annotated[
        int | None,
        typer.Option(
            "--class-dim",
            rich_help_panel=OUTPUTS,
            help="Where dense outputs, (N, C, H, W), have their classes: 1 there.",
        ),
    ] = None
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="NAME=LIKELIHOOD",
            rich_help_panel=OUTPUTS,
            help="One of several heads, found by name or place in what the network returns; may have a weight and a "
            "class dimension, boxes=gaussian,weight=0.5,class_dim=1. Repeated, in the order of the targets.",
        ),
    ] = None
    outputs_from: Annotated[
        str | None,
        typer.Option(
            "--outputs",
            metavar="FILE.py:FUNCTION",
            rich_help_panel=OUTPUTS,
            help="In place of these: a function that returns an Outputs, for heads that have to be computed.",
        ),
    ] = None

    def read(self, network: object = None) -> Outputs:
        """The same for the library; raises InvalidInput where a value cannot be used.

        Of a network that is an ONNX file it is said how logits are taken from the graph's outputs.
        """
        found = self._declared()
        if type(network).__name__ != "OnnxNetwork":
            return found
        from ...onnx_models import OnnxNetwork, judged

        return judged(network, found) if isinstance(network, OnnxNetwork) else found

    def _declared(self) -> Outputs:
        from ...network.outputs import Outputs

        plain = self.likelihood == "categorical" and self.class_dim is None
        if self.outputs_from is not None:
            if self.head or not plain:
                raise InvalidInput("--outputs says all of the outputs: leave --head, --likelihood and --class-dim away")
            return load_outputs(self.outputs_from)
        if not self.head:
            return Outputs(likelihood=self.likelihood, class_dim=self.class_dim)
        if not plain:
            raise InvalidInput(
                "--head is given: say likelihood and class dimension of each there, as in boxes=gaussian,class_dim=1"
            )
        return Outputs(heads=tuple(_head(name, text) for name, text in pairs("--head", self.head).items()))


def _head(name: str, text: str) -> Outputs:
    """Read what stands behind ``--head NAME=``."""
    from ...network.outputs import Outputs

    likelihood, *rest = names(text)
    given = pairs("--head", rest)
    odd = next((each for each in given if each not in ("weight", "class_dim")), None)
    if odd is not None:
        raise InvalidInput(f"--head {name}: there is no {odd!r}: write {name}={likelihood},weight=0.5,class_dim=1")
    try:
        weight = float(given.get("weight", 1))
        class_dim = int(given["class_dim"]) if "class_dim" in given else None
    except ValueError as error:
        raise InvalidInput(f"--head {name}={text}: {error}: weight is a number, class_dim a whole one") from error
    return Outputs(likelihood=likelihood, class_dim=class_dim, weight=weight, name=name)
