"""A workload's model as ONNX, as PyTorch exports it: ``MODEL FILE OUT.onnx``."""

import sys

import torch

from tensors import load_file
from workloads import MODELS


def main() -> None:
    name, file, out = sys.argv[1:]
    given = load_file(file)
    model = MODELS[name][0]().eval()
    model.load_state_dict({k: given[k] for k in model.state_dict()})
    batch = {k.removeprefix("in."): v for k, v in given.items() if k.startswith("in.")}
    with torch.no_grad():
        outputs = list(model(**batch))
        program = torch.onnx.export(model, (), kwargs=batch, dynamo=True, output_names=outputs, verbose=False)
    program.save(out)


if __name__ == "__main__":
    main()
