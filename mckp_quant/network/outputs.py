"""What a network returns and what that means: where its numbers are, and which distribution they stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

from ..common.checks import check_positive
from ..errors import InvalidInput, unknown
from .batches import as_batches
from .likelihoods import LIKELIHOODS, Head, Several
from .likelihoods.probabilities import logits_only
from .taking import all_of, classes_last, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from .batch import Batch
    from .likelihood import Likelihood

# From the logits and the targets of a batch, as the likelihood takes them, to ``(samples,)``: a number for each.
Metric: TypeAlias = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Outputs:
    """What a network returns, and what its numbers mean: one head, or several.

    Attributes
    ----------
    take
        From what the model returns to its logits, ``(samples, classes)`` or ``(samples, tokens, classes)`` floating
        point. By default the model returns them, or has them as ``.logits``; one head of several is by default what
        the model returns under its name, or at its place in a tuple. Of a model that returns probabilities it
        takes the logarithm, ``lambda p: p.log()`` (of Bernoulli ones ``lambda p: p.logit()``); probabilities taken for
        logits would make every loss far too small, and are refused.
    likelihood
        ``"categorical"`` for class logits, ``"bernoulli"`` for logits of independent yes or no answers (several labels
        at once), ``"gaussian"`` for regression with unit variance. Every position of a sequence counts, except what the
        keyword ``attention_mask`` says is padding (with class and Bernoulli logits). Of several heads it is theirs,
        filled in.
    class_dim
        Where dense outputs such as ``(N, C, H, W)`` have their classes, 1 there: every position then counts as a token,
        and targets are ``(N, H, W)`` (for other likelihoods of the outputs' own shape). None where the classes come
        last already.
    weight
        What this head counts beside others, above 0.
    name
        The head's name, for messages and to find it in what the model returns.
    heads
        Several heads, each with its own `take`, `likelihood`, `class_dim`, `weight` and `name`: loss and divergence of
        a sample are the weighted sums of the heads' own, each averaged over the positions of the sample that count.
        Targets are then a tuple with those of each head, or None. A single head with weight 1 is the same as that head
        without `heads`.
    metric
        A figure of your own that `evaluate` and `validate` measure too: from the logits (a tuple for several heads) and
        the targets of a batch to a tensor with one number for each sample. Its ``__name__`` is shown.

    Raises
    ------
    InvalidInput
        When the likelihood is unknown, a function cannot be called, a weight is not above 0, or `class_dim` is no whole
        number; when heads have the same name, or something is given both for them and beside them.
    """

    take: Callable[..., object] | None = None
    likelihood: str = "categorical"
    class_dim: int | None = None
    weight: float = 1.0
    name: str = ""
    heads: tuple[Outputs, ...] = ()
    metric: Metric | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.take is not None and not callable(self.take):
            raise InvalidInput(f"take is {self.take!r}: give a function from what the model returns to its logits")
        if self.metric is not None and not callable(self.metric):
            raise InvalidInput(
                f"metric is {self.metric!r}: give a function from logits and targets to one number for each sample"
            )
        if self.class_dim is not None and (isinstance(self.class_dim, bool) or not isinstance(self.class_dim, int)):
            raise InvalidInput(f"class_dim is {self.class_dim!r}: give the dimension of the classes, such as 1")
        if self.heads != ():
            self._check_heads()
            return
        if self.likelihood not in LIKELIHOODS:
            raise unknown("likelihood", self.likelihood, LIKELIHOODS)
        check_positive("weight", self.weight)

    def _check_heads(self) -> None:
        heads: object = self.heads  # whatever was given
        if not isinstance(heads, tuple) or not all(isinstance(each, Outputs) for each in heads):
            raise InvalidInput(f"heads is {self.heads!r}: give a tuple of Outputs(...), one for each head")
        for each in self.heads:
            if each.heads or each.metric is not None:
                what = "heads of its own" if each.heads else "a metric, which judges all heads together"
                raise InvalidInput(f"head {each.name!r} has {what}: give that to the outer Outputs")
        names = [each.name for each in self._named]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"two heads have the name {twice!r}: give each a name of its own")
        summed = self.distribution.name
        given = [
            name
            for name, value in (("take", self.take), ("class_dim", self.class_dim), ("name", self.name or None))
            if value is not None
        ]
        given += ["weight"] if self.weight != 1 else []
        given += ["likelihood"] if self.likelihood not in ("categorical", summed) else []
        if given:
            raise InvalidInput(f"{given[0]}= is given beside heads=: give it to the heads, each its own")
        object.__setattr__(self, "likelihood", summed)

    @property
    def _named(self) -> tuple[Outputs, ...]:
        """The heads with names, and with what takes them out of several."""
        heads = self.heads or (self,)
        found = []
        for place, each in enumerate(heads):
            name = each.name or str(place + 1)
            take = part_of(name, place, len(heads)) if each.take is None and self.heads else each.take
            found.append(dataclasses.replace(each, name=name, take=take, metric=None))
        return tuple(found)

    @property
    def _only(self) -> Outputs | None:
        """The head whose logits are a plain tensor; None where there is a sum of heads."""
        if len(self.heads) == 1:
            return self.heads[0]._only
        return self if not self.heads and self.weight == 1 else None

    @property
    def logits(self) -> Callable[..., object] | None:
        """From what the model returns to ``(samples, ..., classes)`` logits, or a tuple of such for several heads.

        None where nothing has to be done. With class and Bernoulli logits it refuses probabilities, wherever a network
        is run.
        """
        only = self._only
        if only is None:
            return all_of({each.name: each._own_logits for each in self._named})
        return only._own_logits

    @property
    def _own_logits(self) -> Callable[..., object] | None:
        taken = self.take if self.class_dim is None else classes_last(self.take, self.class_dim)
        return taken if self.likelihood == "gaussian" else logits_only(taken, self.likelihood)

    @property
    def metric_name(self) -> str:
        """What the metric is called; empty where there is none."""
        if self.metric is None:
            return ""
        name = str(getattr(self.metric, "__name__", "metric"))
        return "metric" if name == "<lambda>" else name

    @property
    def distribution(self) -> Likelihood:
        """The likelihood itself."""
        only = self._only
        if only is not None:
            return LIKELIHOODS[only.likelihood]
        return Several(tuple(Head(each.name, LIKELIHOODS[each.likelihood], each.weight) for each in self._named))

    @property
    def squared(self) -> Outputs:
        """The same numbers as means of Gaussians: the divergence is half their squared distance."""
        if self._only is None:
            heads = tuple(dataclasses.replace(each, likelihood="gaussian") for each in self._named)
            return Outputs(heads=heads, metric=self.metric)
        # What is taken stays what the outputs mean, so that class logits are told from probabilities here too.
        return Outputs(self.logits, likelihood="gaussian", metric=self.metric)

    def batches(self, batches: Iterable[object], model: nn.Module) -> Iterator[Batch]:
        """Read batches one by one as `as_batches` does, with targets in the shape of these logits."""
        return map(self._fitted, as_batches(batches, model))

    def _fitted(self, batch: Batch) -> Batch:
        targets, only = batch.targets, self._only
        if targets is None:
            return batch
        given = (targets,) if isinstance(targets, Tensor) else tuple(targets)
        heads = self._named if only is None else (only,)
        if len(given) != len(heads):
            raise InvalidInput(
                f"batch {batch.index} has targets for {len(given)} heads, and the outputs have {len(heads)}: give "
                + ("one tensor" if only is not None else "a tuple with one tensor, or None, for each, in their order")
            )
        fitted = tuple(None if own is None else each._flat(own) for each, own in zip(heads, given, strict=True))
        if all(each is None for each in fitted):
            return dataclasses.replace(batch, targets=None)
        return dataclasses.replace(batch, targets=fitted if only is None else fitted[0])

    def _flat(self, targets: Tensor) -> Tensor:
        """Targets of dense outputs as ``(samples, positions)``, or with numbers for every class last."""
        if self.class_dim is None or targets.ndim < 2:
            return targets
        if self.likelihood == "categorical":
            return targets.flatten(1)
        return targets if targets.ndim < 3 else targets.movedim(self.class_dim, -1).flatten(1, -2)
