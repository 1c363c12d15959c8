"""The ONNX project's own backend node tests (PyPI package `onnx`), through import and the reference
executor.

    pip install onnx numpy
    cargo build --release -p trainer --example import_cases
    python3 trainer/tests/backend_node_tests.py target/release/examples/import_cases [WORD] [--verbose]

A graph has one input and one output: each data input in turn stays the input, the others become
initializers, and each output in turn is the only one. A case passes if its first input gives its first
output and no variant gives wrong numbers; it is refused if that variant is refused at import. Prints a
line for each case that is refused or fails (with --verbose, for every case), then
`N passed, N refused, N failed`; exits with 1 if any failed. WORD picks the cases whose names hold it.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

RELATIVE, ABSOLUTE = 1e-4, 1e-6

# Expected outputs written down with four digits.
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}

# What Pith promises to import,
LISTED = """Conv ConvTranspose Gemm MatMul MaxPool AveragePool GlobalAveragePool ReduceMean Add Sub Mul
Concat Slice Split Pad Reshape Flatten Squeeze Unsqueeze Transpose Resize Relu Clip LeakyRelu PRelu
Sigmoid HardSigmoid HardSwish Tanh Elu Softplus Gelu Exp Sqrt Softmax LogSoftmax ArgMax
BatchNormalization LayerNormalization LRN RNN LSTM GRU Gather QuantizeLinear DequantizeLinear
DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger""".split()

# and what exporters write around it.
AROUND = """Identity Dropout Cast Constant ConstantOfShape Shape Expand Tile Where Div Pow Upsample Erf
Neg Reciprocal Range Equal Less Greater Floor Ceil Min Max Mod Not And Or ReduceProd Size""".split()


def arrays(case):
    """The case's model, inputs and expected outputs."""
    if case.model is not None:
        return [
            (case.model, plain(inputs), plain(outputs)) for inputs, outputs in case.data_sets
        ]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")

    def tensors(data, kind):
        files = sorted(data.glob(f"{kind}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
        return [numpy_helper.to_array(TensorProto.FromString(f.read_bytes())) for f in files]

    return [
        (model, tensors(data, "input"), tensors(data, "output"))
        for data in sorted(folder.glob("test_data_set_*"))
    ]


def plain(values):
    """Numbers as arrays."""
    return [np.asarray(v) if isinstance(v, np.generic) else v for v in values]


def is_data(array):
    """Whether a graph could be fed with it."""
    return isinstance(array, np.ndarray) and array.size > 0 and array.dtype.kind in "fiub"


def variants(model, inputs, outputs):
    """Models of one input and one output, with what goes in and what must come out."""
    names = [i.name for i in model.graph.input]
    fed = [(i, x) for i, x in enumerate(inputs) if i == 0 or is_data(x)]
    for kept, x in fed or [(None, None)]:
        for o, expected in enumerate(outputs):
            if isinstance(expected, TensorProto):
                # Of a type that NumPy lacks.
                expected = numpy_helper.to_array(expected)
            if not isinstance(expected, np.ndarray) or not model.graph.output[o].name:
                continue
            variant = onnx.ModelProto()
            variant.CopyFrom(model)
            del variant.graph.input[:], variant.graph.output[:]
            variant.graph.output.append(model.graph.output[o])
            for i, value in enumerate(inputs):
                if i == kept:
                    variant.graph.input.append(model.graph.input[i])
                elif isinstance(value, np.ndarray):
                    variant.graph.initializer.append(numpy_helper.from_array(value, names[i]))
                elif isinstance(value, TensorProto):
                    variant.graph.initializer.append(value)
                    variant.graph.initializer[-1].name = names[i]
                else:
                    variant.graph.input.append(model.graph.input[i])
            yield (kept, o), variant, x, expected


def write(folder, model, x):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    x = x if isinstance(x, np.ndarray) else np.zeros(1)
    x.astype("<f4").tofile(folder / "x.f32")


def outcome(folder, expected, relative):
    """`passed`, or why not."""
    if (folder / "refused.txt").exists():
        text = (folder / "refused.txt").read_text()
        return "refused", text.split("cannot be imported: ", 1)[-1].split("; ")[0]
    if not (folder / "y.f32").exists():
        return "failed", "no result"
    y = np.fromfile(folder / "y.f32", "<f4")
    expected = expected.astype(np.float64).ravel()
    if y.size != expected.size:
        return "failed", f"{y.size} numbers, not {expected.size}"
    wrong = ~np.isclose(y, expected, rtol=relative, atol=ABSOLUTE, equal_nan=True)
    if wrong.any():
        i = int(np.argmax(wrong))
        return "failed", f"{wrong.sum()} of {y.size} wrong: {y[i]} not {expected[i]} at {i}"
    return "passed", ""


def run(program, folder):
    """Runs all cases; one that stops the program is left without a result."""
    done = subprocess.run([program, folder], capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr.strip().splitlines()[:3], file=sys.stderr)
    return done.returncode == 0


def verdict(results):
    """Of a case, from those of its variants: the first is the natural one."""
    for name, (kind, why) in results:
        if kind == "failed":
            return "failed", f"input {name[0]}, output {name[1]}: {why}"
    return results[0][1]


def main(program, word, verbose):
    warnings.simplefilter("ignore")
    total = {"passed": 0, "refused": 0, "failed": 0}
    for case in sorted(load_model_tests(kind="node"), key=lambda c: c.name):
        sets = arrays(case)
        operators = {n.op_type for n in sets[0][0].graph.node}
        if word not in case.name or not operators <= set(LISTED + AROUND):
            continue
        if not operators & set(LISTED):
            continue
        with tempfile.TemporaryDirectory() as folder:
            kept = []
            for s, (model, inputs, outputs) in enumerate(sets):
                for name, variant, x, expected in variants(model, inputs, outputs):
                    place = Path(folder) / f"{s}_{name[0]}_{name[1]}"
                    write(place, variant, x)
                    kept.append((name, place, expected))
            run(program, folder)
            relative = ROUNDED.get(case.name, RELATIVE)
            results = [(name, outcome(place, expected, relative)) for name, place, expected in kept]
        kind, why = verdict(results) if results else ("refused", "has no tensors")
        total[kind] += 1
        if verbose or kind != "passed":
            others = [f"{n}: {k} {w}" for n, (k, w) in results[1:] if verbose and k != "passed"]
            print(f"{kind} {case.name}: {why} {' | '.join(others)}".rstrip(": "))
    print(", ".join(f"{count} {kind}" for kind, count in total.items()))
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    if not words:
        sys.exit(__doc__)
    sys.exit(main(words[0], words[1] if len(words) > 1 else "", "--verbose" in sys.argv))
