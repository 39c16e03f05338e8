"""Prints ONNX Runtime's logits for the synthetic image, one a line, for `kiln import --logits`.

    python reference_logits.py resnet50.onnx --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 > logits.txt

Mean and standard deviation are in units of 0..255. The logits depend on them, so use the values of the manifest.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import images


def channels(text: str) -> np.ndarray:
    """Three comma-separated numbers, or one number for all three channels."""
    return np.array([np.float32(value) for value in text.split(",")], np.float32)


def logits(model: bytes, size: tuple[int, int] | None, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The logits, float32 [classes]. `size` is width and height, for a network that leaves them open."""
    run = images.session(model)
    tensor = run.get_inputs()[0]
    height, width = (axis if isinstance(axis, int) else None for axis in tensor.shape[2:])
    if size:
        width, height = size
    if not width or not height:
        raise SystemExit(f"the input '{tensor.name}' leaves height and width open: give --size, such as --size 224x224")
    x = (images.synthetic(width, height).astype(np.float32) - mean) / std
    (rows,) = run.run(None, {tensor.name: np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
    return rows[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("--mean", type=channels, required=True, help="R,G,B in units of 0..255")
    parser.add_argument("--std", type=channels, required=True, help="R,G,B in units of 0..255")
    parser.add_argument("--size", type=lambda text: tuple(int(side) for side in text.split("x")), help="WIDTHxHEIGHT")
    arguments = parser.parse_args()
    for value in logits(arguments.model.read_bytes(), arguments.size, arguments.mean, arguments.std):
        print(value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
