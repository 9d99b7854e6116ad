"""Causal language models of Hugging Face's transformers: a local checkpoint, its tokenizer, and batches of a text."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..common.checks import check_count
from ..common.files import opened
from ..common.packages import require
from ..errors import InvalidInput

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

_CHARACTERS = 2**18  # of the text that are tokenised at a time
_WITHOUT = "models of your own, as package.module:function, work without it"


class Tokenizer(Protocol):
    """What is used of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Give the tokens of a text."""
        ...


def load_model(folder: str | os.PathLike[str], *, dtype: torch.dtype | None = None, weights: bool = True) -> nn.Module:
    """Load a causal language model from a local checkpoint.

    Parameters
    ----------
    folder
        The checkpoint: ``config.json`` and, as ``*.safetensors``, the weights. Nothing is downloaded, nothing
        unpickled, and no code of the checkpoint is run.
    dtype
        The floating-point type of the weights; by default the checkpoint's own.
    weights
        Whether to read the weights. Without them the model is on the meta device, has shapes only and takes no memory.

    Returns
    -------
    model
        In eval mode, on the CPU.

    Raises
    ------
    InvalidInput
        When the folder holds no such checkpoint.
    PackageMissing
        When transformers is not installed.
    """
    path = _checkpoint(folder)
    transformers = _transformers()
    with _reading(path), _quiet(transformers):
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        if not weights:
            with torch.device("meta"):
                model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype or config.dtype)
        else:
            if not any(path.glob("*.safetensors")):
                raise InvalidInput(
                    f"checkpoint {str(path)!r} has no *.safetensors: weights in other files, which would be unpickled, "
                    "are not read; save it again with model.save_pretrained(folder)"
                )
            model = transformers.AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=dtype or "auto",
            )
    made: nn.Module = model.eval()
    return made


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Load the tokenizer of a local checkpoint.

    Parameters
    ----------
    folder
        The checkpoint.

    Returns
    -------
    tokenizer
        The tokenizer.

    Raises
    ------
    InvalidInput
        When the folder holds none.
    PackageMissing
        When transformers is not installed.
    """
    path = _checkpoint(folder)
    transformers = _transformers()
    with _reading(path), _quiet(transformers):
        made: Tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    return made


def text_batches(
    tokenizer: Tokenizer, text: str | os.PathLike[str], *, tokens: int, batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Cut a text into windows of equal length, batch by batch as they are asked for.

    The windows follow each other without overlap, each begins with the special tokens that the tokenizer puts before a
    text, and what is left at the end is dropped; so there is no padding.

    Parameters
    ----------
    tokenizer
        The tokenizer.
    text
        The file, UTF-8.
    tokens
        The length of a window.
    batch_size
        Windows in a batch; the last batch may have fewer.

    Yields
    ------
    batch
        ``input_ids`` and, for methods that need targets, the same as ``labels``: ``(windows, tokens)`` int64.

    Raises
    ------
    InvalidInput
        When the file cannot be read, is shorter than one window, or a number is too small.
    """
    check_count("batch_size", batch_size, 1)
    start = list(tokenizer.encode("", add_special_tokens=True))
    check_count("tokens", tokens, len(start) + 2)  # with two of the text, of which one is a target
    windows: list[list[int]] = []
    left: list[int] = []
    found = 0
    for piece in _pieces(Path(text)):
        left += tokenizer.encode(piece, add_special_tokens=False)
        while len(left) >= tokens - len(start):
            windows.append(start + left[: tokens - len(start)])
            del left[: tokens - len(start)]
            found += 1
            if len(windows) == batch_size:
                yield _batch(windows)
                windows = []
    if windows:
        yield _batch(windows)
    if not found:
        raise InvalidInput(
            f"the text {str(text)!r} has {len(left)} tokens, fewer than one window of {tokens}: give more text, or "
            "shorter windows"
        )


def _batch(windows: list[list[int]]) -> dict[str, Tensor]:
    tokens = torch.tensor(windows)
    return {"input_ids": tokens, "labels": tokens}


def _pieces(path: Path) -> Iterator[str]:
    """The text in pieces that end with lines."""
    try:
        with opened(path, "text") as content, io.TextIOWrapper(content, "utf-8-sig") as file:
            while lines := file.readlines(_CHARACTERS):
                yield "".join(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the text {str(path)!r} cannot be read: {error}") from error


def _checkpoint(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise InvalidInput(
            f"{str(path)!r} is no checkpoint, since it holds no config.json: name a local folder as "
            "model.save_pretrained(folder) writes it; nothing is downloaded"
        )
    return path


def _transformers() -> Any:
    return require("transformers", "hf", without=_WITHOUT)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn every error of transformers into an InvalidInput that names the checkpoint."""
    try:
        yield
    except (InvalidInput, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InvalidInput(f"checkpoint {str(path)!r} cannot be read: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep its progress bars off stderr."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
