"""Reads what a caller gives as `batches`, calls a model on one, and gives the model back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .batch import Batch, leading_size
from .labels import with_targets
from .logits import Parts, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .logits import Logits

_ACCEPTED = "a batch is a tensor, a dict of tensors (the model's keywords), or a pair (inputs, targets)"


def as_batches(batches: Iterable[object], model: nn.Module | None = None) -> Iterator[Batch]:
    """Read batches one by one, as tensors, ``(inputs, targets)`` pairs, or dicts of keywords.

    Parameters
    ----------
    batches
        A list, a DataLoader, a generator (consumed once), ... Dicts are passed to the model as its keywords; targets
        for them come as ``(dict, targets)``, or as ``labels`` (see `with_targets`). `Batch` objects pass through.
    model
        The model that they are for: it says what ``labels`` mean.

    Yields
    ------
    batch
        In the order given.

    Raises
    ------
    InvalidInput
        When there is no batch at all, or one is none of the above: its position and type are named.
    """
    if isinstance(batches, Tensor | Mapping) or not isinstance(batches, Iterable):
        raise InvalidInput(
            f"batches is a {type(batches).__name__}: give a list or another iterable of batches; {_ACCEPTED}"
        )
    index = -1
    for index, entry in enumerate(batches):
        batch = as_batch(entry, index)
        yield batch if model is None else with_targets(batch, model)
    if index < 0:
        raise InvalidInput("there are zero batches: give at least one (has a generator been used up already?)")


def as_batch(entry: object, index: int = 0) -> Batch:
    """Read one batch.

    Parameters
    ----------
    entry
        A tensor, a dict of tensors, ``(inputs, targets)``, ``(inputs,)``, or a `Batch`. Targets of several heads are
        a tuple or a list with a tensor, or None, for each head.
    index
        Its position, for messages.

    Returns
    -------
    batch
        The same tensors, sorted into inputs and targets.

    Raises
    ------
    InvalidInput
        When it is none of these, holds no sample, or has another number of targets than inputs.
    """
    if isinstance(entry, Batch):
        return replace(entry, index=index)
    inputs: object = entry
    targets: object = None
    if isinstance(entry, tuple | list):
        if len(entry) not in {1, 2}:
            raise InvalidInput(f"batch {index} is a {type(entry).__name__} of {len(entry)} entries: {_ACCEPTED}")
        inputs, targets = (*entry, None)[:2]
    if isinstance(inputs, Mapping):
        wrong = [name for name, value in inputs.items() if not isinstance(value, Tensor)]
        if wrong or not inputs:
            what = f"{wrong[0]!r} is a {type(inputs[wrong[0]]).__name__}" if wrong else "it is empty"
            raise InvalidInput(f"batch {index} is a dict that is not one of tensors ({what}): {_ACCEPTED}")
        size = leading_size(next(iter(inputs.values())))
    elif isinstance(inputs, Tensor):
        size = leading_size(inputs)
    else:
        raise InvalidInput(f"batch {index} has inputs of type {type(inputs).__name__}: {_ACCEPTED}")
    if isinstance(targets, list):
        targets = tuple(targets)
    each = targets if isinstance(targets, tuple) else (targets,)
    strange = next((own for own in each if own is not None and not isinstance(own, Tensor)), None)
    if strange is not None or targets == ():
        kind = type(targets if strange is None else strange).__name__
        raise InvalidInput(
            f"batch {index} has targets of type {kind}: they must be a tensor, or a tuple with one for each head"
        )
    batch = Batch(inputs, targets, size, index)
    if size < 1:
        raise InvalidInput(f"batch {index} has inputs of shape {batch.shape}: it holds no sample")
    for own in each:
        if own is not None and leading_size(own) != size:
            raise InvalidInput(f"batch {index} has {leading_size(own)} targets for {size} samples")
    return batch


def forward(model: nn.Module, batch: Batch, output: Callable[..., object] | None = None) -> Logits:
    """Call the model on a batch and take the logits from what it returns.

    Parameters
    ----------
    model
        The model; the inputs are moved to the device of its first parameter.
    batch
        The batch.
    output
        From what the model returns to its logits. By default that is a tensor, or has them as ``.logits``.

    Returns
    -------
    logits
        ``(batch.size, ...)``, floating point; a tuple of such tensors where `output` takes several heads.

    Raises
    ------
    InvalidInput
        When the model fails on the batch (its own error is named and chained), or what comes out is not a floating
        point tensor with one entry per sample.
    """
    returned = call(model, batch)
    try:
        logits = getattr(returned, "logits", returned) if output is None else output(returned)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"the take of outputs= failed on the {type(returned).__name__} that the model returned for batch "
            f"{batch.index}: {type(error).__name__}: {error}"
        ) from error
    if isinstance(logits, Parts):
        for own in logits:
            _check_logits(own, returned, batch)
        return logits
    _check_logits(logits, returned, batch)
    return logits


def _check_logits(logits: object, returned: object, batch: Batch) -> None:
    if not isinstance(logits, Tensor):
        raise InvalidInput(
            f"the model returned a {type(returned).__name__} for batch {batch.index}, which gives no logits: say "
            "how to take them, such as outputs=Outputs(take=lambda returned: returned[0])"
        )
    if not logits.is_floating_point() or leading_size(logits) != batch.size:
        raise InvalidInput(
            f"the logits of batch {batch.index} are {logits.dtype} of shape {tuple(logits.shape)}: they must be "
            f"floating point with the {batch.size} samples (inputs {batch.shape}) as first dimension; choose them "
            "with outputs=Outputs(take=...)"
        )


def float_logits(
    model: nn.Module, batches: Sequence[Batch], output: Callable[..., object] | None = None
) -> list[Logits]:
    """The float network's logits on every batch, without gradients; the model is left as it was."""
    with evaluating(model), torch.no_grad():
        return [mapped(lambda own: own.detach(), forward(model, batch, output)) for batch in batches]


def call(model: nn.Module, batch: Batch) -> object:
    """Call the model on a batch; raises InvalidInput, chained to the model's own error, where it fails."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        if isinstance(batch.inputs, Tensor):
            return model(batch.inputs.detach().to(device))
        return model(**{name: value.detach().to(device) for name, value in batch.inputs.items()})
    except (InvalidInput, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        raise InvalidInput(
            f"the model fails on batch {batch.index} (inputs {batch.shape}): {type(error).__name__}: {error}; "
            "give batches of the shape and type that it takes"
        ) from error


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold the model in eval mode, and give it back as it was, also after an exception.

    Each module's own mode, every parameter's requires_grad and gradient, all buffers, and torch's generators (CPU, and
    CUDA where it is in use) are restored. Gradients are out of the model meanwhile.
    """
    modes = {module: module.training for module in model.modules()}
    parameters = {parameter: (parameter.requires_grad, parameter.grad) for parameter in model.parameters()}
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    cpu_state = torch.get_rng_state()
    cuda_used = torch.cuda.is_initialized()
    cuda_states = torch.cuda.get_rng_state_all() if cuda_used else []
    try:
        model.eval()
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, (requires_grad, gradient) in parameters.items():
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        with torch.no_grad():
            for module, name, buffer, content in buffers:
                if buffer is not None and content is not None:
                    buffer.copy_(content)
                module._buffers[name] = buffer
        torch.set_rng_state(cpu_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
