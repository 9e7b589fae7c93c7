"""Models that read histories: attention pooling, self-attention, recurrent layers."""

from __future__ import annotations

import torch
from torch import nn
from zoo import STEPS, history, ids, mlp, reals, zoo

E, V = 4, 24


def user_and_history(g: torch.Generator) -> dict[str, torch.Tensor]:
    return {"user": ids(g, 30), "video": ids(g, V, low=1), "tab": ids(g, 5), "hist_video": history(g, V)}


class Dice(nn.Module):
    """Gate by a normalisation without affine part, eps 1e-9; a slope for each unit."""

    def __init__(self, n: int):
        super().__init__()
        self.bn, self.alpha = nn.BatchNorm1d(n, eps=1e-9, affine=False), nn.Parameter(torch.zeros(n))

    def forward(self, x):
        p = torch.sigmoid(self.bn(x))
        return p * x + self.alpha * (1 - p) * x


class RowDice(nn.Module):
    """The same idea with the statistics of the row, as one library has it; one slope."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        mean = x.mean(dim=1, keepdim=True)
        var = torch.pow(x - mean, 2) + 1e-3
        p = torch.sigmoid((x - mean) / torch.sqrt(var.sum(dim=1, keepdim=True)))
        return x.mul(p) + self.alpha * x.mul(1 - p)


class DiceGate(nn.Module):
    """On [B, T, n]: channels are moved to axis 1 and back around the normalisation."""

    def __init__(self, n: int):
        super().__init__()
        self.bn, self.alpha = nn.BatchNorm1d(n, eps=1e-8), nn.Parameter(torch.zeros(n))

    def forward(self, x):
        p = torch.sigmoid(self.bn(x.transpose(1, 2))).transpose(1, 2)
        return self.alpha * (1 - p) * x + p * x


@zoo("w2", lambda g: (ids(g, 10, 4), reals(g, 8), reals(g, STEPS, 8), (torch.rand(12, STEPS, generator=g) < 0.7).float()),
     outputs=["prob"], per_request=["hist", "mask"])  # fmt: skip
class W2(nn.Module):
    """Target attention over dense histories that belong to the request; score times mask, no softmax."""

    def __init__(self, v: int = 10, f: int = 4, d: int = 4, e: int = 8):
        super().__init__()
        self.emb = nn.Embedding(f * v, d)
        self.att = nn.ModuleList([nn.Linear(4 * e, 16), nn.Linear(16, 8), nn.Linear(8, 1)])
        self.a1, self.a2 = nn.PReLU(), nn.PReLU()
        self.mlp = nn.ModuleList([nn.Linear(f * d + 2 * e, 24), nn.Linear(24, 12), nn.Linear(12, 1)])
        self.register_buffer("off", torch.arange(f) * v, persistent=False)

    def forward(self, ids, cand, hist, mask):
        b, t, e = ids.shape[0], hist.shape[1], hist.shape[2]
        x = self.emb(ids + self.off).flatten(1)
        k, q = hist.expand(b, t, e), cand.unsqueeze(1).expand(b, t, e)
        a = self.a1(self.att[0](torch.cat([q, k, q - k, q * k], 2)))
        w = self.att[2](self.a2(self.att[1](a))).squeeze(2) * mask
        h = torch.cat([x, (w.unsqueeze(1) @ k).squeeze(1), cand], 1)
        h = torch.relu(self.mlp[0](h))
        return torch.sigmoid(self.mlp[2](torch.relu(self.mlp[1](h))))


class Din(nn.Module):
    """Target attention on ids; the table is shared by the target and the history under two names."""

    def __init__(self, norm: bool = True):
        super().__init__()
        self.tables = nn.ModuleDict({"user": nn.Embedding(30, E), "video": nn.Embedding(V, E), "tab": nn.Embedding(5, E)})
        self.tables["hist_video"] = self.tables["video"]
        self.attention = nn.Sequential(nn.Linear(16, 12), Dice(12), nn.Linear(12, 8), Dice(8), nn.Linear(8, 1))
        self.dnn = nn.Sequential(nn.Linear(16, 12), nn.BatchNorm1d(12), Dice(12), nn.Linear(12, 1))

    def forward(self, x):
        e = {k: self.tables[k](x[k].long()) for k in self.tables}
        k, q = e["hist_video"], e["video"].unsqueeze(1).expand(-1, x["hist_video"].shape[1], -1)
        pair = torch.cat([q, k, q - k, q * k], -1)
        score = self.attention(pair.view(-1, 16)).view(-1, k.size(1)) * (x["hist_video"] != 0)
        e["hist_video"] = (score.unsqueeze(-1) * k).sum(1)
        return {"y_pred": torch.sigmoid(self.dnn(torch.cat(list(e.values()), -1)))}


zoo("din", user_and_history, outputs={"y_pred": "prob"}, extract={"last_hidden": "dnn.3:in"})(Din)
zoo("din_request", user_and_history, outputs={"y_pred": "prob"}, per_request=["user", "hist_video"])(Din)


@zoo("din_rowdice", user_and_history, outputs=["prob"])
class DinRowDice(nn.Module):
    """No mask: padding takes part. Every history step is one row of the attention's MLP."""

    def __init__(self):
        super().__init__()
        self.users, self.videos = nn.Embedding(30, E), nn.Embedding(V, E)
        self.attention = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), RowDice(), nn.Linear(8, 1))
        self.mlp = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), RowDice(), nn.Linear(16, 1))

    def forward(self, x):
        k = self.videos(x["hist_video"])
        q = self.videos(x["video"]).unsqueeze(1).expand(-1, k.size(1), -1)
        w = self.attention(torch.cat([q, k, q - k, q * k], -1).view(-1, 16)).view(-1, k.size(1))
        pooled = (w.unsqueeze(-1) * k).sum(1)
        y = self.mlp(torch.cat([pooled, q[:, 0], self.users(x["user"])], 1))
        return torch.sigmoid(y.squeeze(1))


@zoo("din_softmax", user_and_history, outputs=["prob"])
class DinSoftmax(nn.Module):
    """Masked softmax with -inf, lengths from the mask, third kind of Dice; an empty history gives zeros."""

    def __init__(self):
        super().__init__()
        self.videos, self.hidden, self.gate, self.score = nn.Embedding(V, E), nn.Linear(16, 8), DiceGate(8), nn.Linear(8, 1)
        self.out = nn.Linear(2 * E, 1)

    def forward(self, x):
        seen = x["hist_video"] != 0
        k = self.videos(x["hist_video"])
        q = self.videos(x["video"])[:, None].repeat(1, k.shape[1], 1)
        s = self.score(self.gate(self.hidden(torch.cat([q, k, q - k, q * k], -1)))).transpose(1, 2)
        s = s.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
        s = torch.where(seen.any(1)[:, None, None], s, torch.zeros_like(s))
        return torch.sigmoid(self.out(torch.cat([(s @ k).squeeze(1), q[:, 0]], -1)))


@zoo("dmin", user_and_history, outputs=["prob"], extract=["refiner"])
class Dmin(nn.Module):
    """Causal self-attention with heads, then heads of target attention with positions."""

    class Refiner(nn.Module):
        def __init__(self, n: int, heads: int):
            super().__init__()
            self.heads, self.qkv, self.out = heads, nn.Linear(n, 3 * n, bias=False), nn.Linear(n, n, bias=False)
            self.norm, self.ffn = nn.LayerNorm(n), nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))
            self.last = nn.LayerNorm(n, elementwise_affine=False)

        def forward(self, x, mask):
            b, t, n = x.shape
            q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
            s = torch.matmul(q, k.transpose(-1, -2)) / (n / self.heads) ** 0.5
            s = s.masked_fill_(mask.unsqueeze(1) == 0, -1e9)
            y = self.norm(self.out((s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, n)) + x)
            return self.last(self.ffn(y) + y)

    def __init__(self):
        super().__init__()
        self.videos, self.users, self.place = nn.Embedding(V, 8), nn.Embedding(30, 8), nn.Parameter(torch.randn(STEPS, E))
        self.refiner = self.Refiner(8, 2)
        self.attention = nn.ModuleList(mlp(24 + E, 8, act=nn.PReLU) for _ in range(2))
        self.scores = nn.ModuleList(nn.Linear(8, 1) for _ in range(2))
        self.dnn = nn.Sequential(mlp(32, 16, norm=True), nn.Linear(16, 1))

    def forward(self, x):
        seen = x["hist_video"] != 0
        t = seen.shape[1]
        causal = torch.triu(torch.ones(t, t), 1).bool()
        mask = ~((~seen)[:, None].repeat(1, t, 1) & ~torch.eye(t).bool() | causal)
        h, q = self.refiner(self.videos(x["hist_video"]), mask), self.videos(x["video"])
        wide, place = q[:, None].expand_as(h), self.place.expand(h.shape[0], -1, -1)
        heads = []
        for layer, score in zip(self.attention, self.scores):
            w = score(layer(torch.cat([wide, h, wide * h, place], -1))).squeeze(-1)
            w = w.masked_fill(~seen, -(2**32) + 1).softmax(-1)
            heads.append((w.unsqueeze(-1) * h).sum(1))
        return torch.sigmoid(self.dnn(torch.cat([*heads, q, self.users(x["user"])], -1)))


@zoo("transformer", user_and_history, outputs=["prob"])
class Transformer(nn.Module):
    """torch's own encoder layer, sequence first; learned positions by arange; the target is the last step."""

    def __init__(self):
        super().__init__()
        self.videos, self.places = nn.Embedding(V, 8, padding_idx=0), nn.Embedding(STEPS + 1, 8)
        self.layer, self.out = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu"), nn.Linear(8, 1)

    def forward(self, x):
        steps = torch.cat([x["hist_video"], x["video"].unsqueeze(1)], 1)
        y = self.videos(steps) + self.places(torch.arange(steps.size(1)))
        y = self.layer(y.transpose(0, 1), src_key_padding_mask=steps == 0)
        return torch.sigmoid(self.out(y[-1]))


@zoo("gru", user_and_history, outputs=["prob", "last"])
class Gru(nn.Module):
    """Two layers, a learned start, the state at the end of each history."""

    def __init__(self):
        super().__init__()
        self.videos, self.gru = nn.Embedding(V, E), nn.GRU(E, 6, num_layers=2, batch_first=True)
        self.start, self.out = nn.Parameter(torch.randn(2, 1, 6) * 0.3), nn.Linear(6 + E, 1)

    def forward(self, x):
        states, _ = self.gru(self.videos(x["hist_video"]), self.start.expand(-1, x["video"].shape[0], -1).contiguous())
        n = (x["hist_video"] != 0).sum(1)
        end = (n - 1).clamp(min=0)
        last = states.gather(1, end.view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1) * (n > 0).unsqueeze(-1)
        return torch.sigmoid(self.out(torch.cat([last, self.videos(x["video"])], -1))), last


@zoo("gru_both_ways", user_and_history, outputs=["prob"])
class GruBothWays(nn.Module):
    """Sequence first, both directions, no biases, final states."""

    def __init__(self):
        super().__init__()
        self.videos, self.gru = nn.Embedding(V, E), nn.GRU(E, 5, bidirectional=True, bias=False)
        self.out = nn.Linear(20, 1)

    def forward(self, x):
        states, final = self.gru(self.videos(x["hist_video"]).transpose(0, 1))
        return torch.sigmoid(self.out(torch.cat([states.mean(0), *final.unbind(0)], -1)))


@zoo("dien", user_and_history, outputs=["prob"])
class Dien(nn.Module):
    """A GRU, then a cell whose update gate is scaled by attention: the second recurrence is written step by step."""

    def __init__(self, steps: int = 4):
        super().__init__()
        self.steps, self.videos, self.gru = steps, nn.Embedding(V, E), nn.GRU(E, E, batch_first=True)
        self.x_gates, self.h_gates = nn.Linear(E, 3 * E), nn.Linear(E, 3 * E)
        self.form, self.out = nn.Parameter(torch.randn(E, E) * 0.5), nn.Linear(2 * E, 1)

    def forward(self, x):
        seen = x["hist_video"][:, : self.steps] != 0
        states, _ = self.gru(self.videos(x["hist_video"][:, : self.steps]))
        q = self.videos(x["video"])
        w = (states @ self.form @ q.unsqueeze(-1)).squeeze(-1).masked_fill(~seen, -1e9).softmax(-1)
        h = torch.zeros(q.shape[0], E)
        for t in range(self.steps):
            xr, xu, xn = self.x_gates(states[:, t]).split(E, 1)
            hr, hu, hn = self.h_gates(h).split(E, 1)
            u = w[:, t : t + 1] * torch.sigmoid(xu + hu)
            new = (1 - u) * h + u * torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
            h = torch.where(seen[:, t : t + 1], new, h)
        return torch.sigmoid(self.out(torch.cat([h, q], -1)))


@zoo("cumsum", user_and_history, outputs=["score", "age"])
class CumSum(nn.Module):
    """Ages counted from the end by a cumulative sum, decays by a cumulative sum of logs."""

    def __init__(self):
        super().__init__()
        self.videos, self.ages, self.rate = nn.Embedding(V, E), nn.Embedding(STEPS + 1, E), nn.Linear(E, 1)

    def forward(self, x):
        seen = x["hist_video"] != 0
        age = seen.flip(1).cumsum(1).flip(1) * seen
        e = self.videos(x["hist_video"]) + self.ages(age)
        decay = torch.cumsum(torch.nn.functional.logsigmoid(self.rate(e)), 1).exp()
        return (e * decay * seen.unsqueeze(-1)).sum((1, 2)), age.float()


@zoo("bags", lambda g: {"tags": history(g, 20, 5), "words": ids(g, 16, 4), "weights": reals(g, 4)}, outputs=["out"])
class Bags(nn.Module):
    """EmbeddingBag: sum, mean and max, with padding, without, with weights."""

    def __init__(self):
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(20, E, mode=m, padding_idx=0) for m in ("sum", "mean", "max"))
        self.words = nn.ModuleList(nn.EmbeddingBag(16, E, mode=m) for m in ("sum", "mean", "max"))
        self.out = nn.Linear(6 * E, 2)

    def forward(self, tags, words, weights):
        y = [b(tags) for b in self.bags] + [self.words[0](words, per_sample_weights=weights)] + [b(words) for b in self.words[1:]]
        return self.out(torch.cat(y, 1))
