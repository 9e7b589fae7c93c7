"""PyTorch as a peer: ``WORKLOAD FILE train|infer THREADS eager|compiled [cuda]``. Speaks as ``common/protocol.rs`` says.

On CUDA a model runs in half precision, ids apart."""

import sys

import torch

from tensors import load_file, save_file
from workloads import ADAM, MODELS, loss_of, step


def main() -> None:
    name, file, purpose, threads, mode, *rest = sys.argv[1:]
    device = torch.device(*rest or ["cpu"])
    torch.set_num_threads(int(threads))
    given = load_file(file)
    model = MODELS[name.split("-")[0]][0]()
    model.load_state_dict({k: given[k] for k in model.state_dict()})
    batch = {k.removeprefix("in."): v for k, v in given.items() if k.startswith("in.")}
    where = f"CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        model = model.to(device).half()
        where = torch.cuda.get_device_name(device)
    model.requires_grad_(purpose == "train")
    compiled = (lambda f: torch.compile(f, mode="max-autotune" if device.type == "cuda" else "default")) if mode == "compiled" else (lambda f: f)
    outputs = {}

    if purpose == "train":
        adam = torch.optim.Adam(model.parameters(), **ADAM)
        forward = compiled(loss_of)

        def run():
            return step(model, adam, batch, given["label"], forward)
    else:
        forward = compiled(lambda kwargs: model(**kwargs))

        def upload(t):
            t = t.to(device)
            return t.to(next(model.parameters()).dtype) if t.is_floating_point() else t

        def run():
            with torch.inference_mode():
                # Half precision is for weights and activations: what comes in and goes out is the host's f32.
                found = forward({k: upload(v) for k, v in batch.items()})
                outputs.update({k: v.to("cpu", torch.float32) for k, v in found.items()})
            return "done"

    print(f"{where}, PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "run":
            print(run(), flush=True)
        else:
            save_file({k: v.contiguous() for k, v in (model.state_dict() if purpose == "train" else outputs).items()}, path)
            print("done", flush=True)


if __name__ == "__main__":
    main()
