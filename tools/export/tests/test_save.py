"""Names, extraction points, weights, requests: what a caller sees of ``save``."""

from pathlib import Path

import loopfm_export as le
import pytest
import torch
from torch import nn

X, Y = torch.randn(4, 3), torch.randn(4, 3)


class Call(nn.Module):
    """A module whose forward is the given function."""

    def __init__(self, f):
        super().__init__()
        self.f = f


class Two(Call):
    def forward(self, left, right):
        return self.f(left, right)


class One(Call):
    def forward(self, batch):
        return self.f(batch)


class Many(Call):
    def forward(self, *columns):
        return self.f(*columns)


def save(tmp_path: Path, module: nn.Module, example, **options) -> le.Exported:
    return le.save(module.eval(), example, tmp_path / "m.safetensors", **options)


@pytest.mark.parametrize(
    "module, example, names",
    [
        (Two(lambda a, b: a + b), (X, Y), ["left", "right"]),
        (Two(lambda a, b: a + b), {"left": X, "right": Y}, ["left", "right"]),
        (Two(lambda a, b: a["x"] + b), (dict(x=X), Y), ["left.x", "right"]),
        (One(lambda d: d["u"] + d["v"]), {"u": X, "v": Y}, ["u", "v"]),
        (One(lambda d: d["u"]["w"] + d["v"][0]), {"u": {"w": X}, "v": [Y]}, ["u.w", "v.0"]),
        (One(lambda x: x[0] + x[1]), [X, Y], ["batch.0", "batch.1"]),
        (One(lambda x: x * 2), X, ["batch"]),
        (Many(lambda a, b: a + b), (X, Y), ["columns.0", "columns.1"]),
    ],
)
def test_input_names(tmp_path, module, example, names) -> None:
    assert save(tmp_path, module, example).inputs == names


@pytest.mark.parametrize(
    "f, outputs, names",
    [
        (lambda x: x * 2, None, ["out"]),
        (lambda x: x * 2, "prob", ["prob"]),
        (lambda x: (x * 2, x + 1), None, ["out.0", "out.1"]),
        (lambda x: (x * 2, x + 1), ["a", "b"], ["a", "b"]),
        (lambda x: {"p": x * 2, "aux": [x + 1]}, None, ["p", "aux.0"]),
        (lambda x: {"p": x * 2, "aux": [x.sort(0)[0]]}, {"p": "prob"}, ["prob"]),
    ],
)
def test_output_names(tmp_path, f, outputs, names) -> None:
    assert save(tmp_path, One(f), X, outputs=outputs).outputs == names


def test_extraction_points_are_copies(tmp_path) -> None:
    """The library adds to the activation in place after the layer; the extracted value is the layer's."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(3, 5), nn.Linear(5, 1)

        def forward(self, x):
            h = self.body(x)
            h += 1
            return self.head(h.relu_())

    torch.manual_seed(0)
    model = Model()
    done = save(tmp_path, model, (X,), outputs=["y"], extract=["body", "head:in"])
    assert done.outputs == ["y", "body", "head:in"]
    got = le.interp.run_file(done.path, {"x": X.numpy()})
    torch.testing.assert_close(torch.from_numpy(got["body"]), model.body(X))
    torch.testing.assert_close(torch.from_numpy(got["head:in"]), (model.body(X) + 1).relu())
    with pytest.raises(le.ExportError, match="no submodule 'tail'"):
        save(tmp_path, model, (X,), extract=["tail"])


def test_unused_inputs_are_dropped_aloud(tmp_path) -> None:
    with pytest.warns(UserWarning, match=r"inputs \['label'\]"):
        done = save(tmp_path, One(lambda d: d["x"] * 2), {"x": X, "label": torch.zeros(4)})
    assert (done.inputs, done.dropped_inputs) == (["x"], ["label"])


def test_weights_are_written_once(tmp_path) -> None:
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Embedding(5, 3)
            self.b, self.tied = self.a, nn.Linear(3, 5, bias=False)
            self.tied.weight = self.a.weight
            self.register_buffer("shift", torch.tensor([1, 0, 2, 1]), persistent=False)
            self.unused = nn.Linear(3, 3)

        def forward(self, ids):
            return self.tied(self.a(ids) + self.b((ids + self.shift) % 5)) * torch.tensor([0.5])

    done = save(tmp_path, Shared(), (torch.randint(0, 5, (3, 4)),))
    text, weights = le.read_model(done.path)
    assert sorted(v.shape for v in weights.values()) == [(1,), (4,), (5, 3)]
    assert weights["shift"].dtype == "int32" and 'param "shift" : i32[4]' in text


def test_types_of_inputs(tmp_path) -> None:
    example = {"id": torch.tensor([1, 2]), "small": torch.tensor([1, 2], dtype=torch.int8), "price": torch.rand(2).double(),
               "flag": torch.tensor([True, False])}  # fmt: skip
    done = save(tmp_path, One(lambda d: d["price"].view(-1, 1).float()[:, 0] * d["id"] + d["small"] * d["flag"]), example)
    types = {n.attrs["name"]: n.dtype for n in done.program.leaves("input")}
    assert types == {"id": "i32", "small": "i32", "price": "f32", "flag": "bool"}


def test_requests(tmp_path) -> None:
    done = save(tmp_path, Two(lambda a, b: (a * b).sum(-1)), (X, Y), per_request=["left"])
    text, _ = le.read_model(done.path)
    assert text.split("\n")[1:5] == [
        '%0 = input "left" : f32[requests, 3]',
        '%1 = input "right" : f32[rows, 3]',
        '%2 = input "request_of_row" : i32[rows]',
        "%3 = gather(%0, %2) {axis=0} : f32[rows, 3]",
    ]
    with pytest.raises(le.ExportError, match=r"per_request names \['middle'\]"):
        save(tmp_path, Two(lambda a, b: a + b), (X, Y), per_request=["middle"])


def test_common_subexpressions_are_shared(tmp_path) -> None:
    done = save(tmp_path, One(lambda x: (x * 2).sigmoid() + (x * 2).sigmoid()), X)
    assert [n.op for n in done.program.nodes].count("sigmoid") == 1


def test_storage(tmp_path) -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(p.half().float())
    done = save(tmp_path, layer, (X,), storage="f16")
    assert done.path.stat().st_size < save(tmp_path / "b", layer, (X,)).path.stat().st_size
    assert max(done.errors.values()) < 1e-6


def test_files_are_deterministic(tmp_path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    one = save(tmp_path / "a", layer, (X,), model="m", source="s").path.read_bytes()
    assert one == save(tmp_path / "b", layer, (X,), model="m", source="s").path.read_bytes()
