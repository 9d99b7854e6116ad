"""What the last pass decided, and what that was worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decided:
    """What `finish` decided, and what that was worth on batches that it had held back.

    Attributes
    ----------
    codes
        Which codes were taken: ``"float inputs"`` (every layer rounded on the inputs of the float network, as a bank
        has them), ``"in order"`` (on those of the network rounded so far) or ``"in order, corrected"`` (the same, and
        to give what the float network gives).
    tried
        Each of these with the KL that it had, before anything else was done.
    spreads, means
        How much of the differences between spreads and means of features was taken away.
    steps
        After how many steps of learning the network was best; 0 where nothing was learned.
    before, before_stderr
        KL of the network with the codes on float inputs.
    after, after_stderr
        KL of what is returned.
    gained, gained_stderr
        By how much it fell, with the error of the paired difference.
    unit
        ``"nats per sample"`` or ``"nats per token"``.
    samples, held_back
        How many samples were fitted to, and held back.
    partial
        Layers that some batches reached only after they were rounded.
    """

    codes: str
    tried: tuple[tuple[str, float], ...]
    spreads: float
    means: float
    steps: int
    before: float
    before_stderr: float
    after: float
    after_stderr: float
    gained: float
    gained_stderr: float
    unit: str
    samples: int
    held_back: int
    partial: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What was decided, a line each."""
        tried = ", ".join(f"{name} {kl:.4g}" for name, kl in self.tried)
        matched = "biases and norms are left as they were"
        if self.means or self.spreads:
            matched = f"means of features are matched by {self.means:.0%}, spreads by {self.spreads:.0%}"
        lines = [
            f"codes: {self.codes} (KL {tried})",
            matched,
            f"learned for {self.steps} steps" if self.steps else "nothing is learned",
            f"KL {self.before:.4g} +- {self.before_stderr:.2g} -> {self.after:.4g} +- {self.after_stderr:.2g} "
            f"{self.unit}, {self.gained:.2g} +- {self.gained_stderr:.2g} less, on {self.held_back} samples that were "
            f"held back from {self.samples + self.held_back}",
        ]
        if self.partial:
            names = ", ".join(map(repr, self.partial))
            lines.append(f"not all batches take the same way: {names} were rounded on those that came first")
        return tuple(lines)
