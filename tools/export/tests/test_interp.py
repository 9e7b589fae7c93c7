"""The interpreter: what the ops mean at their edges, and which inputs it takes."""

import numpy as np
import pytest
from loopfm_export import interp


def evaluate(op: str, *args: np.ndarray, dtype: str, shape: str, attrs: str = "") -> np.ndarray:
    kinds = {"i": "i32", "f": "f32", "b": "bool"}
    lines = [f'%{i} = input "a{i}" : {kinds[a.dtype.kind]}[{", ".join(["rows", *map(str, a.shape[1:])])}]' for i, a in enumerate(args)]
    n = len(args)
    call = f"%{n} = {op}({', '.join(f'%{i}' for i in range(n))}){attrs} : {dtype}[{shape}]"
    text = "\n".join(["loopfm 1", *lines, call, f'return "y" = %{n}\n'])
    return interp.run(text, {}, {f"a{i}": a for i, a in enumerate(args)})["y"]


A, B = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)


@pytest.mark.parametrize("op, expected", [("div", [3, -3, -3, 3]), ("rem", [1, 1, -1, -1]), ("max", [7, 2, 7, -2]), ("pow", None)])
def test_integers(op: str, expected: list[int] | None) -> None:
    if expected is None:
        assert evaluate(op, A, np.abs(B), dtype="i32", shape="rows").tolist() == [49, 49, 49, 49]
    else:
        assert evaluate(op, A, B, dtype="i32", shape="rows").tolist() == expected


def test_casts_and_rounding() -> None:
    x = np.array([1.7, -1.7, 0.0, 2.5], np.float32)
    assert evaluate("cast", x, dtype="i32", shape="rows").tolist() == [1, -1, 0, 2]
    assert evaluate("cast", x, dtype="bool", shape="rows").tolist() == [True, True, False, True]
    assert evaluate("round", x, dtype="f32", shape="rows").tolist() == [2, -2, 0, 2]
    assert evaluate("rem", x, np.full(4, 1.5, np.float32), dtype="f32", shape="rows") == pytest.approx([0.2, 1.3, 0, 1.0], abs=1e-6)


def test_operands_must_have_one_shape() -> None:
    with pytest.raises(ValueError, match="operands differ in shape"):
        evaluate("add", np.ones((2, 3), np.float32), np.ones((2, 1), np.float32), dtype="f32", shape="rows, 3")


@pytest.mark.parametrize("bad", [-1, 3])
def test_ids_out_of_range(bad: int) -> None:
    lines = ['%0 = input "ids" : i32[rows]', '%1 = param "t" : f32[3, 2]', "%2 = gather(%1, %0) {axis=0} : f32[rows, 2]"]
    text = "\n".join(["loopfm 1", *lines, 'return "y" = %2\n'])
    with pytest.raises(IndexError, match=rf"id {bad} is outside \[0, 3\)"):
        interp.run(text, {"t": np.zeros((3, 2), np.float32)}, {"ids": np.array([0, bad])})


def test_ids_that_do_not_fit() -> None:
    text = 'loopfm 1\n%0 = input "ids" : i32[rows]\nreturn "y" = %0\n'
    with pytest.raises(ValueError, match=r"'ids' holds 5..4294967296, which does not fit in i32"):
        interp.run(text, {}, {"ids": np.array([5, 2**32])})


REQUESTS = """loopfm 1
%0 = input "user" : f32[requests]
%1 = input "item" : f32[rows]
%2 = input "request_of_row" : i32[rows]
%3 = gather(%0, %2) {axis=0} : f32[rows]
%4 = add(%3, %1) : f32[rows]
return "y" = %4
"""


def test_requests() -> None:
    f = lambda *v: np.array(v, np.float32)  # noqa: E731
    run = lambda **given: interp.run(REQUESTS, {}, given)["y"].tolist()  # noqa: E731
    assert run(user=f(10), item=f(1, 2, 3)) == [11, 12, 13]
    assert run(user=f(10, 20), item=f(1, 2)) == [11, 22]
    assert run(user=f(10, 20), item=f(1, 2, 3), request_of_row=np.array([1, 0, 1])) == [21, 12, 23]
    with pytest.raises(ValueError, match="3 rows of 2 requests"):
        run(user=f(10, 20), item=f(1, 2, 3))
    with pytest.raises(ValueError, match="'item' is missing"):
        run(user=f(10))
