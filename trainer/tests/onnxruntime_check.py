"""Runs a model in ONNX Runtime and compares its output: a second opinion on written files.

    python onnxruntime_check.py MODEL.onnx X.npy Y.npy

Exits with 1 if any output differs from Y by more than 1e-4 of Y's largest magnitude.
"""

import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-4


def main(model, x, y):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = np.load(y)
    actual = session.run(None, {session.get_inputs()[0].name: np.load(x)})[0]
    if actual.shape != expected.shape:
        print(f"{model}: output has shape {actual.shape}, not {expected.shape}")
        return 1
    difference = np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-6)
    print(f"{model}: largest relative difference {difference:.2e}")
    # Not `difference > TOLERANCE`, which NaN would pass.
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
