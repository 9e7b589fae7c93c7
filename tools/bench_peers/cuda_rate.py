"""Products in half precision on CUDA, in TFLOP/s: what W1's share of the machine is a share of."""

import torch

for n in (4096, 8192):
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.float16) for _ in range(2))
    out = torch.empty_like(a)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    best = float("inf")
    for _ in range(30):
        start.record()
        torch.mm(a, b, out=out)
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end))
    print(f"{torch.cuda.get_device_name()}, f16, {n} x {n} x {n}: {2 * n**3 / best / 1e9:.0f} TFLOP/s at best of 30")
