"""Kiln's CPU engine and ONNX Runtime in turns on the same pictures: logits compared, images a second, and their ratio.

    python -m venv /tmp/compare && /tmp/compare/bin/pip install -r benches/compare/requirements.txt
    /tmp/compare/bin/python benches/compare/compare.py

Each round times one after the other, so that what else the machine does hits both; a ratio is the median of the rounds'
ratios, with their quartiles. ONNX Runtime gets prepared float32 tensors; Kiln gets u8 pictures and normalises them too.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "model-import/models/efficientnet-lite0/efficientnet-lite0.onnx"
LARGEST = 64
TOLERANCES = {"f32": 1e-3, "bf16": 0.2}  # as in tests/numerics/onnx_runtime_parity.rs


def pictures() -> np.ndarray:
    """What the other side reads, too: the golden pictures by name, again and again, normalised, NCHW."""
    files = sorted((ROOT / "tests/data/golden").glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    pixels = pixels[np.arange(LARGEST) % len(files)].astype(np.float32)
    return np.ascontiguousarray(((pixels - np.float32(127)) / np.float32(128)).transpose(0, 3, 1, 2))


def engine_binary() -> str:
    """Builds the other side."""
    command = ["cargo", "bench", "--bench", "compare", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    (path,) = (m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == "compare")
    return path


class Kiln:
    def __init__(self, binary: str, threads: int, precision: str):
        self.process = subprocess.Popen([binary, str(threads), precision], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str):
        print(question, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def logits(self, count: int) -> np.ndarray:
        return np.array(self.ask(f"logits {count}"), np.float32)

    def run(self, batch: int, seconds: float) -> float:
        return self.ask(f"run {batch} {seconds}")


class OnnxRuntime:
    def __init__(self, threads: int, inputs: np.ndarray):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Idle, its threads must not take a core from the other side.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.inputs = inputs

    def logits(self, count: int) -> np.ndarray:
        return self.session.run(None, {"input": self.inputs[:count]})[0]

    def run(self, batch: int, seconds: float) -> float:
        start, images = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            images += len(self.logits(batch))
        return images / elapsed


def check(ours: np.ndarray, theirs: np.ndarray, precision: str) -> None:
    """A fast wrong answer is worth nothing."""
    difference = np.abs(ours - theirs).max()
    top5 = lambda rows: np.argsort(-rows, axis=1, kind="stable")[:, :5]
    same = bool((top5(ours) == top5(theirs)).all())
    print(f"logits of {len(ours)} pictures: largest difference {difference:.1e}, top-5 {'equal' if same else 'DIFFERENT'}")
    if not difference < TOLERANCES[precision] or not same:
        sys.exit("the two do not compute the same")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} hardware threads" if names else platform.processor()


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,..", help="default: 1,2")
    parser.add_argument("--batches", type=numbers, default=[1, 8, 32], metavar="N,..", help="default: 1,8,32")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each side of a round; default: %(default)s")
    parser.add_argument("--precision", choices=TOLERANCES, default="f32", help="Kiln's; default: %(default)s")
    arguments = parser.parse_args()
    binary, inputs = engine_binary(), pictures()
    print(f"machine: {processor()}; ONNX Runtime {onnxruntime.__version__}")
    print("threads  batch   Kiln/s   ONNX Runtime/s   ratio (quartiles)")
    for threads in arguments.threads:
        kiln, other = Kiln(binary, threads, arguments.precision), OnnxRuntime(threads, inputs)
        check(kiln.logits(LARGEST // 2), other.logits(LARGEST // 2), arguments.precision)
        for batch in arguments.batches:
            kiln.run(batch, 0.5), other.run(batch, 0.5)
            rounds = [(kiln.run(batch, arguments.seconds), other.run(batch, arguments.seconds)) for _ in range(arguments.rounds)]
            low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in rounds], n=4)
            ours, theirs = (statistics.median(side) for side in zip(*rounds))
            print(f"{threads:7}{batch:7}{ours:9.1f}{theirs:17.1f}   {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
