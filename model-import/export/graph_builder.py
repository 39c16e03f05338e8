"""Collects the nodes and weights of an ONNX graph of convolutions. Supports batch norms and padding; has no specific network."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

BATCH_NORM_EPSILON = np.float32(1e-3)


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's SAME padding of a square, as ONNX pads [top, left, bottom, right]: the odd pixel goes last."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before = total // 2
    return [before, before, total - before, total - before]


class Builder:
    """Collects the graph's nodes and weights, and tracks the spatial size and the channel count."""

    def __init__(self, weights: dict[str, np.ndarray], size: int, channels: int):
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.size, self.channels = size, channels

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def parameter(self, name: str, values: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def scalar(self, name: str, value: float) -> str:
        tensor = numpy_helper.from_array(np.array(value, np.float32))
        return self.node("Constant", [], name, value=tensor)

    def conv(self, x: str, name: str, norm: str, *, stride: int = 1, depthwise: bool = False) -> str:
        """A convolution with its batch norm folded in: y = (w x - mean) * scale + beta, scale = gamma / sqrt(variance + eps).

        Every step is one correctly rounded float32 operation, so the result has the same bits on every machine.
        """
        weight = self.weights[f"{name}.weight"]
        gamma, beta, mean, variance = (
            self.weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        folded = weight * scale[:, None, None, None]
        kernel = weight.shape[2]
        y = self.node(
            "Conv",
            [x, self.parameter(f"{name}.weight", folded), self.parameter(f"{name}.bias", beta - mean * scale)],
            f"{name}.conv",
            dilations=[1, 1],
            group=self.channels if depthwise else 1,
            kernel_shape=[kernel, kernel],
            pads=same_padding(self.size, kernel, stride),
            strides=[stride, stride],
        )
        self.size, self.channels = -(-self.size // stride), weight.shape[0]
        return y

    def relu6(self, x: str) -> str:
        return self.node("Clip", [x, "zero", "six"], f"{x}.relu6")
