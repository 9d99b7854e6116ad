"""llama.cpp's own library, by its C interface: loads a GGUF file and gives logits.

The libraries are those of any build (``libllama*.so`` beside ``libggml*.so``), such as the ones that the npm package
``@node-llama-cpp/linux-x64`` holds in ``bins/linux-x64``. Parameters are passed on as they come, so their layout, which
changes from version to version, does not matter.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST = 1024  # bytes, more than any of the structures of parameters has


class _Parameters(ctypes.Structure):
    """Parameters as the library fills them in."""

    _fields_ = (("held", ctypes.c_char * _LARGEST),)


class _Batch(ctypes.Structure):
    """``llama_batch``: the number of tokens, and six pointers."""

    _fields_ = (("tokens", ctypes.c_int32), ("held", ctypes.c_void_p * 6))


class LlamaLibrary:
    """The library of a folder.

    Parameters
    ----------
    folder
        Where its shared objects are.
    """

    def __init__(self, folder: Path) -> None:
        found = [
            next(iter(sorted(folder.glob(f"{name}*.so"))), None) for name in ("libggml-base", "libggml.", "libllama.")
        ]
        if None in found:
            raise SystemExit(f"{folder} holds no libllama.so with its libggml.so and libggml-base.so")
        _, ggml, self._llama = (ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in found)
        self._quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        self._llama.llama_log_set(self._quiet, None)
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        self._llama.llama_backend_init()
        for name, result in (
            ("llama_model_default_params", _Parameters),
            ("llama_context_default_params", _Parameters),
            ("llama_model_load_from_file", ctypes.c_void_p),
            ("llama_init_from_model", ctypes.c_void_p),
            ("llama_batch_get_one", _Batch),
            ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float)),
        ):
            getattr(self._llama, name).restype = result

    def logits(self, path: Path, tokens: Sequence[int], vocabulary: int) -> NDArray[np.float32] | None:
        """Decode tokens one after another; ``(tokens, vocabulary)``, or None where it does not load the file."""
        library: Any = self._llama
        model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        if not model:
            return None
        context = library.llama_init_from_model(ctypes.c_void_p(model), library.llama_context_default_params())
        if not context:
            library.llama_model_free(ctypes.c_void_p(model))
            return None
        # Its threads wait for each other in loops, which takes long where other programs run.
        library.llama_set_n_threads(ctypes.c_void_p(context), 1, 1)
        made = np.empty((len(tokens), vocabulary), np.float32)
        for at, token in enumerate(tokens):
            one = (ctypes.c_int32 * 1)(token)
            if library.llama_decode(ctypes.c_void_p(context), library.llama_batch_get_one(one, 1)):
                raise SystemExit(f"llama.cpp cannot decode token {at} of {path}")
            made[at] = np.ctypeslib.as_array(library.llama_get_logits_ith(ctypes.c_void_p(context), -1), (vocabulary,))
        library.llama_free(ctypes.c_void_p(context))
        library.llama_model_free(ctypes.c_void_p(model))
        return made
