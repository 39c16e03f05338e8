"""Makes the small networks of ../tests/models, with seeded weights, and ONNX Runtime's logits for them.

    python small_models.py            # writes the folders of ../tests/models
    python small_models.py --check    # makes them again and compares; exit 1 if they differ

They are not useful as classifiers. They have the layers of the architectures, in the forms that exporters write. Batch norms
are not folded, sizes are odd on purpose, and images are higher than wide.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "models"
BATCH = 3
TOLERANCE = 1e-5  # relative to a row's largest: other processors add in a different order


class Graph:
    """Nodes and seeded weights. A counter names the values, and each method returns the name of the value that it adds."""

    def __init__(self, seed: int, height: int, width: int):
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape = [BATCH, 3, height, width]

    def node(self, kind: str, *inputs: str, **attributes) -> str:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def weight(self, values: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int, deviation: float = 1.0, mean: float = 0.0) -> str:
        return self.weight(self.random.normal(mean, deviation, shape).astype(np.float32))

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False, **attributes) -> str:
        fan_in = inputs // groups * kernel * kernel
        parameters = [self.normal(outputs, inputs // groups, kernel, kernel, deviation=(2 / fan_in) ** 0.5)]
        if bias:
            parameters.append(self.normal(outputs, deviation=0.2))
        attributes = attributes or {"pads": [kernel // 2] * 4}
        return self.node("Conv", x, *parameters, kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups, **attributes)

    def batch_norm(self, x: str, channels: int) -> str:
        scale, bias, mean = (self.normal(channels, deviation=0.2, mean=m) for m in (1.0, 0.0, 0.1))
        variance = self.weight(self.random.uniform(0.5, 1.5, channels).astype(np.float32))
        return self.node("BatchNormalization", x, scale, bias, mean, variance, epsilon=1e-3)

    def gemm(self, x: str, inputs: int, outputs: int, *, transposed: bool) -> str:
        shape = (outputs, inputs) if transposed else (inputs, outputs)
        weight, bias = self.normal(*shape, deviation=inputs**-0.5), self.normal(outputs, deviation=0.2)
        return self.node("Gemm", x, weight, bias, transB=int(transposed))

    def model(self, output: str, classes: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["logits"], name="logits"))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *self.shape[1:]])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            self.weights,
        )
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
        onnx.checker.check_model(model, full_check=True)
        return model


def resnet(g: Graph) -> onnx.ModelProto:
    """He and others, "Deep Residual Learning" (2015): batch norms after convolutions, max pooling, a projected shortcut."""

    def unit(x: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        return g.batch_norm(g.conv(x, inputs, outputs, kernel, stride=stride), outputs)

    def block(x: str, inputs: int, outputs: int, stride: int) -> str:
        y = unit(g.node("Relu", unit(x, inputs, outputs, 3, stride)), outputs, outputs, 3)
        shortcut = x if inputs == outputs else unit(x, inputs, outputs, 1, stride)
        return g.node("Relu", g.node("Add", y, shortcut))

    x = g.node("Relu", unit("input", 3, 12, 7, 2))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = block(block(x, 12, 12, 1), 12, 20, 2)
    x = g.node("Flatten", g.node("GlobalAveragePool", x), axis=1)
    return g.model(g.gemm(x, 20, 10, transposed=True), 10)


def mobilenet_v3(g: Graph) -> onnx.ModelProto:
    """Howard and others, "Searching for MobileNetV3" (2019): squeeze and excite, HardSwish in both of its forms."""

    def hard_sigmoid(x: str) -> str:
        return g.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)

    def block(x: str, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, swish, excite: bool) -> str:
        y = swish(g.batch_norm(g.conv(x, inputs, hidden, 1), hidden))
        y = g.batch_norm(g.conv(y, hidden, hidden, kernel, stride=stride, groups=hidden), hidden)
        y = swish(y)
        if excite:
            gate = g.node("Relu", g.conv(g.node("GlobalAveragePool", y), hidden, 8, 1, bias=True))
            y = g.node("Mul", y, hard_sigmoid(g.conv(gate, 8, hidden, 1, bias=True)))
        y = g.batch_norm(g.conv(y, hidden, outputs, 1), outputs)
        return g.node("Add", x, y) if stride == 1 and inputs == outputs else y

    new = lambda x: g.node("HardSwish", x)
    old = lambda x: g.node("Mul", x, hard_sigmoid(x))
    relu6 = lambda x: g.node("Clip", x, g.weight(np.array(0, np.float32)), g.weight(np.array(6, np.float32)))
    zeros = g.weight(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
    x = g.conv(g.node("Pad", "input", zeros), 3, 16, 3, stride=2, bias=True, pads=[0, 0, 0, 0])
    x = block(new(x), 16, 40, 24, 3, 2, relu6, excite=False)
    x = block(x, 24, 56, 24, 5, 1, old, excite=True)
    x = block(x, 24, 56, 40, 5, 2, new, excite=True)
    x = block(x, 40, 72, 40, 3, 1, new, excite=False)
    x = g.node("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1], count_include_pad=1)
    x = g.node("ReduceMean", new(g.conv(x, 40, 48, 1, bias=True)), axes=[2, 3], keepdims=0)
    return g.model(g.gemm(x, 48, 7, transposed=False), 7)


def unknown(g: Graph) -> onnx.ModelProto:
    """Has a layer without a kernel in Kiln, so burn-onnx gets the network unfused."""
    x = g.node("Tanh", g.conv("input", 3, 8, 3, stride=2, bias=True))
    x = g.node("Flatten", g.node("GlobalAveragePool", x), axis=1)
    return g.model(g.gemm(x, 8, 5, transposed=True), 5)


NETWORKS = {
    "small-resnet": (resnet, Graph(1, 61, 45), 10),
    "small-mobilenet-v3": (mobilenet_v3, Graph(2, 70, 54), 7),
    "small-unknown": (unknown, Graph(3, 20, 16), 5),
}


def images(shape: list[int]) -> np.ndarray:
    """The images of the test: byte i of the batch in NHWC is i * 7919 mod 256, and the input is (byte - 127) / 128."""
    batch, channels, height, width = shape
    values = (np.arange(np.prod(shape), dtype=np.int64) * 7919 % 256).astype(np.float32)
    values = ((values - np.float32(127)) / np.float32(128)).reshape(batch, height, width, channels)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def manifest(name: str, onnx_sha256: str, shape: list[int]) -> str:
    return f"""# Written by model-import/export/small_models.py, for a test.
name = "{name}"
version = "1"
description = "Seeded weights; for its layers only"
source = "model-import/export/small_models.py"
licence = "MIT OR Apache-2.0"
onnx = "{name}.onnx"
sha256 = "{onnx_sha256}"
labels = "labels.txt"

[input]
width = {shape[3]}
height = {shape[2]}

[preprocess]
filter = "bilinear"
crop = "none"
mean = [127.0, 127.0, 127.0]
std = [128.0, 128.0, 128.0]
"""


def files() -> dict[Path, bytes]:
    """The content of every file in the folder."""
    made = {}
    for name, (build, graph, classes) in NETWORKS.items():
        data = build(graph).SerializeToString(deterministic=True)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (rows,) = session.run(None, {"input": images(graph.shape)})
        logits = {"runtime": f"onnxruntime {onnxruntime.__version__}", "logits": [[float(x) for x in row] for row in rows]}
        sha256 = hashlib.sha256(data).hexdigest()
        made[Path(name, f"{name}.onnx")] = data
        made[Path(name, "model.toml")] = manifest(name, sha256, graph.shape).encode()
        made[Path(name, "labels.txt")] = "".join(f"class {index}\n" for index in range(classes)).encode()
        made[Path(name, "logits.json")] = (json.dumps(logits) + "\n").encode()
    return made


def agrees(path: Path, made: bytes) -> bool:
    committed = (FOLDER / path).read_bytes()
    if path.name != "logits.json":
        return committed == made
    ours, theirs = (np.array(json.loads(text)["logits"]) for text in (made, committed))
    return bool(np.all(np.abs(ours - theirs).max(axis=1) <= TOLERANCE * np.abs(theirs).max(axis=1)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    check = parser.parse_args().check
    different = []
    for path, data in files().items():
        if check:
            different += [] if agrees(path, data) else [str(path)]
            continue
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(data)
        print(f"{len(data):8} bytes  {path}")
    if check:
        print("\n".join(f"{path} differs" for path in different) or f"all files of {FOLDER.name} agree")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
