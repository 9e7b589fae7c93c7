"""Models that exist to use every op: activations, numbers, indices, folds, convolutions, precision of types."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from zoo import ROWS, STEPS, history, ids, reals, zoo


@zoo("activations", lambda g: (reals(g, 16) * 2,), outputs=["y", "raw"])
class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.acts = nn.ModuleList([
            nn.ReLU(), nn.ReLU6(), nn.PReLU(), nn.PReLU(16), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.CELU(0.5),
            nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(2.0), nn.Softsign(), nn.Hardswish(),
            nn.Hardsigmoid(), nn.Hardtanh(-0.5, 2.0), nn.LogSigmoid(), nn.Tanhshrink(), nn.Sigmoid(), nn.Tanh(),
            nn.Softmin(1), nn.LogSoftmax(-1), nn.Threshold(0.1, -3.0), nn.GLU(),
        ])  # fmt: skip
        self.mix = nn.Linear(16, 4)

    def forward(self, x):
        parts = [act(x) for act in self.acts]
        return torch.stack([self.mix(p) for p in parts[:-1]], 1).sum(1), torch.cat(parts, 1)


@zoo("numbers", lambda g: {"x": reals(g, 8) * 2, "y": reals(g, 8), "n": ids(g, 40, 8) - 20, "m": ids(g, 7, 8, low=1)},
     outputs=["reals", "ints"])  # fmt: skip
class Numbers(nn.Module):
    """Arithmetic in both number types; promotion, rounding, remainders, powers."""

    def forward(self, x, y, n, m):
        a = x.abs() + 0.1
        reals = [
            x + 2 * y, 1 - x, x / (y * y + 1), a**y, a**1.5, x**3, a.sqrt(), a.rsqrt(), a.reciprocal(), a.log(), a.log1p(), a.log2(),
            torch.expm1(y), torch.exp(-a), x.floor(), x.ceil(), x.round(), x.trunc(), x.frac(), x.sign(), x.sin(), x.cos(),
            torch.erf(y), torch.maximum(x, y), torch.minimum(x, y), x.clamp(-1, 1.5), x.clamp(min=0.25), torch.fmod(x, 0.7),
            torch.remainder(x, 0.7), x * n, n / m, x.lerp(y, 0.3), torch.addcmul(x, x, y, value=0.5),
            torch.where(x > y, x, 0.5), (x > 0) * y, torch.nan_to_num(y, 0.5, 2.0, -2.0), torch.logit(torch.sigmoid(y), 1e-6),
            torch.logaddexp(x, y), x.square() - y.pow(2), torch.rsub(x, y), torch.exp2(y), 2.0**y, a.pow(-0.5),
        ]  # fmt: skip
        ints = [
            n + m, n - 3 * m, n * m, torch.div(n, m, rounding_mode="floor"), torch.div(n, m, rounding_mode="trunc"), n // 3, n % m,
            n.remainder(5), torch.fmod(n, m), n.abs(), n.sign(), -n, n.clamp(-5, 9), torch.maximum(n, m), x.long(),
            (x > 0).long() + (n == m).int(), n.pow(2), ((x > 0) & (y > 0) | ~(n > 0)).int(), ((x > 0) ^ (y > 0)).int(),
            torch.logical_xor(n > 3, m > 3).int(), torch.isfinite(x).int(),
        ]  # fmt: skip
        return torch.stack(reals, 1), torch.stack(ints, 1)


@zoo("features", lambda g: {"id": torch.randint(0, 2**31 - 1, (ROWS,), generator=g), "price": reals(g).exp().double(),
                            "hour": ids(g, 24), "vip": ids(g, 2).bool(), "level": ids(g, 5).int()}, outputs=["prob"])  # fmt: skip
class Features(nn.Module):
    """What serving code does before the first layer: hashing, buckets, cycles, one-hot; a bool and an int32 input."""

    def __init__(self):
        super().__init__()
        self.hashed, self.priced = nn.Embedding(37, 4), nn.Embedding(6, 4)
        self.register_buffer("edges", torch.tensor([0.2, 0.5, 1.0, 2.0, 5.0]))
        self.out = nn.Linear(4 + 4 + 2 + 1 + 5 + 1, 1)

    def forward(self, x):
        angle = x["hour"].float() * (2 * torch.pi / 24)
        parts = [
            self.hashed(x["id"] % 37), self.priced(torch.bucketize(x["price"].float(), self.edges)),
            torch.stack([angle.sin(), angle.cos()], -1), x["vip"].float().unsqueeze(-1), F.one_hot(x["level"].long(), 5).float(),
            torch.log1p(x["price"].float()).unsqueeze(-1),
        ]  # fmt: skip
        return torch.sigmoid(self.out(torch.cat(parts, -1)))


@zoo("indices", lambda g: {"x": reals(g, STEPS, 4), "at": ids(g, STEPS), "many": ids(g, STEPS, 3), "back": ids(g, STEPS) - STEPS},
     outputs=["picked", "moved"])  # fmt: skip
class Indices(nn.Module):
    """Each row picks from its own elements; cuts, repeats, pads and reorders."""

    def forward(self, x, at, many, back):
        rows = torch.arange(x.shape[0])
        picked = [
            x[rows, at], x[rows[:, None], many].sum(1), x[rows, back], x[rows, at, back % 4].unsqueeze(1).repeat(1, 4),
            x.gather(1, many[..., None].expand(-1, -1, 4)).mean(1), x.gather(1, at.view(-1, 1, 1).expand(-1, 1, 4)).squeeze(1),
            x[:, [0, -1]].sum(1), x[:, torch.tensor([2, 1]), torch.tensor([0, 3])].repeat(1, 2),
            torch.gather(x[:, 0], 1, many[:, :2] % 4).repeat(1, 2),
        ]  # fmt: skip
        y = x.clone()
        y[:, 0] = 0
        y[:, 2:4] = x[:, :2] * 2
        moved = [
            x.flip(1), x.flip([1, 2]), torch.roll(x, 1, 1), F.pad(x[:, 1:-1], (0, 0, 1, 1), value=-1.0), x[:, ::2].repeat(1, 2, 1),
            x.repeat_interleave(2, dim=1)[:, :STEPS], torch.tril(x, -1), y, x.transpose(1, 2).reshape(-1, STEPS, 4),
            torch.cat(x.chunk(2, 1)[::-1], 1), x.narrow(1, 1, 3).tile(1, 2, 1),
        ]  # fmt: skip
        return torch.stack(picked, 1), torch.stack(moved, 1)


@zoo("folds", lambda g: {"x": reals(g, 5, 4), "mask": ids(g, 2, 5).bool(), "n": ids(g, 9, 5)}, outputs=["y", "ints"])
class Folds(nn.Module):
    def forward(self, x, mask, n):
        y = [
            x.sum(1), x.mean(1), x.amax(1), x.amin(1), x.max(1).values, x.min(1)[0], x.var(1), x.std(1), x.var(1, unbiased=False),
            x.norm(dim=1), x.norm(p=1, dim=1), torch.logsumexp(x, 1), x.prod(1), F.normalize(x, dim=2).sum(1), x.cumsum(1)[:, -1],
            x.softmax(1)[:, 0], F.layer_norm(x, (5, 4))[:, 1], (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1),
            x.sum((1, 2), keepdim=True).squeeze(1).expand(-1, 4), F.cosine_similarity(x[:, :1], x, dim=2)[:, :4],
        ]  # fmt: skip
        ints = [mask.any(1).int(), mask.all(1).int(), mask.sum(1), n.sum(1), n.max(1).values, n.amin(1), n.argmax(1), n.argmin(1),
                n.cumsum(1)[:, 2], x[..., 0].argmax(-1), torch.count_nonzero(n, 1)]  # fmt: skip
        return torch.stack(y, 1), torch.stack([i.long() for i in ints], 1)


@zoo("convolutions", lambda g: (history(g, 20, 7),), outputs=["prob"])
class Convolutions(nn.Module):
    """Kernels wider than 1 over the history, with padding, stride and dilation; two dimensions over fields."""

    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(20, 4)
        self.a, self.b = nn.Conv1d(4, 6, 3, padding=1), nn.Conv1d(6, 3, 2, stride=2, dilation=2, bias=False)
        self.c, self.out = nn.Conv2d(1, 2, (3, 4)), nn.Linear(9 + 10, 1)

    def forward(self, items):
        e = self.items(items)
        y = self.b(torch.relu(self.a(e.transpose(1, 2))))
        z = torch.relu(self.c(e.unsqueeze(1))).flatten(1)
        return torch.sigmoid(self.out(torch.cat([y.flatten(1)[:, :9], z], 1)))


@zoo("tied", lambda g: (ids(g, 20, 3),), outputs=["scores", "mixed"])
class Tied(nn.Module):
    """The table is also the output matrix; an inner buffer, a literal tensor, weights combined before use."""

    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(20, 6)
        self.out = nn.Linear(6, 20, bias=False)
        self.out.weight = self.items.weight
        self.low, self.high = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 6))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 6), persistent=False)

    def forward(self, ids):
        e = self.items(ids)
        h = (e * torch.tensor([0.5, 0.3, 0.2])[:, None]).sum(1) * self.scale
        w = self.low @ self.high + torch.eye(6)
        return self.out(h), torch.baddbmm(e, e @ w, torch.ones(1, 6, 6).expand(e.shape[0], 6, 6), beta=0.5, alpha=0.1)
