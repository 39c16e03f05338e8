"""The preprocessed test images and the synthetic image, and ONNX Runtime's logits for them. Nothing here decodes JPEG or resizes."""

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

TEST_DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
GOLDEN = TEST_DATA / "golden"

SIZE = 224
MEAN, STD = np.float32(127.0), np.float32(128.0)

SYNTHETIC = "synthetic:(i*7919)%256"


def synthetic(width: int = SIZE, height: int = SIZE) -> np.ndarray:
    """An image that is easy to generate in any language: byte i, in the order row, column, channel, is (i * 7919) % 256."""
    i = np.arange(width * height * 3, dtype=np.int64)
    return (i * 7919 % 256).astype(np.uint8).reshape(height, width, 3)


def all_rows() -> list[tuple[str, np.ndarray]]:
    """(name, u8 [224, 224, 3]) of each image in tests/data/golden, sorted by name, and of the synthetic image."""
    rows = []
    for path in sorted(GOLDEN.glob("*.png")):
        with Image.open(path) as image:
            if image.size != (SIZE, SIZE) or image.mode != "RGB":
                raise ValueError(f"{path} is {image.mode} {image.size}, not RGB {SIZE}x{SIZE}")
            rows.append((f"golden/{path.name}", np.asarray(image)))
    return [*rows, (SYNTHETIC, synthetic())]


def session(model: bytes) -> onnxruntime.InferenceSession:
    """A session with one CPU thread, so that the order of the sums does not depend on the number of cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def logits(run: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    """The logits, float32 [1000], of one image u8 [224, 224, 3] in a batch of one."""
    x = (pixels.astype(np.float32) - MEAN) / STD
    (rows,) = run.run(["logits"], {"input": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
    return rows[0]
