"""What a report says, section by section, in words and tables: the text, Markdown and HTML forms show the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...common.display import number, percent, with_error

if TYPE_CHECKING:
    from .data import Facts, ReportData
    from .lines import Measured

_LISTED = 12  # doubts before the rest is counted
_COUNTED = "Bytes count scales and zero points; a layer's share of the loss is of the sum of all predicted losses."
_ALONE = "Alone is the measured loss with this layer in its format and all others in floating point."
_KEPT = "Kept in says in how many draws of the table's data the layer has the same format."
_TOKENS = "nats per token"


@dataclass(frozen=True)
class Grid:
    """A table: headings, rows of text, and how many columns at the left are words; the others are numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes
    ----------
    key
        A word for it, which no other section has.
    title
        Its heading.
    words
        Paragraphs.
    items
        A list below them.
    grids
        Tables.
    text
        Text of which spaces and line ends matter.
    """

    key: str
    title: str
    words: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    text: str = ""


def title_of(data: ReportData) -> str:
    """The heading of the whole report."""
    return f"Mixed precision of {data.name}" if data.name else "Mixed precision"


def sections_of(data: ReportData) -> tuple[Section, ...]:
    """All sections for which there are data, in their order."""
    made = (
        _summary(data),
        _trade_off(data),
        _network(data),
        _sensitivities(data),
        _measured(data),
        _stability(data),
        _budgets(data),
        _last_pass(data),
        _run(data),
        _missing(data),
    )
    return tuple(each for each in made if each is not None)


def score_of(each: Measured, unit: str) -> tuple[str, str]:
    """What the user's own measure is called, and its value: accuracy, perplexity of tokens, or the loss."""
    if not math.isnan(each.accuracy) and unit != _TOKENS:
        return "accuracy", percent(each.accuracy)
    if math.isnan(each.loss):
        return "", ""
    if unit == _TOKENS:
        return "perplexity", number(math.exp(min(each.loss, 700)), 4)
    return "loss", number(each.loss, 4)


def proof_of(facts: Facts) -> str:
    """What is known of the policy, with its gap, as a clause."""
    if facts.ground != "none":
        return f"{facts.status}: {facts.ground}"
    if math.isnan(facts.bound):
        return facts.status
    return f"{facts.status}; no policy is below {number(facts.bound, 4)}, a gap of {number(facts.gap, 3)}"


def _summary(data: ReportData) -> Section:
    facts, own, floating, rival = data.facts, data.own, data.floating, data.rival
    predicted, error = facts.expected
    rows = []
    if facts.weight_bytes is not None:
        smaller = facts.float_bytes / facts.weight_bytes if facts.weight_bytes else math.nan
        rows.append(
            (
                "weights",
                f"{facts.weight_bytes:,} bytes",
                f"{number(facts.bits_per_weight, 4)} bits a weight, {number(smaller, 3)} times smaller than 32 bits",
            )
        )
    if own is not None and floating is not None:
        name, after = score_of(own, facts.unit)
        if name:
            before = score_of(floating, facts.unit)[1]
            rows.append((name, after, f"{before} before, on {data.samples:,} samples"))
    if not math.isnan(predicted):
        naive = "" if math.isnan(facts.corrected) else f"; {number(facts.predicted, 4)} before it was corrected"
        rows.append(("predicted loss increase", with_error(predicted, error), f"{facts.unit}{naive}"))
    if own is not None:
        measure = "KL to the float network"
        rows.append(("measured loss increase", with_error(own.kl, own.kl_stderr), f"{facts.unit}, {measure}"))
    if rival is not None:
        less = with_error(rival.above, rival.above_stderr)
        rows.append((rival.name, with_error(rival.kl, rival.kl_stderr), f"measured; this policy has {less} less"))
    rows.append(("proof", facts.status, "" if facts.ground == "none" else facts.ground))
    words = (_lead(data), *([f"{_sentence(data.verdict)}"] if data.verdict else []))
    return Section("summary", "Summary", words, grids=(Grid("In figures", ("what", "figure", "note"), tuple(rows), 3),))


def _lead(data: ReportData) -> str:
    facts = data.facts
    taken = "" if facts.weight_bytes is None else f" and takes {facts.weight_bytes:,} bytes"
    counted = len({each.format for each in data.layers})
    formats = "one format" if counted == 1 else f"{counted} different formats"
    said = f"The policy gives {len(data.layers)} layers {formats}{taken}"
    return f"{said}; it is {proof_of(facts)}."


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def _trade_off(data: ReportData) -> Section | None:
    if data.front is None:
        return None
    front = data.front
    words = (
        f"{len(front.points)} best policies lie between {front.points[0][0]:,} and {front.points[-1][0]:,} bytes. "
        "Their losses are what the table predicts of policies that were chosen for it: expect more.",
    )
    uniforms = Grid(
        "One format for all layers",
        ("format", "bytes", f"predicted, {data.facts.unit}"),
        tuple((name, f"{size:,}", number(loss, 4)) for name, size, loss in front.uniforms),
    )
    return Section("trade-off", "Size against loss", words, grids=(uniforms,) if front.uniforms else ())


def _network(data: ReportData) -> Section:
    alone = any(not math.isnan(each.measured) for each in data.layers)
    sure = any(not math.isnan(each.kept) for each in data.layers)
    noted = any(each.note for each in data.layers)
    words = ("#", "layer", "kind", "format") + ("note",) * noted
    headings = (*words, "weights", "bytes", "of bytes", "predicted", "of loss")
    headings += ("alone",) * alone + ("kept in",) * sure
    rows = tuple(
        (
            str(at),
            each.name,
            each.kind,
            each.format,
            *((each.note,) * noted),
            f"{each.weights:,}",
            "-" if each.stored_bytes is None else f"{each.stored_bytes:,}",
            percent(each.bytes_share),
            _brief(each.predicted, each.stderr),
            percent(each.loss_share),
            *((_brief(each.measured, each.measured_stderr),) * alone),
            *((percent(each.kept),) * sure),
        )
        for at, each in enumerate(data.layers, 1)
    )
    return Section(
        "network",
        "The network, layer by layer",
        (" ".join([_COUNTED, *([_ALONE] if alone else []), *([_KEPT] if sure else [])]),),
        grids=(Grid("Every layer, in the order of the network", headings, rows, len(words)),),
    )


def _brief(amount: float, stderr: float) -> str:
    return number(amount, 3) if math.isnan(stderr) else f"{number(amount, 3)} +- {number(stderr, 2)}"


def _sensitivities(data: ReportData) -> Section:
    rows = tuple(
        (each.name, *(number(loss, 3) for loss in losses)) for each, losses in zip(data.layers, data.loss, strict=True)
    )
    more = len(data.doubts) - _LISTED
    doubts = tuple(
        f"{each.layer}{f' in {each.format}' if each.format else ''}: {each.words}" for each in data.doubts[:_LISTED]
    )
    words = (
        f"The loss increase, in {data.facts.unit}, when one layer has a format and all others are in floating point."
    )
    if doubts:
        count = len(data.doubts)
        words += f" {'One is' if count == 1 else f'{count} are'} doubtful, and kept as measured:"
    return Section(
        "sensitivities",
        "How much each layer suffers from each format",
        (words,),
        (*doubts, *([f"and {more} more"] if more > 0 else [])),
        (Grid("Predicted loss increase", ("layer", *data.formats), rows),),
    )


def _measured(data: ReportData) -> Section | None:
    if not data.networks:
        return None
    headings = ("network", "bytes", "predicted KL", "measured KL", "KL above policy", "loss", "accuracy")
    rows = tuple(
        (
            each.name,
            f"{each.weight_bytes:,}",
            with_error(each.predicted, each.predicted_stderr),
            with_error(each.kl, each.kl_stderr),
            with_error(each.above, each.above_stderr),
            number(each.loss, 4),
            percent(each.accuracy),
        )
        for each in data.networks
    )
    words = [f"KL and loss in {data.facts.unit}, on {data.samples:,} samples that the table did not see."]
    if not math.isnan(data.together):
        words.append(f"Together the layers' errors add {number(data.together, 2)} to the sum of what each loses alone.")
    grid = Grid("What was run on held-back data", headings, rows)
    return Section("measured", "Predicted against measured", tuple(words), grids=(grid,))


def _stability(data: ReportData) -> Section | None:
    sure = data.sure
    if sure is None:
        return None
    rows = (
        ("this policy", number(data.facts.predicted, 4), number(sure.worst_regret, 3)),
        ("robust policy", number(sure.robust_predicted, 4), number(sure.robust_worst_regret, 3)),
    )
    counted = (
        f"{sure.draws:,} draws of the table's {sure.resampled} have {sure.distinct:,} different best policies; this "
        f"one is best in {percent(sure.best)} of them."
    )
    grid = Grid("If the table had been drawn anew", ("policy", "predicted", "worst regret"), rows)
    return Section("stability", "How sure the policy is", (_sentence(sure.verdict), counted), grids=(grid,))


def _budgets(data: ReportData) -> Section | None:
    if not data.budgets:
        return None
    unit, items, rows = data.facts.unit, [], []
    for each in data.budgets:
        rows.append(
            (f"{each.name} {'>=' if each.least else '<='} {each.asked}", each.limit, each.used or "-", each.left or "-")
        )
        if each.price > 0:
            items.append(f"{each.name}: one more {each.unit} saves about {number(each.price, 3)} {unit} at the margin.")
        elif each.price == 0:
            items.append(f"{each.name}: it does not limit the loss at the margin.")
        if each.next_limit:
            items.append(
                f"{each.name}: the next limit that helps is {each.next_limit}; it saves {number(each.saving, 3)}."
            )
    grid = Grid("Budgets", ("budget", "limit", "used", "left"), tuple(rows))
    return Section("budgets", "Budgets, and what they are worth", (), tuple(items), (grid,))


def _last_pass(data: ReportData) -> Section | None:
    found = data.last_pass
    if found is None:
        return None
    rows = (
        ("before", with_error(found.before, found.before_stderr)),
        ("after", with_error(found.after, found.after_stderr)),
        ("less by", with_error(found.gained, found.gained_stderr)),
    )
    words = f"Codes: {found.codes}. Judged on {found.held_back:,} samples that it did not fit to."
    return Section("last-pass", "The last pass", (words,), grids=(Grid("KL", ("", data.facts.unit), rows),))


def _run(data: ReportData) -> Section:
    grid = Grid("What it was made from", ("what", "value"), data.made_from, 2)
    text = "\n\n".join(part for part in (data.recipe.strip(), data.provenance.strip()) if part)
    return Section("run", "What was run", (), grids=(grid,), text=text)


def _missing(data: ReportData) -> Section | None:
    if not data.missing:
        return None
    rows = tuple((each.part, each.command) for each in data.missing)
    grid = Grid("Parts without data", ("part", "what adds it"), rows, 2)
    return Section("missing", "What is not in this report", (), grids=(grid,))
