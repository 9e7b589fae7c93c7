"""What has no place in a graph is refused, with the op, the module and the source line."""

import loopfm_export as le
import pytest
import torch
from test_save import One, Two, X, Y
from torch import nn

IDS = torch.arange(4)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * 2


class Top(nn.Module):
    def forward(self, x):
        return x.topk(2, dim=-1)[0]


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Top()

    def forward(self, x):
        return self.block(x)


def train(module: nn.Module) -> nn.Module:
    return module.train()


CASES = {
    "topk": (Inner().eval(), (X,), "no such op"),
    "dropout": (train(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))), (X,), "dropout in train mode: call .eval"),
    "batch norm": (train(nn.Sequential(nn.BatchNorm1d(3))), (X,), "batch normalisation in train mode: call .eval"),
    "mean of the batch": (One(lambda x: x - x.mean(0)), (X,), "batch axis"),
    "softmax over the batch": (One(lambda x: x.softmax(0)), (X,), "batch axis"),
    "slice of the batch": (One(lambda x: x[1:]), (X,), "torch.export refused|batch axis"),
    "row of the batch": (One(lambda x: x + x[0]), (X,), "reads one row in all rows"),
    "rows by rows": (Two(lambda a, b: a @ b.t()), (X, Y), "more than once|batch axis"),
    "running sum of the batch": (One(lambda x: x.cumsum(0)), (X,), "batch axis"),
    "flip of the batch": (One(lambda x: x.flip(0)), (X,), "batch axis"),
    "rows as columns": (One(lambda x: x.t().flatten() * 1.5), (X,), "moves elements between rows"),
    "doubled batch": (One(lambda x: torch.cat([x, x])), (X,), "batch axis"),
    "batch size as a value": (One(lambda x: x / x.shape[0]), (X,), "batch|size"),
    "counting rows": (One(lambda x: x + torch.arange(x.shape[0])[:, None]), (X,), "counting over the batch"),
    "other rows by id": (Two(lambda a, i: a[i]), (X, IDS), "reads other rows"),
    "boolean index": (One(lambda x: x[x[:, 0] > 0]), (X,), "depends on data|data-dependent|boolean"),
    "nonzero": (One(lambda x: x.nonzero().float()), (X,), "no such op|depends on data"),
    "branch on data": (One(lambda x: x if x.sum() > 0 else -x), (X,), "data-dependent|data dependent"),
    "fixed batch": (One(lambda x: x.view(4, -1) * 1), (X,), "torch.export refused"),
    "random numbers": (One(lambda x: x + torch.rand_like(x)), (X,), "no such op"),
    "double": (One(lambda x: (x.double() * 2).float()), (X,), "float64"),
    "half": (nn.Linear(3, 3).half(), (X.half(),), "float16"),
    "bit arithmetic": (One(lambda i: i & 3), (IDS,), "bitwise"),
    "buffer": (Counter(), (X,), "buffer mutation of 'calls'"),
    "input": (One(lambda x: x.add_(1)), (X.clone(),), "input mutation"),
    "large integer": (One(lambda i: i + 2**40), (IDS,), "does not fit in i32"),
    "one row": (One(lambda x: x * 2), (X[:1],), "at least 2 rows"),
    "no batch axis": (Two(lambda a, b: a * b), (X, torch.tensor(2.0)), "leading batch axis"),
    "uneven batch": (Two(lambda a, b: a.sum() + b.sum()), (X, torch.zeros(5)), "leading batch axis"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, tmp_path) -> None:
    module, example, reason = CASES[name]
    with pytest.raises(le.ExportError, match=reason):
        le.save(module, example, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_an_error_names_its_place(tmp_path) -> None:
    with pytest.raises(le.ExportError) as e:
        le.save(Inner().eval(), (X,), tmp_path / "m.safetensors")
    assert e.value.op == "aten.topk.default" and e.value.module == "block"
    assert "test_refusals.py" in e.value.source and "x.topk(2, dim=-1)" in e.value.source


def test_train_mode_names_the_modules(tmp_path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval()
    model[1].train()
    with pytest.raises(le.ExportError, match=r"in train mode: 1\b"):
        le.save(model, (X,), tmp_path / "m.safetensors")


def test_a_wrong_graph_is_found_out(tmp_path, monkeypatch) -> None:
    """verify compares with eager; here the table is made wrong."""
    from loopfm_export.aten import TABLE

    monkeypatch.setitem(TABLE, "aten.tanh.default", lambda c: c.g.unary("sin", c.value("self")))
    with pytest.raises(le.ExportError, match="differs by"):
        le.save(One(torch.tanh), (X,), tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
    le.save(One(torch.tanh), (X,), tmp_path / "m.safetensors", verify=False)
