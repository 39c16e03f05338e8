"""Compares Kiln's CPU engine with ONNX Runtime on the same images: checks the logits, and prints images per second and their ratio.

    python -m venv /tmp/compare && /tmp/compare/bin/pip install -r benches/compare/requirements.txt
    /tmp/compare/bin/python benches/compare/compare.py

Each round measures one after the other, so that other load on the machine affects both. The ratio is the median of the ratios of
all rounds, printed with their quartiles. ONNX Runtime gets prepared float32 tensors; Kiln gets u8 images and also normalises them.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import ROOT, Kiln, bench_binary, images_per_second, numbers, onnx_runtime_session, processor  # noqa: E402

MODEL = ROOT / "model-import/models/efficientnet-lite0/efficientnet-lite0.onnx"
MAX_BATCH_SIZE = 64
TOLERANCES = {"f32": 1e-3, "bf16": 0.2}  # as in tests/numerics/onnx_runtime_parity.rs


def images() -> np.ndarray:
    """Returns the images that engine.rs also reads: tests/data/golden in the order of their names, repeated, normalised, NCHW."""
    files = sorted((ROOT / "tests/data/golden").glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    pixels = pixels[np.arange(MAX_BATCH_SIZE) % len(files)].astype(np.float32)
    return np.ascontiguousarray(((pixels - np.float32(127)) / np.float32(128)).transpose(0, 3, 1, 2))


class OnnxRuntime:
    def __init__(self, threads: int, inputs: np.ndarray):
        self.session = onnx_runtime_session(MODEL, threads)
        self.inputs = inputs

    def logits(self, count: int) -> np.ndarray:
        return self.session.run(None, {"input": self.inputs[:count]})[0]

    def run(self, batch: int, seconds: float) -> float:
        return images_per_second(self, batch, seconds)


def check(ours: np.ndarray, theirs: np.ndarray, precision: str) -> None:
    """Exits if the logits or the top-5 classes differ: the speed of an engine that computes wrong results is meaningless."""
    difference = np.abs(ours - theirs).max()
    top5 = lambda rows: np.argsort(-rows, axis=1, kind="stable")[:, :5]
    same = bool((top5(ours) == top5(theirs)).all())
    print(f"logits of {len(ours)} images: largest difference {difference:.1e}, top-5 {'equal' if same else 'DIFFERENT'}")
    if not difference < TOLERANCES[precision] or not same:
        sys.exit("Kiln and ONNX Runtime return different results")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,..", help="default: 1,2")
    parser.add_argument("--batches", type=numbers, default=[1, 8, 32], metavar="N,..", help="default: 1,8,32")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of one measurement; default: %(default)s")
    parser.add_argument("--precision", choices=TOLERANCES, default="f32", help="precision of Kiln; default: %(default)s")
    arguments = parser.parse_args()
    binary, inputs = bench_binary("compare"), images()
    print(f"machine: {processor()}; ONNX Runtime {onnxruntime.__version__}")
    print("threads  batch   Kiln/s   ONNX Runtime/s   ratio (quartiles)")
    for threads in arguments.threads:
        kiln, other = Kiln(binary, str(threads), arguments.precision), OnnxRuntime(threads, inputs)
        check(np.array(kiln.logits(MAX_BATCH_SIZE // 2), np.float32), other.logits(MAX_BATCH_SIZE // 2), arguments.precision)
        for batch in arguments.batches:
            kiln.run(batch, 0.5), other.run(batch, 0.5)
            rounds = [(kiln.run(batch, arguments.seconds), other.run(batch, arguments.seconds)) for _ in range(arguments.rounds)]
            low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in rounds], n=4)
            ours, theirs = (statistics.median(side) for side in zip(*rounds))
            print(f"{threads:7}{batch:7}{ours:9.1f}{theirs:17.1f}   {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
