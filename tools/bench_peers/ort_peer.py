"""ONNX Runtime on the CPU as a peer: ``WORKLOAD FILE infer THREADS MODEL.onnx``. Speaks as ``common/protocol.rs`` says."""

import sys

import numpy as np
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import save_file


def main() -> None:
    _, file, _, threads, model = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {node.name for node in session.get_inputs()}
    with safe_open(file, "np") as given:
        batch = {k.removeprefix("in."): given.get_tensor(k) for k in given.keys() if k.removeprefix("in.") in names}
    outputs = [node.name for node in session.get_outputs()]
    found = []
    print(f"{session.get_providers()[0]}, {threads} threads, ONNX Runtime {onnxruntime.__version__}", flush=True)
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "run":
            found = session.run(outputs, batch)
        else:
            save_file({k: np.ascontiguousarray(v) for k, v in zip(outputs, found)}, path)
        print("done", flush=True)


if __name__ == "__main__":
    main()
