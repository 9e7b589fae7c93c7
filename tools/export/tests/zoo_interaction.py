"""Feature-interaction models: crosses, factorisation machines, attention over fields, towers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from zoo import ROWS, ids, mlp, reals, zoo

FIELDS = {"user": 30, "video": 24, "author": 12, "tab": 5}
E = 4


def fields(g: torch.Generator) -> dict[str, torch.Tensor]:
    return {k: ids(g, n) for k, n in FIELDS.items()}


def with_number(g: torch.Generator) -> dict[str, torch.Tensor]:
    """The number arrives in float64, as from a data frame."""
    return fields(g) | {"duration": reals(g).abs().double(), "label": reals(g).double()}


class Tables(nn.Module):
    """One table for each field; stacks [B, F, E]."""

    def __init__(self, width: int = E):
        super().__init__()
        self.tables = nn.ModuleDict({k: nn.Embedding(n, width) for k, n in FIELDS.items()})

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([table(x[k]) for k, table in self.tables.items()], 1)


@zoo("w1", lambda g: (ids(g, 10, 6),), outputs=["emb", "logit"])
class W1(nn.Module):
    """One stacked table, full-rank crosses beside an MLP; an embedding and a logit."""

    def __init__(self, v: int = 10, f: int = 6, d: int = 4):
        super().__init__()
        n = f * d
        self.emb = nn.Embedding(f * v, d)
        self.cross = nn.ModuleList(nn.Linear(n, n) for _ in range(3))
        self.mlp = nn.ModuleList([nn.Linear(n, 32), nn.Linear(32, 16), nn.Linear(16, 8)])
        self.out, self.logit = nn.Linear(n + 8, 12), nn.Linear(12, 1)
        self.register_buffer("off", torch.arange(f) * v, persistent=False)

    def forward(self, ids):
        x0 = self.emb(ids + self.off).flatten(1)
        x = h = x0
        for layer in self.cross:
            x = x0 * layer(x) + x
        for layer in self.mlp:
            h = torch.relu(layer(h))
        e = self.out(torch.cat([x, h], 1))
        return e, self.logit(e)


@zoo("dcnv2", with_number, outputs={"y_pred": "prob"}, extract={"logit": "fc", "last_hidden": "fc:in"})
class Dcnv2(nn.Module):
    """Parallel DCNv2 with a number through Linear(1, E); the label column is among the inputs and is not used."""

    def __init__(self):
        super().__init__()
        self.tables, self.number = Tables(), nn.Linear(1, E, bias=False)
        n = E * 5
        self.cross = nn.ModuleList(nn.Linear(n, n) for _ in range(3))
        self.dnn, self.fc = mlp(n, 24, 8), nn.Linear(n + 8, 1)

    def forward(self, inputs):
        x0 = torch.cat([self.tables(inputs).flatten(1), self.number(inputs["duration"].float().view(-1, 1))], -1)
        x = x0
        for layer in self.cross:
            x = x + x0 * layer(x)
        return {"y_pred": torch.sigmoid(self.fc(torch.cat([x, self.dnn(x0)], -1)))}


class CrossMix(nn.Module):
    """Low-rank mixture of experts with gates, on column vectors [B, n, 1]."""

    def __init__(self, n: int, rank: int = 4, experts: int = 2, layers: int = 2):
        super().__init__()
        tensors = lambda *s: nn.ParameterList(nn.Parameter(torch.randn(experts, *s) * 0.3) for _ in range(layers))  # noqa: E731
        self.u, self.v, self.c = tensors(n, rank), tensors(n, rank), tensors(rank, rank)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(n, 1)) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(n, 1, bias=False) for _ in range(experts))

    def forward(self, x):
        x0 = x = x.unsqueeze(2)
        for u, v, c, bias in zip(self.u, self.v, self.c, self.bias):
            outs, scores = [], []
            for e, gate in enumerate(self.gates):
                scores.append(gate(x.squeeze(2)))
                low = torch.tanh(torch.matmul(v[e].t(), x))
                low = torch.tanh(torch.matmul(c[e], low))
                outs.append((x0 * (torch.matmul(u[e], low) + bias)).squeeze(2))
            x = torch.matmul(torch.stack(outs, 2), torch.stack(scores, 1).softmax(1)) + x
        return x.squeeze(2)


@zoo("dcnv2_mix", fields, outputs=["prob"], extract={"last_hidden": "fc:in"})
class Dcnv2Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables, self.cross = Tables(), CrossMix(16)
        self.dnn, self.fc = mlp(16, 24, 8, norm=True), nn.Linear(24, 1)

    def forward(self, x):
        x0 = self.tables(x).flatten(start_dim=1)
        return torch.sigmoid(self.fc(torch.cat([self.cross(x0), self.dnn(x0)], 1)).squeeze(1))


def matrix(g: torch.Generator) -> tuple[torch.Tensor]:
    return (torch.cat([t.float()[:, None] for t in fields(g).values()] + [reals(g, 1)], 1),)


@zoo("dcnmix_wide", matrix, outputs=["prob"], extract={"deep_logit": "last"})
class DcnMixWide(nn.Module):
    """All features in one float matrix, ids among them; a wide part; logits added in place."""

    def __init__(self):
        super().__init__()
        self.deep = nn.ModuleList(nn.Embedding(n, E) for n in FIELDS.values())
        self.wide = nn.ModuleList(nn.Embedding(n, 1) for n in FIELDS.values())
        self.number, self.bias = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.zeros(1))
        self.cross, self.dnn, self.last = CrossMix(17, layers=1), mlp(17, 8, norm=True), nn.Linear(25, 1, bias=False)

    def forward(self, X):
        look = lambda tables: [t(X[:, i : i + 1].long()) for i, t in enumerate(tables)]  # noqa: E731
        logit = torch.sum(torch.cat(look(self.wide), -1), -1) + X[:, 4:].matmul(self.number)
        x0 = torch.cat([torch.flatten(torch.cat(look(self.deep), -1), 1), X[:, 4:5]], -1)
        logit += self.last(torch.cat((self.cross(x0), self.dnn(x0)), -1))
        logit += self.bias
        return torch.sigmoid(logit)


@zoo("deepfm", fields, outputs=["prob"])
class DeepFm(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables, self.wide, self.dnn = Tables(), Tables(1), nn.Sequential(mlp(16, 16, 8), nn.Linear(8, 1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        e = self.tables(x)
        fm = (e.sum(1) ** 2 - (e**2).sum(1)).sum(-1, keepdim=True) * 0.5
        return (self.wide(x).sum((1, 2)).unsqueeze(-1) + self.bias + fm + self.dnn(e.flatten(1))).sigmoid()


@zoo("pnn", fields, outputs=["prob"])
class Pnn(nn.Module):
    """Pairs of fields by constant indices and by a constant mask; field matrices as in FmFM."""

    def __init__(self):
        super().__init__()
        self.tables = Tables()
        pairs = torch.triu_indices(4, 4, 1)
        self.left, self.right = pairs[0], pairs[1]  # plain attributes: neither parameters nor buffers
        self.register_buffer("upper", torch.ones(4, 4).triu(1).bool())
        self.matrices, self.fc = nn.Parameter(torch.randn(6, E, E) * 0.4), nn.Linear(18, 1)

    def forward(self, x):
        e = self.tables(x)
        products = torch.bmm(e, e.transpose(1, 2))
        inner, masked = products[:, self.left, self.right], torch.masked_select(products * 2, self.upper).view(-1, 6)
        left, right = torch.index_select(e, 1, self.left), e[:, self.right]
        fielded = (torch.matmul(left.unsqueeze(2), self.matrices).squeeze(2) * right).sum(-1)
        return torch.sigmoid(self.fc(torch.cat([inner, masked, fielded], 1)))


@zoo("xdeepfm", fields, outputs=["prob"])
class XDeepFm(nn.Module):
    """Compressed interaction network: outer products through convolutions with kernel 1."""

    def __init__(self):
        super().__init__()
        self.tables, self.convs = Tables(), nn.ModuleList([nn.Conv1d(16, 6, 1), nn.Conv1d(24, 3, 1)])
        self.fc = nn.Linear(9, 1)

    def forward(self, x):
        x0 = x = self.tables(x)
        pooled = []
        for conv in self.convs:
            outer = torch.einsum("bhd,bmd->bhmd", x0, x).view(x0.shape[0], -1, E)
            x = torch.relu(conv(outer))
            pooled.append(x.sum(-1))
        return torch.sigmoid(self.fc(torch.cat(pooled, -1)))


@zoo("autoint", fields, outputs=["prob"])
class AutoInt(nn.Module):
    """Attention over fields with heads cut by chunk; residual and LayerNorm."""

    def __init__(self):
        super().__init__()
        self.tables, self.qkv, self.res = Tables(), nn.Linear(E, 24, bias=False), nn.Linear(E, 8, bias=False)
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(32, 1)

    def forward(self, x):
        e = self.tables(x)
        q, k, v = (torch.stack(t.split(4, 2), 1)
                   for t in self.qkv(e).chunk(3, dim=-1))  # fmt: skip
        a = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / 2.0, -1)
        y = torch.matmul(a, v).transpose(1, 2).flatten(2)
        return torch.sigmoid(self.fc(torch.relu(self.norm(y + self.res(e))).flatten(1)))


@zoo("fibinet", fields, outputs=["prob"])
class FiBiNet(nn.Module):
    """Squeeze and excitation over fields; bilinear products of pairs."""

    def __init__(self):
        super().__init__()
        self.tables = Tables()
        self.excite = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Sigmoid())
        self.bilinear, self.fc = nn.Linear(E, E, bias=False), nn.Linear(48, 1)

    def forward(self, x):
        e = self.tables(x)
        v = e * self.excite(e.mean(-1)).unsqueeze(-1)
        pairs = [self.bilinear(t[:, i]) * t[:, j] for t in (e, v) for i in range(4) for j in range(i + 1, 4)]
        return torch.sigmoid(self.fc(torch.cat(pairs, 1)))


@zoo("finalmlp", fields, outputs=["prob"])
class FinalMlp(nn.Module):
    """Two gated streams, joined by a bilinear form with heads."""

    def __init__(self):
        super().__init__()
        self.tables, self.start = Tables(), nn.Parameter(torch.randn(1, 5))
        self.gates = nn.ModuleList([mlp(5, 16, act=nn.Sigmoid), mlp(4, 16, act=nn.Sigmoid)])
        self.streams = nn.ModuleList([mlp(16, 12, 8, norm=True), mlp(16, 8, norm=True)])
        self.join, self.ends = nn.Parameter(torch.randn(2, 4, 4) * 0.3), nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])

    def forward(self, x):
        e = self.tables(x)
        flat = e.flatten(1)
        a = self.streams[0](flat * 2 * self.gates[0](self.start.repeat(flat.size(0), 1)))
        b = self.streams[1](flat * 2 * self.gates[1](e[:, 0]))
        form = torch.matmul(torch.matmul(a.view(-1, 2, 1, 4), self.join), b.view(-1, 2, 4, 1)).view(-1, 2).sum(-1, True)
        return torch.sigmoid(self.ends[0](a) + self.ends[1](b) + form)


@zoo("mmoe", fields, outputs=["click", "like"])
class Mmoe(nn.Module):
    """Shared experts, a gate for each of two tasks."""

    def __init__(self):
        super().__init__()
        self.tables = Tables()
        self.experts = nn.ModuleList(mlp(16, 8, act=nn.SiLU) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(16, 3) for _ in range(2))
        self.towers = nn.ModuleList(nn.Linear(8, 1) for _ in range(2))

    def forward(self, x):
        flat = self.tables(x).flatten(1)
        experts = torch.stack([e(flat) for e in self.experts], dim=1)
        mixed = [torch.einsum("be,bed->bd", g(flat).softmax(-1), experts) for g in self.gates]
        return [torch.sigmoid(t(m)).squeeze(-1) for t, m in zip(self.towers, mixed)]


@zoo("two_towers", lambda g: {"user": ids(g, 30), "profile": reals(g, 6), "video": ids(g, 24), "author": ids(g, 12)},
     outputs=["score", "user_vector"], per_request=["user", "profile"])  # fmt: skip
class TwoTowers(nn.Module):
    """The user's tower reads request inputs only; cosine of the towers."""

    def __init__(self):
        super().__init__()
        self.users, self.videos, self.authors = nn.Embedding(30, 8), nn.Embedding(24, 8), nn.Embedding(12, 8)
        self.left, self.right = nn.Sequential(mlp(14, 16), nn.Linear(16, 8)), nn.Sequential(mlp(16, 16), nn.Linear(16, 8))
        self.temperature = nn.Parameter(torch.tensor(4.0))

    def forward(self, user, profile, video, author):
        u = F.normalize(self.left(torch.cat([self.users(user), profile], -1)), dim=-1)
        v = F.normalize(self.right(torch.cat([self.videos(video), self.authors(author)], -1)), dim=-1)
        return (u * v).sum(-1) * self.temperature, u


assert ROWS >= 2
