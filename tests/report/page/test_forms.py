"""Text, Markdown and JSON: the same data, names as text, and a schema that says what is in the document."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import mckp_quant as mq
from mckp_quant.report.page import report_data, write_report
from mckp_quant.report.page.plain_forms import as_json, as_markdown, as_plain_text, marked
from mckp_quant.report.page.sections import score_of, sections_of
from mckp_quant.tables import schema

from ...tables.test_schemas import complaints
from .reports import EVIL, allocation_on, full_report, table_of


def test_json_follows_its_schema() -> None:
    table = table_of()
    for data in (full_report(), report_data(table, allocation_on(table).policy)):
        document = json.loads(as_json(data))
        assert complaints(schema("report"), document) == []
        assert [each["format"] for each in document["layers"]] == [each.format for each in data.layers]
        assert document["loss"] == [list(row) for row in data.loss]


def test_every_section_is_in_every_form() -> None:
    data = full_report()
    text, markdown = as_plain_text(data), as_markdown(data)
    for section in sections_of(data):
        assert section.title.upper() in text
        assert f"\n## {section.title}\n" in markdown
    for layer in data.layers:
        assert re.search(rf"^\d+ +{re.escape(layer.name)} +conv2d +{layer.format} ", text, re.MULTILINE)
        assert f"| {layer.name} | conv2d | {layer.format} |" in markdown


def test_tables_in_markdown_keep_their_columns_whatever_the_names() -> None:
    markdown = as_markdown(full_report(table_of(6, names=EVIL)))
    assert not re.search(r"(?<!\\)<", markdown)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in markdown
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block


def test_marks_are_text_in_markdown() -> None:
    assert marked("a*b|c<d") == r"a\*b\|c\<d"
    assert marked("two\nlines") == r"two\\nlines"


def test_names_are_text_in_text() -> None:
    text = as_plain_text(full_report(table_of(6, names=EVIL), recipe="\x1b[31m"))
    assert "\x1b" not in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert EVIL[0] in text


def test_the_users_own_measure_comes_first() -> None:
    own = full_report().own
    assert own is not None
    assert score_of(own, "nats per sample") == ("accuracy", "98%")
    assert score_of(own, "nats per token")[0] == "perplexity"
    lost = type(own)(**{**vars(own), "accuracy": float("nan"), "loss": 0.5})
    assert score_of(lost, "nats per sample") == ("loss", "0.5")
    assert score_of(lost, "nats per token") == ("perplexity", "1.649")
    assert score_of(type(own)(**{**vars(lost), "loss": float("nan")}), "nats per token") == ("", "")


@pytest.mark.parametrize(
    ("name", "start"), [("r.html", "<!DOCTYPE"), ("r.md", "# "), ("r.txt", "Mixed"), ("r.JSON", "{")]
)
def test_the_name_of_the_file_says_the_form(name: str, start: str, tmp_path: Path) -> None:
    write_report(full_report(), tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_other_forms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(mq.InvalidInput, match=r"unknown form of report '\.htm': did you mean '\.html'"):
        write_report(full_report(), tmp_path / "r.htm")
    assert list(tmp_path.iterdir()) == []


def test_no_path_of_the_machine_is_in_any_form() -> None:
    data = full_report()
    for form in (as_json, as_markdown, as_plain_text):
        assert str(Path.cwd()) not in form(data)
        assert str(Path.home()) + "/" not in form(data)
