"""What is measured: models, weights and batches from a seed, and what a run must give, by PyTorch in double precision."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from torch import nn

from tensors import save_file

PAST, IDS = 50, 10_000
ADAM = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
STEPS = 4
"""Of training, before anything is measured."""


def linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    # Keeps activations near 1 through any depth.
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def dense(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(linear(a, b) for a, b in zip(widths, widths[1:]))


def through(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for i, layer in enumerate(layers):
        x = layer(x if i == 0 else torch.relu(x))
    return x


class Tower(nn.Module):
    """Dense layers with ReLU between them."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.mlp = dense(widths)

    def forward(self, x):
        return {"logit": through(self.mlp, x)}


class W1(nn.Module):
    """16 fields of 32; three full crosses beside an MLP 1024-512-256; an embedding of 256 and a logit. 4.33 MFLOP a row."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(16 * IDS, 32) * 0.5)
        self.cross = nn.ModuleList(nn.Linear(512, 512) for _ in range(3))
        self.deep = dense([512, 1024, 512, 256])
        self.emb = linear(768, 256)
        self.logit = linear(256, 1)

    def forward(self, ids):
        fields = nn.functional.embedding(ids, self.table).flatten(1)
        cross = fields
        for layer in self.cross:
            cross = fields * layer(cross) + cross
        emb = self.emb(torch.cat([cross, torch.relu(through(self.deep, fields))], 1))
        return {"emb": emb, "logit": self.logit(emb)}


class Attention(nn.Module):
    """256-64-16-1 with PReLU, over query, key, difference and product. `split` does the first layer's algebra by hand:
    W [q; k; q - k; q k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q k)."""

    def __init__(self, split: bool):
        super().__init__()
        self.split = split
        for i, layer in enumerate(dense([256, 64, 16, 1])):
            self.add_module(str(i), layer)
        # Scores of a past add up.
        layer.weight.data /= PAST**0.5
        self.alpha = nn.ParameterList(torch.full((1,), 0.25) for _ in range(2))

    def forward(self, query, past):
        first = getattr(self, "0")
        if self.split:
            wq, wk, wd, wp = first.weight.split(64, 1)
            x = (query @ (wq + wd).T + first.bias)[:, None] + past @ (wk - wd).T + (query[:, None] * past) @ wp.T
        else:
            past = past.expand(len(query), -1, -1)
            q = query[:, None].expand_as(past)
            x = first(torch.cat([q, past, q - past, q * past], -1))
        for i in range(2):
            x = getattr(self, str(i + 1))(nn.functional.prelu(x, self.alpha[i]))
        return x.squeeze(-1)


class W2(nn.Module):
    """8 fields of 16, a candidate of 64 and a past of 50 of them, attended without softmax; an MLP 256-256-128-1. A batch is
    one user with many candidates, or a user a row. 1.95 MFLOP a row as written."""

    def __init__(self, split: bool = False):
        super().__init__()
        self.table = nn.Parameter(torch.randn(8 * IDS, 16) * 0.5)
        self.att = Attention(split)
        self.mlp = dense([256, 256, 128, 1])

    def logit(self, ids, cand, hist, mask):
        fields = nn.functional.embedding(ids, self.table).flatten(1)
        scores = self.att(cand, hist) * mask
        if self.att.split and len(hist) == 1:
            pooled = scores @ hist[0]
        else:
            pooled = (scores[:, None] @ hist.expand(len(ids), -1, -1)).squeeze(1)
        return through(self.mlp, torch.cat([fields, pooled, cand], 1))

    def forward(self, ids, cand, hist, mask):
        return {"prob": torch.sigmoid(self.logit(ids, cand, hist, mask))}


def tower_batch(width: int) -> Callable:
    return lambda rows, users: {"x": torch.randn(rows, width)}


def w1_batch(rows: int, users: int) -> dict[str, torch.Tensor]:
    return {"ids": torch.randint(0, 16 * IDS, (rows, 16), dtype=torch.int32)}


def w2_batch(rows: int, users: int) -> dict[str, torch.Tensor]:
    length = torch.randint(1, PAST + 1, (users,)) if users > 1 else torch.tensor([PAST])
    return {
        "ids": torch.randint(0, 8 * IDS, (rows, 8), dtype=torch.int32),
        "cand": torch.randn(rows, 64),
        "hist": torch.randn(users, PAST, 64),
        "mask": (torch.arange(PAST)[None] < length[:, None]).float(),
    }


MODELS = {
    "tower1": (lambda: Tower([512, 1024, 512, 256, 1]), tower_batch(512)),
    "tower2": (lambda: Tower([256, 256, 128, 1]), tower_batch(256)),
    "w1": (W1, w1_batch),
    "w2": (W2, w2_batch),
    "w2split": (lambda: W2(split=True), w2_batch),
}


@dataclass(frozen=True)
class Workload:
    """`model-what`."""

    name: str
    rows: int
    users: int
    train: bool = False

    @property
    def model(self) -> str:
        return self.name.split("-")[0]


WORKLOADS = {
    w.name: w
    for w in [
        Workload("tower2-train", 512, 512, train=True),
        Workload("w2-train", 512, 512, train=True),
        Workload("w1-1", 1, 1),
        Workload("w1-256", 256, 256),
        Workload("w1-1024", 1024, 1024),
        Workload("w1-4096", 4096, 4096),
        Workload("w2-shared", 500, 1),
        Workload("w2-users", 512, 512),
        Workload("tower1-256", 256, 256),
        Workload("tower2-512", 512, 512),
    ]
}


@dataclass
class Made:
    """A workload with its tensors."""

    workload: Workload
    """Weights, inputs as `in.NAME`, `label`."""
    file: Path
    """Of the first steps of training."""
    losses: list[float]
    before: dict[str, torch.Tensor]
    """Weights after these steps, or outputs."""
    wanted: dict[str, torch.Tensor]
    """What an output's errors are measured by: its standard deviation over many rows."""
    scales: dict[str, float]


def loss_of(model: nn.Module, batch: dict[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
    logit = model.logit(**batch) if isinstance(model, W2) else model(**batch)["logit"]
    return nn.functional.binary_cross_entropy_with_logits(logit.squeeze(1), label)


def step(model, optimiser, batch, label, loss_of=loss_of) -> float:
    optimiser.zero_grad()
    loss = loss_of(model, batch, label)
    loss.backward()
    optimiser.step()
    return loss.item()


def make(workload: Workload, folder: Path) -> Made:
    """Writes the file that every peer starts from, and computes what it must come to."""
    torch.manual_seed(0)
    build, make_batch = MODELS[workload.model]
    model = build()
    # Never fewer than tell how widely outputs lie.
    many = make_batch(max(workload.rows, 256), workload.users if workload.users != 1 or workload.model == "w2" else 256)
    batch = {k: v[: workload.rows] if len(v) >= workload.rows else v for k, v in many.items()}
    label = (torch.arange(workload.rows) % 3 == 0).float()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    file = folder / f"{workload.name}.safetensors"
    save_file(weights | {f"in.{k}": v.contiguous() for k, v in batch.items()} | {"label": label}, file)

    model = model.double()
    exact = {k: v.double() if v.is_floating_point() else v for k, v in (batch if workload.train else many).items()}
    if workload.train:
        trained = copy.deepcopy(model)
        adam = torch.optim.Adam(trained.parameters(), **ADAM)
        losses = [step(trained, adam, exact, label.double()) for _ in range(STEPS)]
        return Made(workload, file, losses, weights, dict(trained.state_dict()), {})
    with torch.no_grad():
        outputs = model(**exact)
    scales = {k: v.std().item() for k, v in outputs.items()}
    return Made(workload, file, [], weights, {k: v[: workload.rows] for k, v in outputs.items()}, scales)
