"""Runs models in ONNX Runtime and compares their outputs: a second opinion on written files.

    python onnxruntime_check.py TOLERANCE MODEL.onnx X.npy Y.npy [MODEL.onnx X.npy Y.npy ...]

Exits with 1 if any output differs from Y by more than TOLERANCE of Y's largest magnitude.
"""

import sys

import numpy as np
import onnxruntime


def check(tolerance, model, x, y):
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        fed = session.get_inputs()[0]
        kind = np.int64 if fed.type == "tensor(int64)" else np.float32
        actual = session.run(None, {fed.name: np.load(x).astype(kind)})[0]
    except Exception as error:  # Each of ONNX Runtime's has a type of its own.
        print(f"{model}: {error}")
        return False
    expected = np.load(y)
    if actual.shape != expected.shape:
        print(f"{model}: output has shape {actual.shape}, not {expected.shape}")
        return False
    difference = np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-6)
    print(f"{model}: largest relative difference {difference:.2e}")
    # Not `difference > tolerance`, which NaN would pass.
    return bool(difference <= tolerance)


def main(tolerance, *files):
    cases = zip(files[::3], files[1::3], files[2::3])
    return 0 if all([check(float(tolerance), *case) for case in cases]) else 1


if __name__ == "__main__":
    if len(sys.argv) < 5 or len(sys.argv) % 3 != 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
