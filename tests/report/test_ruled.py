from __future__ import annotations

import random

import pytest

from mckp_quant.report import ruled as ruled_module
from mckp_quant.report.ruled import CUT, Ruled, middle_cut, wrapped_line
from mckp_quant.report.text import as_text, table_of

LAYERS = [f"model.layers.{block}.self_attn.{part}_proj" for block in (1, 10, 11) for part in "qkv"]
ROWS = [
    (name, "int8 weights, asymmetric, in groups", "12,345", f"0.000{at} +- 1.2e-05", "-")
    for at, name in enumerate(LAYERS)
]
HEADINGS = ("layer", "what is stored", "bytes that it takes", "predicted loss", "share")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 240])
def test_no_line_is_wider_and_no_number_is_lost(width: int) -> None:
    text = as_text(table_of(HEADINGS, ROWS, left=2), width=width)
    assert max(map(len, text.splitlines())) <= width
    for row in ROWS:
        assert text.count(row[3]) == 1
    words = text.replace("\n", " ").split()
    assert words.count("12,345") == len(ROWS)


def test_a_table_with_room_is_left_as_it_is() -> None:
    lines = table_of(("layer", "bytes"), [("a b", "1"), ("c", "22")]).lines(80)
    assert lines == ["layer   bytes", "-------------", "a b         1", "c          22"]


def test_names_that_differ_differ_when_they_are_cut_too() -> None:
    rng = random.Random(0)
    for _ in range(50):
        names = sorted({"".join(rng.choices("ab.", k=rng.randint(1, 40))) for _ in range(8)})
        width = rng.randint(20, 60)
        lines = Ruled(("layer", "of"), tuple((name, "1" * 9) for name in names), 1).lines(width)
        shown = [line.split()[0] for line in lines[2:]]
        assert len(set(shown)) == len(names)
        for name, cut in zip(names, shown, strict=True):
            head, _, tail = cut.partition(CUT)
            assert name == cut or (name.startswith(head) and name.endswith(tail))


def test_what_does_not_fit_stands_below_with_the_names_again() -> None:
    rows = [(f"layer{at}", *(f"{at}.{column}" * 4 for column in range(9))) for at in range(3)]
    lines = table_of(("layer", *(f"w{column}" for column in range(9))), rows).lines(60)
    blocks = "\n".join(lines).split("\n\n")
    assert len(blocks) > 1
    assert [block.splitlines()[2].split()[0] for block in blocks] == ["layer0"] * len(blocks)
    found = [cell for block in blocks for cell in block.splitlines()[2].split()[1:]]
    assert found == list(rows[0][1:])


def test_headings_stand_on_the_rule_and_sentences_go_on_below() -> None:
    lines = table_of(("", "layers that differ"), [("proved optimal by the search", "4")]).lines(26)
    assert lines == [
        "                    layers",
        "                      that",
        "                    differ",
        "--------------------------",
        "proved optimal by        4",
        "the search                ",
    ]


def test_a_middle_is_cut_to_the_width() -> None:
    assert middle_cut("abcdefghij", 10, 4) == "abcdefghij"
    assert middle_cut("abcdefghij", 7, 3) == f"abc{CUT}hij"
    assert middle_cut("abcdefghij", 4, 3) == f"abc{CUT}"


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short", ["short"]),
        (
            "rounded      by gptq(damping=0.01, scales)",
            ["rounded      by", "             gptq(damping=0.01,", "             scales)"],
        ),
        ("- no more than thirty-two of these", ["- no more than thirty-two of", "  these"]),
        ("    indented words that go on and on", ["    indented words that go on", "    and on"]),
        ("plain words that go on until they end", ["plain words that go on until", "they end"]),
    ],
)
def test_lines_go_on_below_the_words_behind_their_label(line: str, lines: list[str]) -> None:
    assert wrapped_line(line, 32 if line.startswith("rounded") else 30) == lines


def test_what_a_table_takes_grows_with_its_rows_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = 0

    def counted(name: str, width: int, head: int) -> str:
        nonlocal cut
        cut += 1
        return middle_cut(name, width, head)

    monkeypatch.setattr(ruled_module, "middle_cut", counted)
    counts = []
    for rows in (50, 100):
        names = [f"model.layers.{number:03d}.self_attn.query_projection" for number in range(rows)]
        cut = 0
        table_of(("layer", "bytes"), [(name, "12,345") for name in names]).lines(40)
        counts.append(cut)
    assert 0 < counts[1] <= 2 * counts[0]
