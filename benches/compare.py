#!/usr/bin/env python3
"""Times Pith, ONNX Runtime and LiteRT in turn on the same networks: one thread, one input at a time.

    pip install numpy onnxruntime ai-edge-litert
    cargo build --release -p benches --bin latency
    benches/compare.py digits.pith digits.qdq.onnx digits.tflite [words.pith ...]

Each image is followed by what it is compared with: an ONNX file (for int8, one quantized in QDQ form), a
LiteRT file (int8), or both. It is run as it stands and with weights prepared once (`Session::prepared`). All of
a network run a few milliseconds each, again and again: what disturbs a machine disturbs all of them. A ratio is
the median of those of the rounds, of our time to theirs: below 1 we are faster. The others are called from Python,
which costs each call some tenths of a microsecond.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import numpy

SLICE = 0.004
"""Seconds of one turn."""


class Pith:
    def __init__(self, path, latency, prepared):
        self.name = "Pith, prepared" if prepared else "Pith"
        command = [latency, path, "--serve"] + ["--prepared"] * prepared
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def seconds(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()) / 1e9

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Called:
    """One whose inference is a function of Python."""

    def seconds(self, count):
        infer = self.infer
        start = time.perf_counter()
        for _ in range(count):
            infer()
        return time.perf_counter() - start

    def close(self):
        pass


class OnnxRuntime(Called):
    name = "ONNX Runtime"

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        for port in session.get_inputs():
            shape = [side if isinstance(side, int) else 1 for side in port.shape]
            binding.bind_cpu_input(port.name, random(shape, numpy.float32))
        for port in session.get_outputs():
            binding.bind_output(port.name)
        self.infer = lambda: session.run_with_iobinding(binding)


class LiteRt(Called):
    name = "LiteRT"

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        for port in interpreter.get_input_details():
            interpreter.set_tensor(port["index"], random(port["shape"], port["dtype"]))
        self.infer = interpreter.invoke


def random(shape, dtype):
    values = numpy.random.default_rng(1).integers(-128, 128, shape)
    return values.astype(dtype) if dtype == numpy.int8 else (values / 128).astype(dtype)


def contenders(files, latency):
    """The image as it stands, the image prepared, and what they are compared with."""
    image, *others = files
    kinds = {".onnx": OnnxRuntime, ".tflite": LiteRt}
    for path in others:
        if Path(path).suffix not in kinds:
            raise SystemExit(f"error: {path} is no .pith, .onnx or .tflite file")
    ours = [Pith(image, latency, prepared) for prepared in (False, True)]
    return ours + [kinds[Path(path).suffix](path) for path in others]


def networks(files):
    """An image and the files up to the next one, each."""
    groups = []
    for path in files:
        if path.endswith(".pith"):
            groups.append([])
        if not groups:
            raise SystemExit(f"error: {path} stands before any image; --help shows an example")
        groups[-1].append(path)
    return groups


def measure(runners, rounds):
    """Seconds of an inference: of each, in each round."""
    counts = []
    for runner in runners:
        runner.seconds(10)
        once = runner.seconds(50) / 50
        counts.append(max(1, round(SLICE / once)))
        runner.seconds(counts[-1])
    times = [[] for _ in runners]
    for turn in range(rounds):
        for step in range(len(runners)):
            which = (turn + step) % len(runners)
            times[which].append(runners[which].seconds(counts[which]) / counts[which])
    return times


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--latency", default="target/release/latency", help="our binary")
    arguments = parser.parse_args()
    print("| network | runtime | µs | Pith to this | prepared to this |\n|---|---|---|---|---|")
    for files in networks(arguments.files):
        runners = contenders(files, arguments.latency)
        times = measure(runners, arguments.rounds)
        for runner, theirs in zip(runners, times):
            micros = 1e6 * statistics.median(theirs)
            ratios = [
                statistics.median(ours / other for ours, other in zip(times[which], theirs))
                for which in (0, 1)
            ]
            shown = " | ".join("" if isinstance(runner, Pith) else f"{r:.2f}" for r in ratios)
            print(f"| {Path(files[0]).stem} | {runner.name} | {micros:.1f} | {shown} |", flush=True)
            runner.close()


if __name__ == "__main__":
    main()
