"""Takes logits out of what a model returns: those of one head among several, and those with their classes elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from ..errors import InvalidInput
from .logits import Parts


def part_of(name: str, place: int, count: int) -> Callable[..., object]:
    """Take one of several heads out of what a model returns.

    Parameters
    ----------
    name
        A key of the mapping, or an attribute of the object, that the model returns; else
    place, count
        which entry it is of a tuple or list of so many.

    Returns
    -------
    take
        It raises InvalidInput where nothing is found.
    """

    def taken(returned: object) -> object:
        if isinstance(returned, Mapping) and name in returned:
            return returned[name]
        if isinstance(returned, tuple | list) and not hasattr(returned, name) and len(returned) == count:
            return returned[place]
        if not name.isdigit() and hasattr(returned, name):
            return getattr(returned, name)
        raise InvalidInput(
            f"the model returned a {type(returned).__name__} in which nothing is called {name!r}, and which is no "
            f"tuple of {count}: say how to take it, with Outputs(take=..., name={name!r})"
        )

    return taken


def all_of(takes: Mapping[str, Callable[..., object] | None]) -> Callable[..., object]:
    """Take all heads out of what a model returns.

    Parameters
    ----------
    takes
        From the names of the heads to what takes each; None takes the whole, or its ``.logits``.

    Returns
    -------
    take
        From what the model returns to a tuple of floating-point tensors with as many rows each. It raises InvalidInput,
        with the name of the head, where one is no such tensor.
    """

    def taken(returned: object) -> object:
        found: list[Tensor] = []
        for name, take in takes.items():
            try:
                head = getattr(returned, "logits", returned) if take is None else take(returned)
            except InvalidInput as error:
                raise InvalidInput(f"head {name!r}: {error}") from error
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise InvalidInput(
                    f"the take of head {name!r} failed on the {type(returned).__name__} that the model returned: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if not isinstance(head, Tensor) or not head.is_floating_point() or head.ndim < 2:
                what = f"{head.dtype} of shape {tuple(head.shape)}" if isinstance(head, Tensor) else type(head).__name__
                raise InvalidInput(
                    f"head {name!r} gave {what}: it must give a floating-point tensor, samples first, then its numbers"
                )
            if found and len(head) != len(found[0]):
                raise InvalidInput(
                    f"head {name!r} gave {len(head)} samples, and the head before it {len(found[0])}: heads must have "
                    "the samples of the batch as their first dimension"
                )
            found.append(head)
        return Parts(found)

    return taken


def classes_last(output: Callable[..., object] | None, class_dim: int) -> Callable[..., object]:
    """Bring logits with their classes in dimension `class_dim` to ``(samples, positions, classes)``.

    Parameters
    ----------
    output
        From what the model returns to its logits, or None for the default.
    class_dim
        The dimension of the classes; negative ones count from the end.

    Returns
    -------
    output
        From what the model returns to the rearranged logits. It raises InvalidInput where they lack that dimension.
    """

    def rearranged(returned: object) -> object:
        logits = getattr(returned, "logits", returned) if output is None else output(returned)
        if not isinstance(logits, Tensor):
            return logits
        if not -logits.ndim < class_dim < logits.ndim or class_dim == 0 or logits.ndim < 3:
            raise InvalidInput(
                f"class_dim is {class_dim}, but the logits have the shape {tuple(logits.shape)}: it must name a "
                "dimension after the samples, beside which there are positions"
            )
        return logits.movedim(class_dim, -1).flatten(1, -2)

    return rearranged
