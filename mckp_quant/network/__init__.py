"""A network as it is: its batches, labels, outputs and likelihoods, the layers in it, and who uses which weight.

Nothing is rounded and nothing is measured here. PyTorch is needed.
"""

from __future__ import annotations

from .batch import Batch
from .batches import as_batches
from .discovery import discover
from .huggingface import load_model, load_tokenizer, text_batches
from .likelihood import Likelihood
from .likelihoods import LIKELIHOODS
from .outputs import Outputs
from .tracing import trace_activations

__all__ = [
    "LIKELIHOODS",
    "Batch",
    "Likelihood",
    "Outputs",
    "as_batches",
    "discover",
    "load_model",
    "load_tokenizer",
    "text_batches",
    "trace_activations",
]
