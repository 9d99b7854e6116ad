"""GPTQ against plain loops with the inverse written out, against nearest, and against least squares."""

from __future__ import annotations

import dataclasses
import itertools
import logging

import pytest
import torch
from torch import Tensor

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.rounding import EncodedWeight, Gptq, Nearest, decode_weight, encode_weight
from mckp_quant.rounding.rounder import InputStatistics
from mckp_quant.rounding.rounders.columns import inverse_factor

from ..networks import draw

PLAIN = Gptq(scales=(1.0,), sweeps=0)
FORMATS = [
    *(Format.named(name) for name in ("w1", "w2", "w3", "w4z", "w8", "w2t", "w3g16", "w4g16z", "w5tz")),
    *(Format.named(name) for name in ("fp8_e4m3", "fp8_e5m2t", "mxfp4", "nvfp4")),
]


def layer_of(rows: int, size: int, groups: int = 1) -> Layer:
    return Layer("l", "linear" if groups == 1 else "conv1d", (rows, size), rows, 1)


def inputs_of(seed: int, rows: int, size: int, groups: int = 1) -> Tensor:
    """Rows whose entries are correlated and of different power."""
    mixed = draw(seed, groups, rows, size).double() @ draw(seed + 1, groups, size, size).double()
    return mixed * torch.linspace(0.2, 2, size).double()


def statistics_of(inputs: Tensor) -> InputStatistics:
    rows = torch.full((len(inputs),), float(inputs.shape[1]), dtype=torch.float64)
    return InputStatistics(inputs.transpose(1, 2) @ inputs, rows)


def small_floats(element: str) -> list[float]:
    """Every number of a small floating-point type, written out."""
    mantissa, bias, exponents = {"e4m3": (3, 7, 16), "e5m2": (2, 15, 31), "e2m1": (1, 1, 4)}[element]
    found = set()
    for exponent, fraction in itertools.product(range(exponents), range(2**mantissa)):
        if element == "e4m3" and (exponent, fraction) == (15, 7):  # which stands for nan
            continue
        lead = 1 if exponent else 0
        found.add((lead + fraction / 2**mantissa) * 2.0 ** (max(exponent, 1) - bias))
    return sorted(found | {-each for each in found})


def by_loops(weight: Tensor, entry: Format, layer: Layer, gram: Tensor, damping: float, ordered: bool) -> Tensor:
    """Codes, column by column, with the inverse of the damped Gram matrix shrunk by each column that is fixed."""
    scheme = entry.weight_scheme
    assert scheme is not None
    begun = encode_weight(weight, entry, layer)
    channels, size = begun.elements.shape
    per_group = channels // len(gram)
    codes = torch.empty(channels, size, dtype=torch.float64)
    allowed = torch.tensor(small_floats(scheme.element)) if scheme.element != "int" else None
    for row in range(channels):
        matrix = gram[row // per_group]
        power = matrix.diagonal()
        inverse = torch.linalg.inv(matrix + damping * power.mean() * torch.eye(size, dtype=torch.float64))
        columns = sorted(range(size), key=lambda at: -float(power[at])) if ordered else range(size)
        left = weight.double().reshape(channels, size)[row].clone()
        rounded = torch.empty(size, dtype=torch.float64)

        def scale_and_zero(at: int, row: int = row) -> tuple[float, float]:
            own = 0 if begun.scales.numel() == 1 else row
            group = at // scheme.group_size if scheme.group_size else 0
            zero = 0.0 if begun.zero_points is None else float(begun.zero_points[own, group])
            return float(begun.scales[own, group].double()) * begun.tensor_scale, zero

        for at in columns:
            scale, zero = scale_and_zero(at)
            number = float(left[at]) / scale
            if allowed is not None:
                code = float(allowed[(allowed.double() - number).abs().argmin()])
            elif scheme.bits == 1:
                code = -1.0 if number < 0 else 1.0
            elif scheme.symmetric:
                top = 2 ** (scheme.bits - 1) - 1
                code = float(min(max(round(number), -top), top))
            else:
                code = float(min(max(round(number) + zero, 0), 2**scheme.bits - 1))
            codes[row, at] = code
            rounded[at] = (code - zero) * scale
            left -= (left[at] - rounded[at]) / inverse[at, at] * inverse[at]
            inverse = inverse - torch.outer(inverse[:, at], inverse[at]) / inverse[at, at]
        exact = weight.double().reshape(channels, size)[row]
        near = decode_weight(begun, entry, layer, torch.float64).reshape(channels, size)[row]
        if (near - exact) @ matrix @ (near - exact) < (rounded - exact) @ matrix @ (rounded - exact):
            codes[row] = begun.elements[row].double()
    return codes


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)
def test_codes_are_those_of_plain_loops_to_the_last(entry: Format, ordered: bool) -> None:
    size, rows = 41, 6  # more columns than a block has, and groups that do not divide them
    weight, layer = draw(1, rows, size), layer_of(rows, size)
    statistics = statistics_of(inputs_of(2, 90, size))
    (found,) = dataclasses.replace(PLAIN, ordered=ordered).encode(weight, layer, [entry], statistics)
    assert isinstance(found, EncodedWeight)
    expected = by_loops(weight, entry, layer, statistics.gram, 0.01, ordered)
    assert torch.equal(found.elements.double(), expected)
    (near,) = Nearest().encode(weight, layer, [entry], None)
    assert isinstance(near, EncodedWeight)
    assert torch.equal(found.scales, near.scales)
    assert not torch.equal(found.elements, near.elements)


def test_every_group_of_inputs_counts_for_its_own_outputs() -> None:
    weight, entry = draw(1, 6, 9), Format.named("w3")
    layer, statistics = layer_of(6, 9, groups=3), statistics_of(inputs_of(4, 40, 9, groups=3))
    (found,) = PLAIN.encode(weight, layer, [entry], statistics)
    assert isinstance(found, EncodedWeight)
    assert torch.equal(found.elements.double(), by_loops(weight, entry, layer, statistics.gram, 0.01, True))


@pytest.mark.parametrize("rounder", [Gptq(), PLAIN, Gptq(damping=0.5), Gptq(ordered=False, sweeps=1)])
def test_no_output_row_is_worse_than_nearest_on_its_calibration_rows(rounder: Gptq) -> None:
    weight, layer = draw(1, 12, 20), layer_of(12, 20)
    inputs = inputs_of(6, 60, 20)
    made = rounder.encode(weight, layer, FORMATS, statistics_of(inputs))
    for entry, found in zip(FORMATS, made, strict=True):
        errors = [
            (inputs[0] @ (decode_weight(each, entry, layer, torch.float64) - weight.double()).T).square().sum(dim=0)
            for each in (found, encode_weight(weight, entry, layer))
        ]
        assert bool((errors[0] <= errors[1] * (1 + 1e-9)).all()), entry.name
        assert float(errors[0].sum()) < float(errors[1].sum()), entry.name


def test_formats_side_by_side_are_each_as_alone() -> None:
    weight, layer = draw(1, 7, 20), layer_of(7, 20)
    statistics = statistics_of(inputs_of(6, 60, 20))
    together = Gptq().encode(weight, layer, FORMATS, statistics)
    for entry, found in zip(FORMATS, together, strict=True):
        (alone,) = Gptq().encode(weight, layer, [entry], statistics)
        assert isinstance(found, EncodedWeight)
        assert isinstance(alone, EncodedWeight)
        assert torch.equal(found.elements, alone.elements), entry.name
        assert torch.equal(found.scales, alone.scales), entry.name


def test_with_uncorrelated_inputs_of_equal_power_it_is_nearest() -> None:
    weight, layer = draw(1, 6, 24), layer_of(6, 24)
    identity = InputStatistics(torch.eye(24, dtype=torch.float64)[None] * 3, torch.tensor([24.0]).double())
    for rounder in (PLAIN, Gptq(scales=(1.0,))):
        for entry, found in zip(FORMATS, rounder.encode(weight, layer, FORMATS, identity), strict=True):
            near = encode_weight(weight, entry, layer)
            assert isinstance(found, EncodedWeight)
            assert torch.equal(found.elements.double(), near.elements.double()), entry.name
            assert torch.equal(found.scales.double(), near.scales.double()), entry.name


def test_other_inputs_than_the_float_networks_move_the_weight_to_the_least_squares_solution() -> None:
    weight, layer, entry = draw(1, 3, 8), layer_of(3, 8), Format.named("w8")
    float_inputs = inputs_of(3, 50, 8)
    inputs = float_inputs + 0.3 * inputs_of(9, 50, 8)
    statistics = dataclasses.replace(statistics_of(inputs), cross=float_inputs.transpose(1, 2) @ inputs)
    solved = torch.linalg.lstsq(inputs[0], float_inputs[0] @ weight.double().T).solution.T
    (found,) = Gptq(damping=1e-9).encode(weight, layer, [entry], statistics)
    near = decode_weight(encode_weight(solved, entry, layer), entry, layer, torch.float64)
    made = decode_weight(found, entry, layer, torch.float64)
    step = solved.abs().amax(dim=1) / 127

    def error(of: Tensor) -> float:
        return float((inputs[0] @ of.T - float_inputs[0] @ weight.double().T).square().sum())

    assert error(solved) < error(made) <= error(near) * (1 + 1e-9)
    assert error(made) < error(weight.double())
    assert bool(((made - solved).abs() <= 6 * step[:, None]).all())


def test_inputs_that_span_too_little_raise_the_damping_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    weight, layer = draw(1, 4, 20), layer_of(4, 20)
    flat = draw(3, 1, 200, 1).double() @ draw(4, 1, 1, 20).double()
    with caplog.at_level(logging.WARNING):
        (found,) = Gptq(damping=1e-18).encode(weight, layer, [Format.named("w3")], statistics_of(flat))
    assert (
        "the inputs of layer 'l' do not span enough to factorise their Gram matrix: the damping was raised from"
        in caplog.text
    )
    assert bool(decode_weight(found, Format.named("w3"), layer).isfinite().all())


def test_fewer_rows_than_columns_are_said_with_the_figures(caplog: pytest.LogCaptureFixture) -> None:
    weight, layer = draw(1, 4, 20), layer_of(4, 20)
    with caplog.at_level(logging.WARNING):
        Gptq().encode(weight, layer, [Format.named("w3")], statistics_of(draw(3, 1, 12, 20).double()))
    assert (
        "the input of layer 'l' was seen in 12 rows, fewer than its 20 columns: give more calibration data"
        in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Gptq().encode(weight, layer, [Format.named("w3")], statistics_of(draw(3, 1, 20, 20).double()))
    assert caplog.text == ""


def test_columns_that_are_always_zero_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    weight, layer = draw(1, 4, 20), layer_of(4, 20)
    inputs = inputs_of(3, 100, 20)
    inputs[:, :, [0, 7, 19]] = 0
    with caplog.at_level(logging.WARNING):
        made = Gptq().encode(weight, layer, FORMATS, statistics_of(inputs))
    assert caplog.text == ""
    for entry, found in zip(FORMATS, made, strict=True):
        values = decode_weight(found, entry, layer, torch.float64)
        near = decode_weight(encode_weight(weight, entry, layer), entry, layer, torch.float64)
        assert bool(values.isfinite().all())
        error, before = (float((inputs[0] @ (each - weight.double()).T).square().sum()) for each in (values, near))
        assert error <= before * (1 + 1e-9)


def test_without_any_row_it_is_nearest() -> None:
    weight, layer = draw(1, 4, 20), layer_of(4, 20)
    empty = InputStatistics(torch.zeros(1, 20, 20).double(), torch.zeros(1).double())
    zeros = InputStatistics(torch.zeros(1, 20, 20).double(), torch.ones(1).double() * 40)
    for statistics in (None, empty, zeros):
        for rounder in (Gptq(), PLAIN):
            for entry, found in zip(FORMATS, rounder.encode(weight, layer, FORMATS, statistics), strict=True):
                assert isinstance(found, EncodedWeight)
                near = encode_weight(weight, entry, layer)
                assert torch.equal(found.elements.double(), near.elements.double()), entry.name


def test_a_group_without_rows_is_rounded_to_nearest_beside_the_others() -> None:
    weight, layer, entry = draw(1, 6, 9), layer_of(6, 9, groups=3), Format.named("w3")
    statistics = statistics_of(inputs_of(4, 40, 9, groups=3))
    statistics.gram[1], statistics.rows[1] = 0, 0
    (found,) = Gptq().encode(weight, layer, [entry], statistics)
    assert isinstance(found, EncodedWeight)
    near = encode_weight(weight, entry, layer)
    assert torch.equal(found.elements[2:4].double(), near.elements[2:4].double())
    assert not torch.equal(found.elements[:2].double(), near.elements[:2].double())


def test_statistics_of_another_layer_or_with_nan_are_refused() -> None:
    weight, layer = draw(1, 4, 20), layer_of(4, 20)
    with pytest.raises(InvalidInput, match=r"a Gram matrix of shape \(1, 9, 9\), but its weight has 4 rows of 20"):
        Gptq().encode(weight, layer, [Format.named("w3")], statistics_of(draw(1, 1, 30, 9).double()))
    broken = statistics_of(draw(1, 1, 30, 20).double())
    broken.gram[0, 3, 3] = float("nan")
    with pytest.raises(InvalidInput, match="the Gram matrix of the inputs holds nan or infinite numbers: check the"):
        Gptq().encode(weight, layer, [Format.named("w3")], broken)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="damping"):
        Gptq(damping=0.0)
    with pytest.raises(InvalidInput, match="sweeps"):
        Gptq(sweeps=-1)
    with pytest.raises(InvalidInput, match=r"scales is empty: give at least the candidate 1\.0"):
        Gptq(scales=())
    with pytest.raises(InvalidInput, match="a candidate of scales"):
        Gptq(scales=(1.0, -1.0))


def test_the_factor_is_the_upper_triangular_root_of_the_damped_inverse() -> None:
    gram = statistics_of(inputs_of(2, 50, 12, groups=2)).gram
    factor, matrix, share = inverse_factor(gram, 0.01)
    assert share == 0.01
    assert torch.equal(factor, factor.triu())
    torch.testing.assert_close(factor.transpose(1, 2) @ factor @ matrix, torch.eye(12).double().expand(2, 12, 12))
    mean = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    torch.testing.assert_close((matrix - gram).diagonal(dim1=1, dim2=2), 0.01 * mean[:, None].expand(2, 12))
