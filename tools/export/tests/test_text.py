"""The text form: numbers, round trip, malformed lines."""

import numpy as np
import pytest
from loopfm_export.text import float_text, parse, render

TEXT = """loopfm 1
%0 = input "ids" : i32[rows, 16]
%1 = param "emb.weight" : f32[160, 4]
%2 = gather(%1, %0) {axis=0} : f32[rows, 16, 4] @ "emb"
%3 = reshape(%2) : f32[16*rows, 4]
%4 = slice(%3) {axis=1, start=0, stop=3, step=2} : f32[16*rows, 2]
%5 = permute(%4) {perm=[1, 0]} : f32[2, 16*rows] @ "a \\"quoted\\" name"
%6 = const -inf : f32[]
%7 = const -7 : i32[]
%8 = const true : bool[]
%9 = iota : i32[5]
return "x" = %5, "y z" = %6, "n" = %7, "b" = %8, "i" = %9
"""


def test_round_trip() -> None:
    assert render(parse(TEXT)) == TEXT


@pytest.mark.parametrize("line", ['%0 = input "a" : i64[rows]', '%1 = input "a" : f32[rows]', "%0 = relu(%0) : f32[batch]", "rubbish"])
def test_malformed(line: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(f'loopfm 1\n{line}\nreturn "a" = %0\n')


@pytest.mark.parametrize(
    "value, text",
    [(0.0, "0.0"), (-0.0, "-0.0"), (1, "1.0"), (0.5, "0.5"), (1e-9, "1e-9"), (1.5e-7, "1.5e-7"), (1e-4, "0.0001"), (9e-5, "9e-5"),
     (123.25, "123.25"), (-4294967295, "-4294967300.0"), (1e15, "1000000000000000.0"), (1e16, "1e16"), (0.1, "0.1"),
     (1 / 3, "0.33333334"), (16777216, "16777216.0"),
     (3.4028235e38, "3.4028235e38"), (float("inf"), "inf"), (-float("inf"), "-inf")],
)  # fmt: skip
def test_floats_as_rust_prints_them(value: float, text: str) -> None:
    assert float_text(value) == text
    assert np.float32(float(text)) == np.float32(value)


def test_floats_read_back() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    for v in values[np.isfinite(values)]:
        assert np.float32(float(float_text(v))) == v
