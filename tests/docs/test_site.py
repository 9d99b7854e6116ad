"""The built pages, where MCKP_QUANT_SITE says that they lie; `make docs` builds them and runs this."""

from __future__ import annotations

import importlib
import os
import pkgutil
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import mckp_quant

pytestmark = pytest.mark.skipif(
    "MCKP_QUANT_SITE" not in os.environ, reason="MCKP_QUANT_SITE does not say where the built pages are: make docs does"
)
SITE = Path(os.environ.get("MCKP_QUANT_SITE", ""))


class Page(HTMLParser):
    """The places that a page can be linked at, and where it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.needs: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name == "href" and value:
                (self.needs if tag == "link" else self.links).append(value)
            elif name == "src" and value:
                self.needs.append(value)


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    folders = [path for path in SITE.iterdir() if path.name != "_static"]  # there lie parts of the theme, no pages
    files = [file for path in folders for file in (path.rglob("*.html") if path.is_dir() else [path])]
    return {file.resolve(): Page(file) for file in files if file.suffix == ".html"}


@pytest.fixture(scope="module")
def inventory() -> dict[str, tuple[str, str]]:
    """What can be looked up: from a name to its kind and its place in the site."""
    lines = zlib.decompress((SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    found = {}
    for line in lines:
        name, rest = line.split(" py:", 1) if " py:" in line else line.split(" std:", 1)
        kind, _, place, _ = rest.split(" ", 3)
        found[name] = kind, place.replace("$", name)
    return found


def test_every_public_name_is_in_the_reference(inventory: dict[str, tuple[str, str]], pages: dict[Path, Page]) -> None:
    packages = [each.name for each in pkgutil.walk_packages(mckp_quant.__path__, "mckp_quant.") if each.ispkg]
    rooms = [name for name in ("mckp_quant", *packages) if getattr(importlib.import_module(name), "__all__", ())]
    assert {"mckp_quant", "mckp_quant.solvers", "mckp_quant.export"} <= set(rooms)
    for room in rooms:
        for name in importlib.import_module(room).__all__:
            assert f"{room}.{name}" in inventory, f"{room}.{name} has no entry: see docs/_site/api_reference.py"
            file, _, place = inventory[f"{room}.{name}"][1].partition("#")
            assert place in pages[(SITE / file).resolve()].places, f"{room}.{name} has no place on {file}"


def test_every_link_inside_the_site_leads_somewhere(pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for link in (*page.links, *page.needs):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].places)
            if not (known or (target.is_file() and target not in pages)):
                dead.append(f"{path.name}: {link}")
    assert not dead


def test_no_page_needs_the_network(pages: dict[Path, Page]) -> None:
    far = [f"{path.name}: {need}" for path, page in pages.items() for need in page.needs if urlsplit(need).netloc]
    assert not far


def test_words_are_in_the_glossary(inventory: dict[str, tuple[str, str]]) -> None:
    words = "KL, nats, Gauss-Newton, BOPs, tied, front, dual bound, gap, certificate, core, price, table, policy, MCKP"
    for word in words.split(", "):
        assert inventory[word][0] == "term", word


def test_search_knows_names_and_words() -> None:
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ('"knapsack"', '"allocate"', '"gap"', "check_stability"))


def test_formulas_are_drawn_without_a_script(pages: dict[Path, Page]) -> None:
    assert "<math" in (SITE / "index.html").read_text(encoding="utf-8")
    assert not [need for page in pages.values() for need in page.needs if "mathjax" in need.casefold()]
