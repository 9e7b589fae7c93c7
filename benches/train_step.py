"""The step ``w2-dense`` of ``train_step.rs`` in PyTorch, eager: processor and wall milliseconds, medians of 25.

    pip install torch
    python benches/train_step.py [THREADS]
"""

import statistics
import sys
import time

import torch
from torch import nn

ROWS, PAST, IDS = 512, 50, 80_000


class W2(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(IDS, 16)
        self.attention = nn.Sequential(nn.Linear(256, 64), nn.PReLU(), nn.Linear(64, 16), nn.PReLU(), nn.Linear(16, 1))
        self.mlp = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, ids, cand, hist, mask):
        q = cand[:, None].expand_as(hist)
        score = self.attention(torch.cat([q, hist, q - hist, q * hist], -1)).squeeze(-1) * mask
        pooled = (score[:, None] @ hist).squeeze(1)
        return self.mlp(torch.cat([self.table(ids).flatten(1), pooled, cand], -1)).squeeze(1)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    torch.manual_seed(0)
    model, label = W2(), (torch.arange(ROWS) % 3 == 0).float()
    batch = torch.randint(0, IDS, (ROWS, 8)), torch.randn(ROWS, 64), torch.randn(ROWS, PAST, 64), torch.ones(ROWS, PAST)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    times = []
    for _ in range(30):
        processor, wall = time.process_time(), time.perf_counter()
        loss = nn.functional.binary_cross_entropy_with_logits(model(*batch), label)
        adam.zero_grad()
        loss.backward()
        adam.step()
        times.append((time.process_time() - processor, time.perf_counter() - wall))
    processor, wall = (1e3 * statistics.median(t) for t in zip(*times[5:]))
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads: {processor:.1f} ms of processor time, {wall:.1f} ms on the wall")


if __name__ == "__main__":
    main()
