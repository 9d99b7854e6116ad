from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant import InvalidInput, Request
from mckp_quant.pipeline import DataEntry, Recipe, Settings
from mckp_quant.pipeline.recipes.keys import KEYS, SECTIONS, TOP
from mckp_quant.tables import schema

from ...tables.test_schemas import complaints
from .recipe_schema import built

SHORT = """
[network]
model = "net.py:model"
[data.calibration]
batches = "data.npz"
[request]
budgets = {weight_bytes = "90kB"}
"""
ALL = Recipe(
    model="net.py:model",
    data={"first set": DataEntry("data.npz", batch_size=8, weight=2.5), "other": DataEntry("package.module:function")},
    request=mq.Request({"bops": 5, "weight_bytes": "9kB"}, pinned={"a.b": "w4"}, choices={"kind:linear": ("w4",)}),
    held_out=DataEntry("held.py:batches"),
    settings=Settings(
        formats="w2,w4",
        rounder="gptq",
        activation_range="minmax",
        method="measured_kl",
        precision=0.1,
        solver="exact",
        seconds=5.0,
        confirm_evaluations=11,
        evaluations=12,
        refine_held_back=0.2,
        finish_held_back=0.3,
        finish_steps=7,
        exports=("torchao", "json"),
    ),
    device="cpu",
    dtype="float64",
    likelihood="gaussian",
    class_dim=1,
    heads=("classes=categorical", "boxes=gaussian,weight=0.5"),
    outputs="net.py:outputs",
    seed=3,
    max_batches=9,
    memory_limit="2GB",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> Path:
    Path("r.toml").write_text(text, encoding="utf-8")
    return Path("r.toml")


def test_a_recipe_is_read_as_it_was_written(here: Path) -> None:
    ALL.save("r.toml")
    assert Recipe.load("r.toml") == ALL
    document = tomllib.loads(Path("r.toml").read_text())
    assert document == ALL.document()
    assert complaints(schema("recipe"), document) == []


def test_every_value_that_a_recipe_can_have_makes_a_difference_in_its_file(here: Path) -> None:
    """`ALL` has every field other than by default, so a field that is not written would not come back."""
    plain = Recipe(ALL.model, ALL.data, ALL.request)
    for each in dataclasses.fields(Recipe):
        if each.name not in ("model", "data", "request"):
            assert getattr(ALL, each.name) != getattr(plain, each.name)
    for each in dataclasses.fields(Settings):
        assert getattr(ALL.settings, each.name) != getattr(plain.settings, each.name)


def test_a_short_recipe_has_defaults_for_all_else(here: Path) -> None:
    found = Recipe.load(written(SHORT))
    assert found == Recipe("net.py:model", {"calibration": DataEntry("data.npz")}, mq.Request({"weight_bytes": "90kB"}))
    assert Recipe.load(written(found.text())) == found


def test_the_file_has_a_comment_for_every_key(here: Path) -> None:
    for recipe in (ALL, Recipe.load(written(SHORT))):
        words = " ".join(line.removeprefix("#").strip() for line in recipe.text().splitlines())
        for key in KEYS:
            assert " ".join(key.says.split()) in words, key.path


def test_defaults_of_keys_are_those_of_recipes_and_settings(here: Path) -> None:
    document = Recipe.load(written(SHORT)).document()
    sections = {**document, TOP: document, "data.NAME": document["data"]["calibration"]}
    for key in KEYS:
        if not key.needed and key.path != "data.NAME.batches":
            assert sections[key.section].get(key.name) == key.default, key.path


def test_the_schema_says_what_the_keys_say() -> None:
    assert schema("recipe") == built()
    assert complaints(schema("recipe"), tomllib.loads(SHORT)) == []
    assert complaints(schema("recipe"), tomllib.loads(SHORT + "\n[refine]\nevaluation = 3\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nework = 1", r"unknown key of the recipe 'r\.toml' 'nework': did you mean 'network'"),
        ("[refine]\nevalutions = 3", r"unknown key in \[refine\] of .* 'evalutions': did you mean 'evaluations'"),
        ("[data.two]\nbatch = 'x.npz'", r"unknown key in \[data\.two\] of .* 'batch': did you mean 'batches'"),
        ("[refine]\nevaluations = 'many'", r"r\.toml': refine\.evaluations is 'many': it must be a number, at least 0"),
        ("seed = -1", r"r\.toml': seed is -1: it must be a whole number from 0"),
        ("seed = true", r"r\.toml': seed is True: it must be a whole number"),
        ("max_batches = 0", r"max_batches is 0: it must be a whole number, at least 1"),
        ("memory_limit = true", r"memory_limit is True: it must be a number of bytes, such as '500MB'"),
        ("memory_limit = 'half'", r"memory_limit = 'half' cannot be read"),
        ("[round]\nrounder = 'gtpq'", r"round\.rounder: unknown rounder 'gtpq': did you mean 'gptq'"),
        ("[round]\nformats = 'w99'", r"round\.formats is 'w99': "),
        ("[round]\nformats = 4", r"round\.formats is 4: it must be text, which is not empty"),
        ("[measure]\nmethod = 'gauss'", r"measure\.method: unknown method 'gauss': did you mean 'gauss_newton'"),
        ("[measure]\nprecision = 0", r"measure\.precision is 0: it must be a number above 0"),
        ("[outputs]\nheads = 'boxes'", r"outputs\.heads is 'boxes': it must be a list of heads, such as"),
        ("[outputs]\nheads = ['boxes']", r"outputs\.heads is \['boxes'\]: it must be a list of heads, such as"),
        ("[allocate]\nsolver = 'exakt'", r"allocate\.solver: unknown solver 'exakt': did you mean 'exact'"),
        ("[allocate]\nseconds = 0", r"allocate\.seconds is 0: give a number of seconds above 0"),
        ("[finish]\nheld_back = 1", r"finish\.held_back is 1: it must be a number between 0 and 1"),
        ("[finish]\nsteps = 1.5", r"finish\.steps is 1\.5: it must be a whole number, at least 0"),
        ("[outputs]\nclass_dim = 'one'", r"outputs\.class_dim is 'one': it must be a whole number"),
        ("[outputs]\nlikelihood = 'gausian'", r"outputs\.likelihood: unknown likelihood 'gausian': did you mean"),
        ("[export]\nto = 'torchao'", r"export\.to is 'torchao': it must be a list of targets, such as \['torchao'\]"),
        ("[export]\nto = ['torcho']", r"export\.to: unknown export target 'torcho': did you mean 'torchao'"),
        ("[held_out]\nshare = 0.5\nbatches = 'h.npz'", r"\[held_out\] has a share and data of its own: give one"),
        ("[held_out]\nbatch_size = 5", r"\[held_out\] has neither batches nor text: give one of them"),
        ("[data.two]\nweight = 2.0", r"\[data\.two\] has neither batches nor text: give one of them"),
        ("[data.two]\nbatches = 'x.npz'\ntext = 't.txt'", r"\[data\.two\] has both batches and text: give one of them"),
        ("refine = 3", r"r\.toml' has refine = 3: it must be a section, \[refine\]"),
        ('schema = "mckp-quant/recipe/2"', "newer than this version"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_says_which_key_and_what_is_allowed(text: str, words: str, here: Path) -> None:
    top = text if not text.startswith("[") else ""
    with pytest.raises(mq.InvalidInput, match=words):
        Recipe.load(written(f"{top}\n{SHORT}\n{'' if top else text}\n"))


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ('model = "net.py:model"', r"r\.toml' lacks network\.model: write it, the network: package\.module:function"),
        ('[data.calibration]\nbatches = "data.npz"', r"the recipe names no data: write a section such as \[data"),
        ('[request]\nbudgets = {weight_bytes = "90kB"}', r"lacks \[request\]: write what is asked, as budgets = "),
        ('budgets = {weight_bytes = "90kB"}', "no budget given: name at least one"),
    ],
)
def test_a_recipe_without_what_it_needs_says_so(without: str, words: str, here: Path) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        Recipe.load(written(SHORT.replace(without, "")))


def test_files_are_named_from_the_folder_of_the_recipe(here: Path) -> None:
    (here / "deep").mkdir()
    text = (
        SHORT
        + '[held_out]\nbatches = "../held.npz"\n[data.more]\ntext = "a.txt"\n[data.code]\nbatches = "pack.age:data"\n'
    )
    (here / "deep" / "r.toml").write_text(text)
    found = Recipe.load("deep/r.toml")
    assert found.model == os.path.join("deep", "net.py") + ":model"
    assert found.data["calibration"].batches == os.path.join("deep", "data.npz")
    assert found.data["more"].text == os.path.join("deep", "a.txt")
    assert found.data["code"].batches == "pack.age:data"
    assert found.held_out == DataEntry("held.npz")
    (here / "elsewhere").mkdir()
    found.save("elsewhere/again.toml")
    assert Recipe.load("elsewhere/again.toml") == found
    assert str(here) not in Path("elsewhere/again.toml").read_text()


def test_absolute_files_and_checkpoints_stay_what_they_are(here: Path) -> None:
    text = SHORT.replace("net.py:model", "hf:model").replace("data.npz", "/data/data.npz")
    found = Recipe.load(written(text))
    assert (found.model, found.data["calibration"].batches) == ("hf:model", "/data/data.npz")
    (here / "below").mkdir()
    document = tomllib.loads(found.rooted("below").text())
    assert document["network"]["model"] == f"hf:{os.path.join('..', 'model')}"
    assert document["data"]["calibration"]["batches"] == "/data/data.npz"


def test_a_request_may_stand_in_a_file(here: Path) -> None:
    request = '[request]\nbudgets = {weight_bytes = "90kB"}'
    Path("asked.toml").write_text('budgets = {bops = "20%"}')
    assert Recipe.load(written(SHORT.replace(request, '[request]\nfile = "asked.toml"'))).request == mq.Request(
        {"bops": "20%"}
    )
    for text, words in (
        ('file = "asked.yaml"', r"request\.file is 'asked\.yaml': it must name a \.toml or a \.json"),
        ('file = "asked.toml"\nbudgets = {}', r"\[request\] has a file and 'budgets': a file says all of the request"),
        ("budget = {}", "unknown .*'budget'.*: did you mean 'budgets'"),
    ):
        with pytest.raises(mq.InvalidInput, match=words):
            Recipe.load(written(SHORT.replace(request, f"[request]\n{text}")))


def test_costs_that_were_not_measured_go_into_a_file_beside(here: Path) -> None:
    costs = mq.CostTable("latency", "ns", ("a",), ("w2", "w4"), np.array([[1, -1]]))
    recipe = dataclasses.replace(ALL, request=mq.Request({"latency": 5}, costs=[costs]))
    recipe.save("r.toml")
    assert tomllib.loads(Path("r.toml").read_text())["request"] == {"file": "r-request.json"}
    assert Recipe.load("r.toml").request.document() == recipe.request.document()


def test_every_section_has_keys_and_every_key_a_path_of_its_own() -> None:
    assert len({key.path for key in KEYS}) == len(KEYS)
    assert TOP in SECTIONS


def test_an_onnx_file_is_refused_with_the_commands_to_type() -> None:
    with pytest.raises(InvalidInput, match=r"model 'onnx:net.onnx' is computed by.*mckp-quant measure onnx:net.onnx"):
        Recipe("onnx:net.onnx", {"calibration": DataEntry("data.npz")}, Request({"bits_per_weight": 4}))
