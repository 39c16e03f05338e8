"""generate.py: writes cases/generated/*.onnx, small graphs of one operator or a few, which cover what classifiers use.

Each graph takes images with an open batch, most of them `[n, 3, 8, 7]`, and ends in an output of `[n, K]`. Its weights are seeded.
A graph that ONNX Runtime refuses is not written; its name and the reason are printed. The weights of quantised operators have 7 bits,
so that the 8-bit kernels of AVX2 do not saturate. To run it (answers.py says how to make the environment):

    /work/zoo-venv/bin/python crates/zoo/generate.py
    /work/zoo-venv/bin/python crates/zoo/answers.py --kind generated
"""

import math
import sys
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import answers

IMAGE, ROW = (3, 8, 7), (16,)
MS = "com.microsoft"
CASES = {}
LAST = 2**63 - 1
# ONNX Runtime runs it, but onnx.checker calls the operator deprecated: set 21 replaced it.
UNCHECKED = ["groupnorm_op18"]


class Graph:
    """Builds a graph. An operator is a method: `g.Conv(x, g.w(8, 3, 3, 3), pads=[1, 1, 1, 1])` returns the name of its output."""

    def __init__(self, name: str):
        self.seed = zlib.crc32(name.encode())
        self.nodes, self.initializers = [], []

    def op(self, kind: str, *inputs, domain: str = "", outputs: int = 1, **attributes):
        names = [f"t{len(self.nodes)}_{at}" for at in range(outputs)]
        inputs = ["" if name is None else name for name in inputs]
        attributes = {key.rstrip("_"): value for key, value in attributes.items()}
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def __getattr__(self, kind: str):
        if not kind[0].isupper():
            raise AttributeError(kind)
        return lambda *inputs, **options: self.op(kind, *inputs, **options)

    def const(self, values, dtype=np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype=dtype), name))
        return name

    def i(self, *values) -> str:
        """A list of int64."""
        return self.const(values, np.int64)

    def values(self, shape, mean, std, low=-1.0):
        self.seed += 1
        return answers.fill_values(mean, std, low, self.seed, math.prod(shape), np.float64).reshape(shape)

    def w(self, *shape, mean=0.0, std=None, low=-1.0, dtype=np.float32) -> str:
        """Weights; a deviation that keeps the size of what they multiply, unless another is given."""
        std = std or 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        return self.const(self.values(shape, mean, std, low), dtype)

    def whole(self, *shape, dtype=np.int8) -> str:
        """Quantised weights of 7 bits."""
        values = np.clip(np.round(self.values(shape, 0, 25)), -63, 63)
        return self.const(values + (64 if dtype == np.uint8 else 0), dtype)


def case(name: str, opset: int, build, shape=IMAGE) -> None:
    assert name not in CASES, name
    CASES[name] = (opset, build, shape)


# Convolutions.
def conv(name, weight, opset=17, bias=True, shape=IMAGE, **attributes):
    case(f"conv_{name}", opset, lambda g, x: g.Conv(x, g.w(*weight), *([g.w(weight[0])] if bias else []), **attributes), shape)


conv("3x3", (4, 3, 3, 3), pads=[1, 1, 1, 1])
conv("3x3_op7", (4, 3, 3, 3), opset=7, pads=[1, 1, 1, 1])
conv("3x3_op11", (4, 3, 3, 3), opset=11, pads=[1, 1, 1, 1])
conv("3x3_op22", (4, 3, 3, 3), opset=22, pads=[1, 1, 1, 1])
conv("no_bias", (4, 3, 3, 3), bias=False)
conv("1x1", (5, 3, 1, 1))
conv("rect_kernel", (4, 3, 2, 3), kernel_shape=[2, 3], pads=[1, 1, 0, 1])
conv("stride2", (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
conv("stride_2_1", (4, 3, 3, 3), strides=[2, 1], pads=[1, 1, 1, 1])
conv("depthwise", (3, 1, 3, 3), group=3, pads=[1, 1, 1, 1])
conv("depthwise_multiplier", (6, 1, 3, 3), group=3, pads=[1, 1, 1, 1])
conv("dilated", (4, 3, 3, 3), dilations=[2, 2])
conv("dilated_2_1", (4, 3, 3, 3), dilations=[2, 1], pads=[2, 1, 2, 1])
conv("asymmetric_pads", (4, 3, 3, 3), pads=[0, 1, 2, 3])
conv("same_upper", (4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
conv("same_lower", (4, 3, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2])
conv("same_upper_even", (4, 3, 2, 2), auto_pad="SAME_UPPER")
conv("same_lower_even", (4, 3, 2, 2), auto_pad="SAME_LOWER")
conv("same_upper_stride3", (4, 3, 4, 5), auto_pad="SAME_UPPER", strides=[3, 3])
conv("same_upper_dilated", (4, 3, 3, 3), auto_pad="SAME_UPPER", dilations=[2, 2])
conv("valid", (4, 3, 3, 3), auto_pad="VALID", strides=[2, 2])
conv("notset", (4, 3, 3, 3), auto_pad="NOTSET", pads=[1, 1, 1, 1])
conv("1d", (4, 3, 3), pads=[1, 1], shape=(3, 20))
conv("1d_stride_dilated", (6, 1, 3), pads=[2, 1], strides=[2], dilations=[2], group=3, shape=(3, 20))
conv("patches", (8, 3, 4, 4), strides=[4, 4])
case("conv_grouped", 17, lambda g, x: g.Conv(g.Conv(x, g.w(8, 3, 1, 1)), g.w(6, 4, 3, 3), g.w(6), group=2))
case("conv_3d", 17, lambda g, x: g.Conv(g.Unsqueeze(x, g.i(1)), g.w(2, 1, 2, 3, 3), g.w(2), pads=[0, 1, 1, 0, 1, 1]))
case("conv_1d_after_reshape", 17, lambda g, x: g.Conv(g.Reshape(x, g.i(0, 3, -1)), g.w(4, 3, 5), g.w(4), pads=[2, 2]))
case("conv_weight_transposed", 17, lambda g, x: g.Conv(x, g.Transpose(g.w(3, 3, 3, 4), perm=[3, 2, 0, 1])))
case("conv_weight_identity", 17, lambda g, x: g.Conv(x, g.Identity(g.w(4, 3, 3, 3)), g.Identity(g.w(4))))
case(
    "conv_weight_node",
    17,
    lambda g, x: g.Conv(x, g.Constant(value=numpy_helper.from_array(g.values((4, 3, 3, 3), 0, 0.2).astype(np.float32)))),
)
case("conv_weight_half", 17, lambda g, x: g.Conv(x, g.Cast(g.w(4, 3, 3, 3, dtype=np.float16), to=TensorProto.FLOAT)))
case(
    "conv_half",
    17,
    lambda g, x: g.Cast(g.Conv(g.Cast(x, to=TensorProto.FLOAT16), g.w(4, 3, 3, 3, dtype=np.float16)), to=TensorProto.FLOAT),
)


def standardised(g, x):
    weight = g.w(4, 3, 3, 3)
    centred = g.Sub(weight, g.ReduceMean(weight, axes=[1, 2, 3]))
    return g.Conv(x, g.Div(centred, g.Sqrt(g.Add(g.ReduceMean(g.Mul(centred, centred), axes=[1, 2, 3]), g.const(1e-5)))))


case("conv_weight_standardised", 17, standardised)


# Transposed convolutions.
def deconv(name, weight, opset=17, **attributes):
    group = attributes.get("group", 1)
    case(f"convtranspose_{name}", opset, lambda g, x: g.ConvTranspose(x, g.w(*weight, std=0.3), g.w(weight[1] * group), **attributes))


deconv("2x2", (3, 2, 2, 2), strides=[2, 2])
deconv("stride1", (3, 4, 3, 3), pads=[1, 1, 1, 1])
deconv("op7", (3, 2, 3, 3), opset=7, strides=[2, 2])
deconv("output_padding", (3, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
deconv("groups", (3, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1])
deconv("dilated", (3, 2, 3, 3), dilations=[2, 2])
deconv("asymmetric_pads", (3, 2, 3, 3), strides=[2, 2], pads=[0, 1, 1, 0])
deconv("same_upper", (3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
deconv("same_lower", (3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER", opset=11)
deconv("output_shape", (3, 2, 3, 3), strides=[2, 2], output_shape=[16, 14])


# Pooling.
def pool(kind, name, opset=17, **attributes):
    case(f"{kind.lower()}_{name}", opset, lambda g, x: g.op(kind, x, **attributes))


for kind in ["MaxPool", "AveragePool"]:
    pool(kind, "2x2", kernel_shape=[2, 2], strides=[2, 2])
    pool(kind, "op7", opset=7, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    pool(kind, "no_strides", kernel_shape=[3, 2])
    pool(kind, "padded", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    pool(kind, "asymmetric_pads", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 2, 0])
    pool(kind, "ceil", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    pool(kind, "ceil_op10", opset=10, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    pool(kind, "ceil_padded", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    pool(kind, "same_upper", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    pool(kind, "same_lower", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    pool(kind, "valid", kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID")
    pool(kind, "dilated", opset=22, kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1])
    case(f"{kind.lower()}_1d", 17, lambda g, x, kind=kind: g.op(kind, x, kernel_shape=[3], strides=[2], pads=[1, 1]), (3, 20))
    case(f"global_{kind.lower()}", 17, lambda g, x, kind=kind: g.op(f"Global{kind}", x))
pool("MaxPool", "dilated_op10", opset=10, kernel_shape=[2, 3], dilations=[3, 2])
pool("AveragePool", "include_pad", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
pool("AveragePool", "include_pad_op7", opset=7, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
pool(
    "AveragePool", "include_pad_ceil", opset=19, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1
)
pool("AveragePool", "include_pad_same", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER", count_include_pad=1)
pool("LpPool", "2", kernel_shape=[2, 2], strides=[2, 2])
pool("LpPool", "1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], p=1)
pool("LpPool", "op7", opset=7, kernel_shape=[2, 2], strides=[2, 2], p=2)
pool("LpPool", "ceil_op18", opset=18, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, p=3)
pool("GlobalLpPool", "2")
pool("GlobalLpPool", "3", p=3)


# Normalisation.
def batchnorm(name, opset, shape=IMAGE, **attributes):
    c = shape[0]
    case(
        f"batchnorm_{name}",
        opset,
        lambda g, x: g.BatchNormalization(x, g.w(c, mean=1, std=0.2), g.w(c), g.w(c, std=0.5), g.w(c, std=0.3, low=0.05), **attributes),
        shape,
    )


batchnorm("default", 17)
batchnorm("epsilon", 17, epsilon=0.1)
batchnorm("op7", 7, epsilon=1e-3)
batchnorm("op9", 9)
batchnorm("op14", 14, epsilon=1e-3)
batchnorm("rows", 17, ROW, epsilon=1e-3)
batchnorm("1d", 17, (3, 20), epsilon=1e-3)
case(
    "batchnorm_folded_into_conv",
    17,
    lambda g, x: g.Relu(
        g.BatchNormalization(
            g.Conv(x, g.w(4, 3, 3, 3), g.w(4)), g.w(4, mean=1, std=0.2), g.w(4), g.w(4), g.w(4, std=0.3, low=0.05), epsilon=1e-3
        )
    ),
)
case("layernorm_last", 17, lambda g, x: g.LayerNormalization(x, g.w(7, mean=1, std=0.2), g.w(7)))
case("layernorm_axis1", 17, lambda g, x: g.LayerNormalization(x, g.w(*IMAGE, mean=1, std=0.2), g.w(*IMAGE), axis=1))
case("layernorm_axis2", 17, lambda g, x: g.LayerNormalization(x, g.w(8, 7, mean=1, std=0.2), axis=2, epsilon=0.01))
case("layernorm_no_bias", 17, lambda g, x: g.LayerNormalization(x, g.w(7, mean=1, std=0.2), axis=-1))
case("layernorm_rows", 17, lambda g, x: g.LayerNormalization(x, g.w(16, mean=1, std=0.2), g.w(16), epsilon=1e-6), ROW)
case(
    "layernorm_channels",
    17,
    lambda g, x: g.Transpose(
        g.LayerNormalization(g.Transpose(x, perm=[0, 2, 3, 1]), g.w(3, mean=1, std=0.2), g.w(3), epsilon=1e-6), perm=[0, 3, 1, 2]
    ),
)


def spelled_layernorm(g, x, power=True):
    centred = g.Sub(x, g.ReduceMean(x, axes=[-1]))
    square = g.Pow(centred, g.const(2.0)) if power else g.Mul(centred, centred)
    scaled = g.Div(centred, g.Sqrt(g.Add(g.ReduceMean(square, axes=[-1]), g.const(1e-5))))
    return g.Add(g.Mul(scaled, g.w(7, mean=1, std=0.2)), g.w(7))


case("layernorm_spelled", 11, spelled_layernorm)
case("layernorm_spelled_mul", 13, lambda g, x: spelled_layernorm(g, x, False))
case("groupnorm_op18", 18, lambda g, x: g.GroupNormalization(g.Conv(x, g.w(8, 3, 1, 1)), g.w(4, mean=1, std=0.2), g.w(4), num_groups=4))
case(
    "groupnorm_op21",
    21,
    lambda g, x: g.GroupNormalization(g.Conv(x, g.w(8, 3, 1, 1)), g.w(8, mean=1, std=0.2), g.w(8), num_groups=4, epsilon=1e-3),
)
case(
    "groupnorm_spelled",
    17,
    lambda g, x: g.Add(
        g.Mul(
            g.Reshape(
                g.InstanceNormalization(g.Reshape(g.Conv(x, g.w(8, 3, 1, 1)), g.i(0, 2, -1)), g.const([1, 1]), g.const([0, 0])),
                g.i(0, 8, 8, 7),
            ),
            g.w(8, 1, 1, mean=1, std=0.2),
        ),
        g.w(8, 1, 1),
    ),
)
case("instancenorm", 17, lambda g, x: g.InstanceNormalization(x, g.w(3, mean=1, std=0.2), g.w(3)))
case("instancenorm_epsilon_op7", 7, lambda g, x: g.InstanceNormalization(x, g.w(3, mean=1, std=0.2), g.w(3), epsilon=0.1))
case("rmsnorm", 23, lambda g, x: g.RMSNormalization(x, g.w(7, mean=1, std=0.2)))
case("rmsnorm_axis1", 23, lambda g, x: g.RMSNormalization(x, g.w(*IMAGE, mean=1, std=0.2), axis=1, epsilon=0.01))
case(
    "rmsnorm_spelled",
    17,
    lambda g, x: g.Mul(
        g.Mul(x, g.Reciprocal(g.Sqrt(g.Add(g.ReduceMean(g.Mul(x, x), axes=[-1]), g.const(1e-6))))), g.w(7, mean=1, std=0.2)
    ),
)
case("lrn", 17, lambda g, x: g.LRN(g.Conv(x, g.w(8, 3, 1, 1)), size=5, alpha=0.5, beta=0.75, bias=2.0))
case("lrn_even_op7", 7, lambda g, x: g.LRN(g.Conv(x, g.w(8, 3, 1, 1)), size=4, alpha=0.5))
case("lpnormalization_1", 17, lambda g, x: g.LpNormalization(x, axis=1, p=1))
case("lpnormalization_2", 17, lambda g, x: g.LpNormalization(x))
case("mvn_op9", 9, lambda g, x: g.MeanVarianceNormalization(x, axes=[2, 3]))
case("mvn_op13_channels", 13, lambda g, x: g.MeanVarianceNormalization(x, axes=[1, 2, 3]))

# Activations and functions of one value.
UNARY = [
    ("Relu", 7, {}),
    ("Relu", 14, {}),
    ("LeakyRelu", 7, {}),
    ("LeakyRelu", 16, {"alpha": 0.2}),
    ("Elu", 7, {}),
    ("Elu", 22, {"alpha": 0.5}),
    ("Selu", 7, {}),
    ("Selu", 22, {"alpha": 1.5, "gamma": 1.2}),
    ("Celu", 12, {"alpha": 0.7}),
    ("Celu", 17, {}),
    ("Sigmoid", 7, {}),
    ("Sigmoid", 13, {}),
    ("HardSigmoid", 7, {}),
    ("HardSigmoid", 17, {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSwish", 14, {}),
    ("HardSwish", 22, {}),
    ("Tanh", 7, {}),
    ("Tanh", 13, {}),
    ("Softplus", 7, {}),
    ("Softplus", 22, {}),
    ("Softsign", 7, {}),
    ("ThresholdedRelu", 10, {}),
    ("ThresholdedRelu", 22, {"alpha": 0.3}),
    ("Gelu", 20, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("Mish", 18, {}),
    ("Mish", 22, {}),
    ("Swish", 24, {}),
    ("Swish", 24, {"alpha": 1.7}),
    ("Shrink", 9, {}),
    ("Shrink", 17, {"bias": 0.1, "lambd": 0.3}),
    ("Clip", 7, {"min": -0.5, "max": 0.7}),
    ("Clip", 7, {"min": 0.0}),
    ("Clip", 7, {}),
    ("Erf", 9, {}),
    ("Erf", 13, {}),
    ("Exp", 7, {}),
    ("Exp", 13, {}),
    ("Abs", 7, {}),
    ("Neg", 7, {}),
    ("Sign", 9, {}),
    ("Floor", 7, {}),
    ("Ceil", 7, {}),
    ("Sin", 7, {}),
    ("Cos", 7, {}),
    ("Atan", 7, {}),
    ("Sinh", 9, {}),
    ("Cosh", 9, {}),
    ("Asinh", 9, {}),
    ("Identity", 7, {}),
    ("Identity", 16, {}),
]
for kind, opset, attributes in UNARY:
    name = "_".join(
        [
            kind.lower(),
            f"op{opset}",
            *(f"{key}_{value:.3g}" if not isinstance(value, str) else value for key, value in attributes.items()),
        ]
    )
    case(name.replace("-", "m"), opset, lambda g, x, kind=kind, attributes=attributes: g.op(kind, x, **attributes))
for kind in ["Log", "Sqrt", "Reciprocal"]:
    case(f"{kind.lower()}", 17, lambda g, x, kind=kind: g.op(kind, g.Add(g.Abs(x), g.const(0.1))))
for kind in ["Tan", "Asin", "Acos", "Atanh"]:
    case(f"{kind.lower()}", 17, lambda g, x, kind=kind: g.op(kind, g.Mul(g.Tanh(x), g.const(0.9))))
case("acosh", 17, lambda g, x: g.Acosh(g.Add(g.Abs(x), g.const(1.1))))
case("round_half_even", 17, lambda g, x: g.Round(g.Mul(g.Floor(g.Mul(x, g.const(4.0))), g.const(0.5))))
case("prelu_channels", 17, lambda g, x: g.PRelu(x, g.w(3, 1, 1, std=0.3)))
case("prelu_scalar_op7", 7, lambda g, x: g.PRelu(x, g.w(1, std=0.3)))
case("prelu_rows", 17, lambda g, x: g.PRelu(x, g.w(16, std=0.3)), ROW)
case("clip_inputs_op11", 11, lambda g, x: g.Clip(x, g.const(-0.5), g.const(0.7)))
case("clip_min_op11", 11, lambda g, x: g.Clip(x, g.const(0.1)))
case("clip_max_op13", 13, lambda g, x: g.Clip(x, None, g.const(0.3)))
case("clip_none_op13", 13, lambda g, x: g.Clip(x))
case("relu6_constants", 13, lambda g, x: g.Clip(g.Mul(x, g.const(4.0)), g.Constant(value_float=0.0), g.Constant(value_float=6.0)))
case("silu_spelled", 17, lambda g, x: g.Mul(x, g.Sigmoid(x)))
case("silu_spelled_swapped", 17, lambda g, x: g.Mul(g.Sigmoid(x), x))
case("silu_beta", 17, lambda g, x: g.Mul(x, g.Sigmoid(g.Mul(x, g.const(1.702)))))
case("hardswish_spelled", 17, lambda g, x: g.Div(g.Mul(x, g.Clip(g.Add(x, g.const(3.0)), g.const(0.0), g.const(6.0))), g.const(6.0)))
case("hardswish_hardsigmoid", 13, lambda g, x: g.Mul(x, g.HardSigmoid(x, alpha=1 / 6, beta=0.5)))
case("gelu_spelled", 13, lambda g, x: g.Mul(g.Mul(x, g.Add(g.Erf(g.Div(x, g.const(2**0.5))), g.const(1.0))), g.const(0.5)))
case("gelu_spelled_half_first", 13, lambda g, x: g.Mul(g.Mul(x, g.const(0.5)), g.Add(g.const(1.0), g.Erf(g.Mul(x, g.const(0.5**0.5))))))
case(
    "gelu_spelled_tanh",
    13,
    lambda g, x: g.Mul(
        g.Mul(x, g.const(0.5)),
        g.Add(g.const(1.0), g.Tanh(g.Mul(g.Add(x, g.Mul(g.Pow(x, g.const(3.0)), g.const(0.044715))), g.const((2 / math.pi) ** 0.5)))),
    ),
)
case("mish_spelled", 13, lambda g, x: g.Mul(x, g.Tanh(g.Softplus(x))))
case("softplus_spelled", 13, lambda g, x: g.Log(g.Add(g.Exp(x), g.const(1.0))))


# Matrix products.
def gemm(name, opset=17, a=False, bias=(5,), **attributes):
    def build(g, x):
        weight = g.w(5, 16) if attributes.get("transB") else g.w(16, 5, std=0.25)
        rest = [] if bias is None else [g.w(*bias)]
        return g.Gemm(g.Transpose(x, perm=[1, 0]) if a else x, weight, *rest, **({"transA": 1} if a else {}), **attributes)

    case(f"gemm_{name}", opset, build, ROW)


gemm("nn")
gemm("nt", transB=1)
gemm("tn", a=True)
gemm("tt", a=True, transB=1)
gemm("op7", 7, transB=1)
gemm("op9", 9, transB=1)
gemm("op11_no_c", 11, bias=None, transB=1)
gemm("alpha_beta", alpha=0.5, beta=2.0, transB=1)
gemm("alpha_beta_zero", alpha=1.5, beta=0.0)
gemm("c_row", bias=(1, 5))
gemm("c_one", bias=(1,))
gemm("c_scalar", bias=())
case("gemm_c_column", 17, lambda g, x: g.Gemm(x, g.w(16, 5), g.Slice(x, g.i(0), g.i(1), g.i(1))), ROW)
case("matmul_rows", 17, lambda g, x: g.MatMul(x, g.w(16, 5, std=0.25)), ROW)
case("matmul_add_rows", 7, lambda g, x: g.Add(g.MatMul(x, g.w(16, 5, std=0.25)), g.w(5)), ROW)
case("matmul_add_swapped", 17, lambda g, x: g.Add(g.w(5), g.MatMul(x, g.w(16, 5, std=0.25))), ROW)
case("matmul_rank4_2", 17, lambda g, x: g.MatMul(x, g.w(7, 5)))
case("matmul_rank4_4", 17, lambda g, x: g.MatMul(x, g.Transpose(x, perm=[0, 1, 3, 2])))
case("matmul_rank4_3", 17, lambda g, x: g.MatMul(x, g.w(3, 7, 5)))
case("matmul_rank2_4", 17, lambda g, x: g.MatMul(g.w(5, 8), x))
case("matmul_broadcast", 17, lambda g, x: g.MatMul(x, g.w(1, 3, 7, 2)))
case("matmul_rank3_3", 17, lambda g, x: g.MatMul(g.Reshape(x, g.i(0, 3, -1)), g.Reshape(x, g.i(0, -1, 3))))
case("matmul_rank2_1", 17, lambda g, x: g.Unsqueeze(g.MatMul(x, g.w(16, std=0.25)), g.i(1)), ROW)
case("matmul_rank1_3", 17, lambda g, x: g.MatMul(g.w(8, std=0.3), g.Reshape(x, g.i(0, 8, -1))))
case("matmul_rank4_1", 17, lambda g, x: g.MatMul(x, g.w(7, std=0.3)))


def einsum(name, equation, build, shape=IMAGE, opset=17):
    case(f"einsum_{name}", opset, lambda g, x: g.Einsum(*build(g, x), equation=equation), shape)


einsum("scores", "bhqd,bhkd->bhqk", lambda g, x: (x, x))
einsum("context", "bhqk,bhkd->bhqd", lambda g, x: (g.Softmax(g.MatMul(x, g.w(7, 8))), x))
einsum("qkt_spaces", "b h i d, b h j d -> b h i j", lambda g, x: (x, g.Relu(x)), opset=12)
einsum("channels", "nchw,ck->nkhw", lambda g, x: (x, g.w(3, 4)))
einsum("linear", "bc,oc->bo", lambda g, x: (x, g.w(5, 16)), ROW)
einsum("implicit", "bij,jk", lambda g, x: (g.Reshape(x, g.i(0, 8, -1)), g.w(21, 4)))
einsum("ellipsis", "...ij,...jk->...ik", lambda g, x: (x, g.Transpose(x, perm=[0, 1, 3, 2])))
einsum("transpose", "bchw->bhwc", lambda g, x: (x,))
einsum("sum", "bchw->bc", lambda g, x: (x,))
einsum("outer", "bi,bj->bij", lambda g, x: (x, g.Relu(x)), ROW)
case("einsum_three", 17, lambda g, x: g.Unsqueeze(g.Einsum(x, g.w(16, 16), x, equation="bi,ij,bj->b"), g.i(1)), ROW)
einsum("rel_pos", "bhwc,hkc->bhwk", lambda g, x: (g.Transpose(x, perm=[0, 2, 3, 1]), g.w(8, 5, 3)))

# Softmax and its kin: before operator set 13 the axes from `axis` on are flattened.
for kind in ["Softmax", "LogSoftmax", "Hardmax"]:
    for opset, axis in [(13, None), (13, 1), (13, 2), (13, -1), (11, None), (11, 2), (11, -1), (7, 1), (7, 3)]:
        name = f"{kind.lower()}_op{opset}_" + ("default" if axis is None else f"axis{axis}".replace("-", "m"))
        case(name, opset, lambda g, x, kind=kind, axis=axis: g.op(kind, x, **({} if axis is None else {"axis": axis})))
    case(f"{kind.lower()}_rows", 17, lambda g, x, kind=kind: g.op(kind, x, axis=-1), ROW)

# Shapes.
case("concat_channels", 17, lambda g, x: g.Concat(x, g.Relu(x), g.Neg(x), axis=1))
case("concat_last_negative", 11, lambda g, x: g.Concat(x, g.Relu(x), axis=-1))
case("concat_one", 7, lambda g, x: g.Concat(x, axis=2))
case("split_attribute_op7", 7, lambda g, x: g.Concat(*reversed(g.Split(x, axis=2, split=[3, 5], outputs=2)), axis=2))
case("split_equal_op11", 11, lambda g, x: g.Concat(*reversed(g.Split(x, axis=1, outputs=3)), axis=1))
case("split_input_op13", 13, lambda g, x: g.Concat(*reversed(g.Split(x, g.i(1, 2, 4), axis=-1, outputs=3)), axis=-1))
case("split_equal_op13", 13, lambda g, x: g.Mul(*g.Split(x, axis=2, outputs=2)))
case("split_num_outputs_op18", 18, lambda g, x: g.Concat(*reversed(g.Split(x, axis=3, num_outputs=3, outputs=3)), axis=3))
case("split_used_in_part", 17, lambda g, x: g.Split(x, g.i(1, 2), axis=1, outputs=2)[1])
case("slice_attributes_op7", 7, lambda g, x: g.Slice(x, axes=[2, 3], starts=[1, -5], ends=[-1, 1000]))
case("slice_attributes_no_axes_op9", 9, lambda g, x: g.Slice(x, starts=[0, 0, 2], ends=[1000, 2, 7]))
case("slice_inputs_op10", 10, lambda g, x: g.Slice(x, g.i(1, 2), g.i(7, LAST), g.i(2, 3)))
case("slice_steps", 17, lambda g, x: g.Slice(x, g.i(0, 1), g.i(LAST, LAST), g.i(-2, -1), g.i(2, 3)))
case("slice_reversed", 17, lambda g, x: g.Slice(x, g.i(-1), g.i(-LAST), g.i(3), g.i(-1)))
case("slice_reversed_step2", 17, lambda g, x: g.Slice(x, g.i(6), g.i(0), g.i(2), g.i(-2)))
case("slice_int32", 17, lambda g, x: g.Slice(x, g.const([1], np.int32), g.const([2**31 - 1], np.int32), g.const([3], np.int32)))
case(
    "slice_focus",
    17,
    lambda g, x: g.Concat(*[g.Slice(x, g.i(a, b), g.i(LAST, 6), g.i(2, 3), g.i(2, 2)) for a in (0, 1) for b in (0, 1)], axis=1),
)
case("gather_scalar", 17, lambda g, x: g.Gather(x, g.const(1, np.int64), axis=2))
case("gather_scalar_negative", 17, lambda g, x: g.Gather(x, g.const(-1, np.int64), axis=-1))
case("gather_list", 17, lambda g, x: g.Gather(x, g.i(2, 0, 0), axis=1))
case("gather_matrix", 17, lambda g, x: g.Gather(x, g.const([[0, 3], [-1, 2]], np.int64), axis=3))
case("gather_op7_int32", 7, lambda g, x: g.Gather(x, g.const([2, 0], np.int32), axis=1))
case(
    "gather_table",
    17,
    lambda g, x: g.Add(
        g.MatMul(x, g.w(7, 8)),
        g.Transpose(g.Gather(g.w(15, 3), g.const(np.arange(8)[:, None] - np.arange(8) + 7, np.int64), axis=0), perm=[2, 0, 1]),
    ),
)
case(
    "gather_elements",
    17,
    lambda g, x: g.GatherElements(x, g.Expand(g.i(3, 0, -1), g.Concat(g.Shape(x, end=1), g.i(3), axis=0)), axis=1),
    ROW,
)
case(
    "gathernd_batch",
    17,
    lambda g, x: g.Transpose(g.GatherND(g.Transpose(x, perm=[1, 0]), g.const([[3], [0], [-1]], np.int64)), perm=[1, 0]),
    ROW,
)
case(
    "scatternd",
    17,
    lambda g, x: g.Transpose(
        g.ScatterND(
            g.Transpose(x, perm=[1, 0]),
            g.const([[3], [0]], np.int64),
            g.Transpose(g.Slice(g.Exp(x), g.i(0), g.i(2), g.i(1)), perm=[1, 0]),
        ),
        perm=[1, 0],
    ),
    ROW,
)
case("pad_op7", 7, lambda g, x: g.Pad(x, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5))
case("pad_reflect_op7", 7, lambda g, x: g.Pad(x, pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"))
case("pad_constant", 17, lambda g, x: g.Pad(x, g.i(0, 0, 1, 2, 0, 0, 0, 1)))
case("pad_constant_value_op11", 11, lambda g, x: g.Pad(x, g.i(0, 1, 1, 2, 0, 0, 0, 1), g.const(-0.7), mode="constant"))
case("pad_reflect", 17, lambda g, x: g.Pad(x, g.i(0, 0, 3, 2, 0, 0, 0, 1), mode="reflect"))
case("pad_edge", 17, lambda g, x: g.Pad(x, g.i(0, 0, 3, 2, 0, 0, 0, 1), mode="edge"))
case("pad_wrap_op19", 19, lambda g, x: g.Pad(x, g.i(0, 0, 3, 2, 0, 0, 0, 1), mode="wrap"))
case("pad_axes_op18", 18, lambda g, x: g.Pad(x, g.i(1, 2, 0, 1), g.const(0.25), g.i(2, -1)))
case("pad_negative", 17, lambda g, x: g.Pad(x, g.i(0, 0, -1, 0, 0, 0, -2, 1)))
case("pad_before_conv", 17, lambda g, x: g.Conv(g.Pad(x, g.i(0, 0, 0, 0, 0, 0, 1, 1)), g.w(4, 3, 3, 3), strides=[2, 2]))
case(
    "pad_before_maxpool",
    17,
    lambda g, x: g.MaxPool(g.Pad(x, g.i(0, 0, 1, 1, 0, 0, 1, 1), g.const(-1e4)), kernel_shape=[3, 3], strides=[2, 2]),
)


# Resizing.
def resize(name, opset=17, scales=(1, 1, 1.5, 2), roi=None, **attributes):
    def build(g, x):
        return g.Resize(x, *([] if opset < 11 else [g.const(roi or []) if roi or opset < 13 else None]), g.const(scales), **attributes)

    case(f"resize_{name}", opset, build)


for mode in ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]:
    resize(f"linear_{mode}", mode="linear", coordinate_transformation_mode=mode)
    resize(f"linear_down_{mode}", scales=(1, 1, 0.5, 0.6), mode="linear", coordinate_transformation_mode=mode)
    resize(f"cubic_{mode}", mode="cubic", coordinate_transformation_mode=mode)
    resize(f"nearest_{mode}", mode="nearest", coordinate_transformation_mode=mode)
for nearest in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]:
    resize(
        f"nearest_asymmetric_{nearest}",
        scales=(1, 1, 2, 1.7),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode=nearest,
    )
    resize(f"nearest_half_pixel_{nearest}", scales=(1, 1, 0.65, 2), mode="nearest", nearest_mode=nearest)
resize("default")
resize("nearest_op10", 10, scales=(1, 1, 2, 2), mode="nearest")
resize("linear_op10", 10, scales=(1, 1, 2, 1.5), mode="linear")
resize("tf_half_pixel_op11", 11, mode="nearest", coordinate_transformation_mode="tf_half_pixel_for_nn")
resize("cubic_coefficient", mode="cubic", cubic_coeff_a=-0.5)
resize("cubic_exclude_outside", mode="cubic", exclude_outside=1)
resize("cubic_down", scales=(1, 1, 0.5, 0.6), mode="cubic")
resize("antialias_linear_op18", 18, scales=(1, 1, 0.5, 0.5), mode="linear", antialias=1)
resize("antialias_cubic_op18", 18, scales=(1, 1, 0.5, 0.5), mode="cubic", antialias=1)
resize("half_pixel_symmetric_op19", 19, scales=(1, 1, 0.6, 0.6), mode="linear", coordinate_transformation_mode="half_pixel_symmetric")
resize(
    "crop",
    mode="linear",
    coordinate_transformation_mode="tf_crop_and_resize",
    roi=[0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9],
    extrapolation_value=0.3,
)
case(
    "resize_sizes_op11",
    11,
    lambda g, x: g.Resize(
        x,
        g.const([]),
        g.const([]),
        g.Concat(g.Slice(g.Shape(x), g.i(0), g.i(2), g.i(0)), g.i(5, 11), axis=0),
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
)
case("resize_sizes_axes_op18", 18, lambda g, x: g.Resize(x, None, None, g.i(5, 11), axes=[2, 3], mode="linear"))
case(
    "resize_not_larger_op18",
    18,
    lambda g, x: g.Resize(x, None, None, g.i(12, 12), axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_larger"),
)
case("upsample_op7", 7, lambda g, x: g.Upsample(x, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"))
case("upsample_op9", 9, lambda g, x: g.Upsample(x, g.const([1, 1, 2, 3]), mode="nearest"))
case("upsample_linear_op9", 9, lambda g, x: g.Upsample(x, g.const([1, 1, 2, 2]), mode="linear"))
case("depthtospace_op7", 7, lambda g, x: g.DepthToSpace(g.Conv(x, g.w(8, 3, 1, 1)), blocksize=2))
case("depthtospace_dcr", 17, lambda g, x: g.DepthToSpace(g.Conv(x, g.w(8, 3, 1, 1)), blocksize=2, mode="DCR"))
case("depthtospace_crd", 17, lambda g, x: g.DepthToSpace(g.Conv(x, g.w(8, 3, 1, 1)), blocksize=2, mode="CRD"))
case("spacetodepth", 17, lambda g, x: g.SpaceToDepth(g.Slice(x, g.i(0), g.i(6), g.i(3)), blocksize=2))
case("tile", 17, lambda g, x: g.Tile(x, g.i(1, 2, 1, 2)))
case("expand", 17, lambda g, x: g.Expand(g.ReduceMean(x, axes=[3]), g.i(1, 1, 1, 4)))
case("expand_more_axes", 17, lambda g, x: g.Reshape(g.Expand(g.Unsqueeze(x, g.i(2)), g.i(1, 1, 2, 1, 1)), g.i(0, 6, 8, 7)))
case("transpose_default", 17, lambda g, x: g.Reshape(g.Transpose(g.Transpose(x)), g.i(-1, 168)))
case("transpose_nhwc", 17, lambda g, x: g.Transpose(x, perm=[0, 2, 3, 1]))
case("reshape_zero_minus_one", 17, lambda g, x: g.Reshape(x, g.i(0, 0, -1)))
case("reshape_minus_one_batch", 17, lambda g, x: g.Reshape(x, g.i(-1, 168)))
case(
    "reshape_by_shape",
    17,
    lambda g, x: g.Reshape(x, g.Concat(g.Unsqueeze(g.Gather(g.Shape(x), g.const(0, np.int64), axis=0), g.i(0)), g.i(-1), axis=0)),
)
case("reshape_allowzero_op14", 14, lambda g, x: g.Reshape(x, g.i(-1, 24, 7), allowzero=1))
case("flatten_axis2", 17, lambda g, x: g.Reshape(g.Flatten(x, axis=2), g.i(-1, 168)))
case("flatten_axis_negative", 13, lambda g, x: g.Flatten(x, axis=-3))
case("flatten_default_op7", 7, lambda g, x: g.Flatten(x))
case("squeeze_attribute_op11", 11, lambda g, x: g.Squeeze(g.GlobalAveragePool(x), axes=[2, 3]))
case("squeeze_input_op13", 13, lambda g, x: g.Squeeze(g.GlobalAveragePool(x), g.i(-1, -2)))
case("unsqueeze_attribute_op7", 7, lambda g, x: g.Add(x, g.Unsqueeze(g.Unsqueeze(g.w(3), axes=[1]), axes=[2])))
case("unsqueeze_input_op13", 13, lambda g, x: g.Unsqueeze(x, g.i(-1, 1)))

# Reductions.
REDUCE = [
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
]
for kind in REDUCE:
    positive = (lambda g, x: g.Add(g.Abs(x), g.const(0.5))) if kind == "ReduceLogSum" else (lambda g, x: x)
    case(f"{kind.lower()}_attribute", 11, lambda g, x, kind=kind, positive=positive: g.op(kind, positive(g, x), axes=[2, 3], keepdims=0))
    case(f"{kind.lower()}_input", 18, lambda g, x, kind=kind, positive=positive: g.op(kind, positive(g, x), g.i(-1)))
case("reducemean_op7", 7, lambda g, x: g.ReduceMean(x, axes=[1], keepdims=1))
case("reducemean_axis_negative_op13", 13, lambda g, x: g.ReduceMean(x, axes=[-2, -1], keepdims=1))
case("reducesum_input_op13", 13, lambda g, x: g.ReduceSum(x, g.i(1, 3), keepdims=0))
case("reducesum_noop_op13", 13, lambda g, x: g.ReduceSum(x, noop_with_empty_axes=1))
case("argmax", 17, lambda g, x: g.Cast(g.ArgMax(x, axis=3, keepdims=0), to=TensorProto.FLOAT))
case("argmin_last", 17, lambda g, x: g.Cast(g.ArgMin(g.Round(x), axis=-1, select_last_index=1), to=TensorProto.FLOAT))
case("topk_values", 17, lambda g, x: g.TopK(x, g.i(3), axis=-1, outputs=2)[0])
case("cumsum", 17, lambda g, x: g.CumSum(x, g.const(2, np.int64)))
case("cumsum_exclusive_reverse", 14, lambda g, x: g.CumSum(x, g.const(-1, np.int64), exclusive=1, reverse=1))

# Several values.
for kind in ["Add", "Sub", "Mul", "Div"]:
    for opset in [7, 14]:
        case(f"{kind.lower()}_op{opset}", opset, lambda g, x, kind=kind: g.op(kind, x, g.w(3, 1, 1, mean=2, std=0.3)))
    case(f"{kind.lower()}_constant_first", 17, lambda g, x, kind=kind: g.op(kind, g.const(1.5), g.Exp(x)))
case("add_column_and_row", 17, lambda g, x: g.Add(g.ReduceMean(x, axes=[2]), g.ReduceMax(x, axes=[3])))
case("sum_three", 8, lambda g, x: g.Sum(x, g.Relu(x), g.w(3, 1, 1)))
case("sum_one", 13, lambda g, x: g.Sum(x))
case("max_three", 8, lambda g, x: g.Max(x, g.Neg(x), g.w(3, 1, 1)))
case("min_two", 13, lambda g, x: g.Min(x, g.w(7)))
case("mean_three", 8, lambda g, x: g.Mean(x, g.Relu(x), g.w(3, 1, 1)))
case("pow_op7", 7, lambda g, x: g.Pow(x, g.const(2.0)))
case("pow_fraction", 17, lambda g, x: g.Pow(g.Add(g.Abs(x), g.const(0.1)), g.const(-0.5)))
case("pow_integer_op12", 12, lambda g, x: g.Pow(x, g.const(3, np.int64)))
case("pow_channels", 17, lambda g, x: g.Pow(g.Abs(x), g.const([[[0.5]], [[1.5]], [[2.0]]])))
case("mod_fmod", 17, lambda g, x: g.Mod(g.Mul(x, g.const(3.0)), g.const(0.75), fmod=1))
for kind, opset in [("Equal", 11), ("Less", 9), ("Greater", 9), ("LessOrEqual", 12), ("GreaterOrEqual", 16)]:
    case(f"{kind.lower()}_where", opset, lambda g, x, kind=kind: g.Where(g.op(kind, g.Floor(x), g.const(0.0)), x, g.const(0.25)))
for kind in ["And", "Or", "Xor"]:
    case(
        f"{kind.lower()}",
        17,
        lambda g, x, kind=kind: g.Cast(g.op(kind, g.Greater(x, g.const(0.3)), g.Less(g.Abs(x), g.const(0.9))), to=TensorProto.FLOAT),
    )
case("not_where", 17, lambda g, x: g.Where(g.Not(g.Less(x, g.const(0.1))), x, g.w(3, 1, 1)))
case(
    "where_mask", 17, lambda g, x: g.Softmax(g.Where(g.const(np.tril(np.ones((8, 8))), np.bool_), g.MatMul(x, g.w(7, 8)), g.const(-1e9)))
)
case("isnan", 17, lambda g, x: g.Where(g.IsNaN(g.Sqrt(x)), g.const(0.0), x))
case("cast_int_and_back", 17, lambda g, x: g.Cast(g.Cast(g.Mul(x, g.const(3.0)), to=TensorProto.INT32), to=TensorProto.FLOAT))
case("cast_half_and_back", 13, lambda g, x: g.Cast(g.Cast(x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT))
case("cast_bool_and_back_op9", 9, lambda g, x: g.Cast(g.Cast(g.Relu(x), to=TensorProto.BOOL), to=TensorProto.FLOAT))
case("cast_double", 17, lambda g, x: g.Cast(g.Mul(g.Cast(x, to=TensorProto.DOUBLE), g.const(1 / 3, np.float64)), to=TensorProto.FLOAT))
case("castlike_op15", 15, lambda g, x: g.CastLike(g.CastLike(g.Mul(x, g.const(3.0)), g.const([0], np.int32)), x))
case(
    "constantofshape",
    17,
    lambda g, x: g.Add(x, g.ConstantOfShape(g.Shape(x), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))),
)
case(
    "range",
    17,
    lambda g, x: g.Mul(
        x,
        g.Cast(
            g.Range(g.const(1, np.int64), g.Gather(g.Shape(g.Concat(x, x, axis=3)), g.const(3, np.int64)), g.const(2, np.int64)),
            to=TensorProto.FLOAT,
        ),
    ),
)
case("range_float", 17, lambda g, x: g.Mul(x, g.Range(g.const(0.0), g.const(7.0), g.const(1.0))))
case("shape_start_end_op15", 15, lambda g, x: g.Reshape(x, g.Concat(g.Shape(x, end=1), g.i(-1), g.Shape(x, start=-1), axis=0)))
case("shape_scale", 11, lambda g, x: g.Div(x, g.Sqrt(g.Cast(g.Gather(g.Shape(x), g.const(3, np.int64), axis=0), to=TensorProto.FLOAT))))
case("size", 17, lambda g, x: g.Mul(x, g.Div(g.Cast(g.Size(g.w(3, 5)), to=TensorProto.FLOAT), g.const(4.0))))
case("trilu_upper", 14, lambda g, x: g.Trilu(x))
case("trilu_lower_k", 17, lambda g, x: g.Trilu(x, g.const(1, np.int64), upper=0))
case("onehot", 17, lambda g, x: g.OneHot(g.ArgMax(x, axis=1, keepdims=0), g.const(5, np.int64), g.const([-1.0, 2.0]), axis=1))
case("dropout_op7", 7, lambda g, x: g.Dropout(x, ratio=0.3))
case("dropout_op13", 13, lambda g, x: g.Dropout(x, g.const(0.3), g.const(False, np.bool_)))
case(
    "constant_floats_op12",
    12,
    lambda g, x: g.Mul(x, g.Reshape(g.Constant(value_floats=[0.5, -1.0, 2.0]), g.Constant(value_ints=[3, 1, 1]))),
)
case(
    "gridsample_op16",
    16,
    lambda g, x: g.GridSample(x, g.Expand(g.w(1, 4, 5, 2, std=0.6), g.Concat(g.Shape(x, end=1), g.i(1, 1, 1), axis=0))),
)


def conditional(g, x):
    branches = []
    for name, value in [("then", 2.0), ("else", -3.0)]:
        body = [
            helper.make_node("Constant", [], [f"{name}_c"], value_float=value),
            helper.make_node("Mul", [x, f"{name}_c"], [f"{name}_y"]),
        ]
        branches.append(helper.make_graph(body, name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)]))
    return g.If(
        g.Equal(g.Gather(g.Shape(x), g.const(1, np.int64)), g.const(3, np.int64)), then_branch=branches[0], else_branch=branches[1]
    )


case("if_on_shape", 17, conditional)


# Quantised operators.
def quantised(g, x, dtype=np.uint8, scale=0.03, zero=None):
    """Returns the quantised values, their scale and their zero point."""
    scale, zero = g.const(scale), g.const(zero if zero is not None else (128 if dtype == np.uint8 else 0), dtype)
    return g.QuantizeLinear(x, scale, zero), scale, zero


def qdq(name, opset, dtype=np.uint8, build=lambda g, x: x, **options):
    case(f"qdq_{name}", opset, lambda g, x: build(g, g.DequantizeLinear(*quantised(g, x, dtype, **options))))


qdq("uint8_op10", 10)
qdq("int8", 17, np.int8)
qdq("int8_op19", 19, np.int8, scale=0.05, zero=3)
qdq("uint8_zero", 13, zero=100)
qdq("uint16_op21", 21, np.uint16, scale=0.0001, zero=32768)
case("qdq_no_zero_point", 13, lambda g, x: (lambda s: g.DequantizeLinear(g.QuantizeLinear(x, s), s))(g.const(0.02)))
case(
    "qdq_per_axis",
    13,
    lambda g, x: (lambda s, z: g.DequantizeLinear(g.QuantizeLinear(x, s, z, axis=1), s, z, axis=1))(
        g.const([0.02, 0.03, 0.05]), g.const([0, 5, -7], np.int8)
    ),
)
case(
    "qdq_conv",
    13,
    lambda g, x: g.Relu(
        g.Conv(
            g.DequantizeLinear(*quantised(g, x, np.int8)),
            g.DequantizeLinear(g.whole(4, 3, 3, 3), g.const([0.01, 0.02, 0.015, 0.008]), g.const([0] * 4, np.int8), axis=0),
            g.DequantizeLinear(g.whole(4, dtype=np.int32), g.const([0.0003] * 4), axis=0),
        )
    ),
)
case(
    "qdq_conv_whole",
    13,
    lambda g, x: g.DequantizeLinear(
        *quantised(
            g,
            g.Relu(
                g.Conv(g.DequantizeLinear(*quantised(g, x)), g.DequantizeLinear(g.whole(4, 3, 3, 3), g.const(0.01), g.const(0, np.int8)))
            ),
            scale=0.02,
            zero=0,
        )
    ),
)
case(
    "qdq_gemm",
    13,
    lambda g, x: g.Gemm(
        g.DequantizeLinear(*quantised(g, x)),
        g.DequantizeLinear(g.whole(5, 16), g.const([0.01] * 5), g.const([0] * 5, np.int8), axis=0),
        g.w(5),
        transB=1,
    ),
    ROW,
)
case(
    "qdq_weights_only",
    13,
    lambda g, x: g.MatMul(x, g.DequantizeLinear(g.whole(16, 5), g.const([0.01, 0.02, 0.03, 0.01, 0.02]), axis=1)),
    ROW,
)
case(
    "dequantize_blocked_op21",
    21,
    lambda g, x: g.MatMul(x, g.DequantizeLinear(g.whole(16, 5), g.w(4, 5, std=0.01, low=0.002), axis=0, block_size=4)),
    ROW,
)
case("dynamicquantize", 11, lambda g, x: (lambda q: g.DequantizeLinear(*q))(g.DynamicQuantizeLinear(x, outputs=3)))
case(
    "qlinearconv",
    17,
    lambda g, x: g.DequantizeLinear(
        *(
            lambda s, z: (
                g.QLinearConv(
                    *quantised(g, x),
                    g.whole(4, 3, 3, 3),
                    g.const(0.01),
                    g.const(0, np.int8),
                    s,
                    z,
                    g.whole(4, dtype=np.int32),
                    pads=[1, 1, 1, 1],
                ),
                s,
                z,
            )
        )(g.const(0.04), g.const(120, np.uint8))
    ),
)
case(
    "qlinearconv_per_channel",
    10,
    lambda g, x: g.DequantizeLinear(
        *(
            lambda s, z: (
                g.QLinearConv(
                    *quantised(g, x),
                    g.whole(4, 3, 3, 3),
                    g.const([0.01, 0.02, 0.015, 0.008]),
                    g.const([0] * 4, np.int8),
                    s,
                    z,
                    strides=[2, 2],
                ),
                s,
                z,
            )
        )(g.const(0.04), g.const(120, np.uint8))
    ),
)
case(
    "qlinearconv_uint8",
    17,
    lambda g, x: g.DequantizeLinear(
        *(
            lambda s, z: (
                g.QLinearConv(*quantised(g, x), g.whole(4, 3, 3, 3, dtype=np.uint8), g.const(0.01), g.const(64, np.uint8), s, z),
                s,
                z,
            )
        )(g.const(0.04), g.const(120, np.uint8))
    ),
)
case(
    "qlinearmatmul",
    17,
    lambda g, x: g.DequantizeLinear(
        *(lambda s, z: (g.QLinearMatMul(*quantised(g, x), g.whole(16, 5), g.const(0.01), g.const(0, np.int8), s, z), s, z))(
            g.const(0.04), g.const(120, np.uint8)
        )
    ),
    ROW,
)
case(
    "convinteger",
    17,
    lambda g, x: g.Mul(
        g.Cast(
            g.ConvInteger(quantised(g, x)[0], g.whole(4, 3, 3, 3, dtype=np.uint8), g.const(128, np.uint8), g.const(64, np.uint8)),
            to=TensorProto.FLOAT,
        ),
        g.const(0.0003),
    ),
)
case(
    "matmulinteger",
    17,
    lambda g, x: g.Mul(
        g.Cast(g.MatMulInteger(quantised(g, x)[0], g.whole(16, 5), g.const(128, np.uint8), g.const(0, np.int8)), to=TensorProto.FLOAT),
        g.const(0.0003),
    ),
    ROW,
)
case(
    "matmulinteger_dynamic",
    17,
    lambda g, x: (lambda q: g.Mul(g.Cast(g.MatMulInteger(q[0], g.whole(16, 5), q[2]), to=TensorProto.FLOAT), g.Mul(q[1], g.const(0.01))))(
        g.DynamicQuantizeLinear(x, outputs=3)
    ),
    ROW,
)

# Blocks of several operators.
case(
    "block_residual",
    17,
    lambda g, x: g.Relu(
        g.Add(g.Conv(g.Relu(g.Conv(x, g.w(4, 3, 3, 3), g.w(4), pads=[1] * 4)), g.w(4, 4, 3, 3), pads=[1] * 4), g.Conv(x, g.w(4, 3, 1, 1)))
    ),
)
case(
    "block_squeeze_excite",
    17,
    lambda g, x: g.Mul(
        x, g.Sigmoid(g.Conv(g.Relu(g.Conv(g.ReduceMean(x, axes=[2, 3]), g.w(4, 3, 1, 1), g.w(4))), g.w(3, 4, 1, 1), g.w(3)))
    ),
)
case(
    "block_squeeze_excite_gemm",
    13,
    lambda g, x: g.Mul(
        x, g.Unsqueeze(g.HardSigmoid(g.Gemm(g.Flatten(g.GlobalAveragePool(x)), g.w(3, 3), transB=1), alpha=1 / 6), g.i(2, 3))
    ),
)
case(
    "block_channel_shuffle",
    17,
    lambda g, x: g.Reshape(
        g.Transpose(g.Reshape(g.Conv(x, g.w(8, 3, 1, 1)), g.i(-1, 2, 4, 8, 7)), perm=[0, 2, 1, 3, 4]), g.i(-1, 8, 8, 7)
    ),
)
case("block_layer_scale", 17, lambda g, x: g.Add(x, g.Mul(g.Conv(x, g.w(3, 3, 1, 1)), g.w(3, 1, 1))))
case(
    "block_window_partition",
    17,
    lambda g, x: g.Reshape(
        g.Transpose(
            g.Reshape(g.Slice(g.Transpose(x, perm=[0, 2, 3, 1]), g.i(0), g.i(6), g.i(2)), g.i(-1, 4, 2, 3, 2, 3)), perm=[0, 1, 3, 2, 4, 5]
        ),
        g.i(-1, 144),
    ),
)
case("block_roll", 17, lambda g, x: g.Concat(g.Slice(x, g.i(3), g.i(LAST), g.i(2)), g.Slice(x, g.i(0), g.i(3), g.i(2)), axis=2))


def class_token(g, x):
    patches = g.Transpose(g.Reshape(g.Conv(x, g.w(8, 3, 2, 2), strides=[2, 2]), g.i(0, 8, -1)), perm=[0, 2, 1])
    size = g.Gather(g.Shape(x), g.const(0, np.int64), axis=0)
    token = g.Expand(g.w(1, 1, 8), g.Concat(g.Unsqueeze(size, g.i(0)), g.i(1, 8), axis=0))
    tokens = g.Add(g.Concat(token, patches, axis=1), g.w(1, 13, 8))
    return attention(g, g.LayerNormalization(tokens, g.w(8, mean=1, std=0.2), g.w(8)))


def attention(g, tokens):
    """Self-attention of 13 tokens of 8 values, with 2 heads; returns the first token."""
    qkv = g.Reshape(g.Add(g.MatMul(tokens, g.w(8, 24, std=0.35)), g.w(24, std=0.1)), g.i(0, 13, 3, 2, 4))
    q, k, v = (g.Gather(g.Transpose(qkv, perm=[2, 0, 3, 1, 4]), g.const(at, np.int64), axis=0) for at in range(3))
    scores = g.Softmax(g.MatMul(g.Mul(q, g.const(0.5)), g.Transpose(k, perm=[0, 1, 3, 2])), axis=-1)
    mixed = g.Reshape(g.Transpose(g.MatMul(scores, v), perm=[0, 2, 1, 3]), g.i(0, 13, 8))
    return g.Gather(mixed, g.const(0, np.int64), axis=1)


case("block_vit", 17, class_token)


# ONNX Runtime's own operators.
def ms(name, build, shape=IMAGE, opset=17):
    case(f"ms_{name}", opset, build, shape)


for activation, params in [
    ("Relu", None),
    ("LeakyRelu", [0.1]),
    ("Sigmoid", None),
    ("Tanh", None),
    ("Clip", [-0.3, 0.5]),
    ("HardSigmoid", [0.2, 0.4]),
]:
    ms(
        f"fusedconv_{activation.lower()}",
        lambda g, x, activation=activation, params=params: g.FusedConv(
            x,
            g.w(4, 3, 3, 3),
            g.w(4),
            pads=[1] * 4,
            activation=activation,
            **({"activation_params": params} if params else {}),
            domain=MS,
        ),
    )
ms("fusedconv_sum", lambda g, x: g.FusedConv(x, g.w(3, 3, 3, 3), g.w(3), x, pads=[1] * 4, activation="Relu", domain=MS))
ms("fusedgemm", lambda g, x: g.FusedGemm(x, g.w(5, 16), g.w(5), transB=1, activation="Relu", domain=MS), ROW)
ms(
    "fusedgemm_leaky",
    lambda g, x: g.FusedGemm(x, g.w(5, 16), g.w(5), transB=1, alpha=0.5, activation="LeakyRelu", activation_alpha=0.2, domain=MS),
    ROW,
)
ms("fusedmatmul", lambda g, x: g.FusedMatMul(x, g.w(5, 16), transB=1, alpha=0.5, domain=MS), ROW)
ms("fusedmatmul_rank4", lambda g, x: g.FusedMatMul(x, x, transA=1, alpha=0.3, domain=MS))
ms("gelu", lambda g, x: g.Gelu(x, domain=MS))
ms("fastgelu", lambda g, x: g.FastGelu(x, domain=MS))
ms("fastgelu_bias", lambda g, x: g.FastGelu(x, g.w(7), domain=MS))
ms("biasgelu", lambda g, x: g.BiasGelu(x, g.w(7), domain=MS))
ms("quickgelu", lambda g, x: g.QuickGelu(x, domain=MS))
ms("quickgelu_silu", lambda g, x: g.QuickGelu(x, alpha=1.0, domain=MS))
ms("layernorm_op11", lambda g, x: g.LayerNormalization(x, g.w(7, mean=1, std=0.2), g.w(7), axis=-1, epsilon=1e-5), opset=11)
ms("simplifiedlayernorm", lambda g, x: g.SimplifiedLayerNormalization(x, g.w(7, mean=1, std=0.2), axis=-1, epsilon=1e-5))
ms(
    "skiplayernorm",
    lambda g, x: (lambda t: g.SkipLayerNormalization(t, g.Relu(t), g.w(7, mean=1, std=0.2), g.w(7), g.w(7), epsilon=1e-5, domain=MS))(
        g.Reshape(x, g.i(0, -1, 7))
    ),
)
ms(
    "skipsimplifiedlayernorm",
    lambda g, x: (lambda t: g.SkipSimplifiedLayerNormalization(t, g.Relu(t), g.w(7, mean=1, std=0.2), epsilon=1e-5, domain=MS))(
        g.Reshape(x, g.i(0, -1, 7))
    ),
)


def tokens(g, x):
    return g.MatMul(g.Reshape(x, g.i(0, 24, 7)), g.w(7, 8))


ms("attention", lambda g, x: g.Attention(tokens(g, x), g.w(8, 24, std=0.35), g.w(24, std=0.1), num_heads=2, domain=MS))
ms(
    "multiheadattention",
    lambda g, x: (lambda t: g.MultiHeadAttention(t, g.MatMul(t, g.w(8, 8)), g.MatMul(t, g.w(8, 8)), num_heads=2, domain=MS))(
        tokens(g, x)
    ),
)
ms(
    "multiheadattention_bias",
    lambda g, x: (lambda t: g.MultiHeadAttention(t, t, t, g.w(24), num_heads=4, scale=0.3, domain=MS))(tokens(g, x)),
)
for kind in ["QLinearAdd", "QLinearMul"]:
    ms(
        kind.lower(),
        lambda g, x, kind=kind: (
            lambda s, z: g.DequantizeLinear(
                g.op(kind, *quantised(g, x), *quantised(g, g.Relu(x), scale=0.015, zero=0), s, z, domain=MS), s, z
            )
        )(g.const(0.05), g.const(90, np.uint8)),
    )
ms(
    "qlinearaveragepool",
    lambda g, x: (
        lambda q, s, z: g.DequantizeLinear(
            g.QLinearAveragePool(*q, s, z, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, domain=MS), s, z
        )
    )(quantised(g, x), g.const(0.02), g.const(120, np.uint8)),
)
ms(
    "qlinearglobalaveragepool",
    lambda g, x: (lambda q, s, z: g.DequantizeLinear(g.QLinearGlobalAveragePool(*q, s, z, domain=MS), s, z))(
        quantised(g, x), g.const(0.005), g.const(120, np.uint8)
    ),
)
ms(
    "qlinearsigmoid",
    lambda g, x: (lambda q, s, z: g.DequantizeLinear(g.QLinearSigmoid(*q, s, z, domain=MS), s, z))(
        quantised(g, x), g.const(1 / 256), g.const(0, np.uint8)
    ),
)
ms(
    "qlinearleakyrelu",
    lambda g, x: (lambda q, s, z: g.DequantizeLinear(g.QLinearLeakyRelu(*q, s, z, alpha=0.1, domain=MS), s, z))(
        quantised(g, x), g.const(0.02), g.const(20, np.uint8)
    ),
)
ms(
    "qlinearsoftmax",
    lambda g, x: (lambda q, s, z: g.DequantizeLinear(g.QLinearSoftmax(*q, s, z, axis=-1, opset=13, domain=MS), s, z))(
        quantised(g, x), g.const(1 / 256), g.const(0, np.uint8)
    ),
)
ms(
    "qlinearconcat",
    lambda g, x: (
        lambda a, b, s, z: g.DequantizeLinear(g.QLinearConcat(s, z, a[0], a[1], a[2], b[0], b[1], b[2], axis=1, domain=MS), s, z)
    )(quantised(g, x), quantised(g, g.Relu(x), scale=0.015, zero=0), g.const(0.04), g.const(110, np.uint8)),
)
ms(
    "dynamicquantizematmul",
    lambda g, x: g.DynamicQuantizeMatMul(x, g.whole(16, 5), g.const(0.01), g.const(0, np.int8), g.w(5), domain=MS),
    ROW,
)
ms(
    "matmulintegertofloat",
    lambda g, x: (lambda q: g.MatMulIntegerToFloat(q[0], g.whole(16, 5), q[1], g.const(0.01), q[2], g.const(0, np.int8), domain=MS))(
        quantised(g, x)
    ),
    ROW,
)
ms(
    "matmulnbits",
    lambda g, x: g.MatMulNBits(
        x,
        g.const(np.arange(5 * 8).reshape(5, 1, 8) * 37 % 256, np.uint8),
        g.const([0.1] * 5),
        K=16,
        N=5,
        bits=4,
        block_size=16,
        domain=MS,
    ),
    ROW,
)
ms(
    "nhwcmaxpool",
    lambda g, x: (
        lambda q: g.DequantizeLinear(
            g.NhwcMaxPool(g.Transpose(q[0], perm=[0, 2, 3, 1]), kernel_shape=[2, 2], strides=[2, 2], domain=MS), q[1], q[2]
        )
    )(quantised(g, x)),
)
ms(
    "quantize_dequantize",
    lambda g, x: (lambda s, z: g.DequantizeLinear(g.QuantizeLinear(x, s, z, domain=MS), s, z, domain=MS))(
        g.const(0.03), g.const(128, np.uint8)
    ),
)
ms("nhwcconv", lambda g, x: g.NhwcConv(g.Transpose(x, perm=[0, 2, 3, 1]), g.w(4, 3, 3, 3), g.w(4), domain=MS))
ms(
    "groupnorm_nhwc",
    lambda g, x: g.GroupNorm(
        g.Transpose(g.Conv(x, g.w(8, 3, 1, 1)), perm=[0, 2, 3, 1]), g.w(8), g.w(8), groups=4, activation=1, domain=MS
    ),
)

# The standard's attention.
case("attention_op23", 23, lambda g, x: g.Attention(x, x, g.Relu(x)))
case("attention_op23_scale_causal", 23, lambda g, x: g.Attention(x, x, g.Relu(x), scale=0.2, is_causal=1))
case("attention_op23_mask", 23, lambda g, x: g.Attention(x, g.Neg(x), g.Relu(x), g.w(8, 8)))
case("attention_op23_rank3", 23, lambda g, x: (lambda t: g.Attention(t, t, g.Relu(t), q_num_heads=2, kv_num_heads=2))(tokens(g, x)))
case(
    "attention_op23_grouped",
    23,
    lambda g, x: (lambda t: g.Attention(t, g.MatMul(t, g.w(8, 4)), g.MatMul(t, g.w(8, 4)), q_num_heads=4, kv_num_heads=2))(tokens(g, x)),
)
case("attention_op23_softcap", 23, lambda g, x: g.Attention(x, x, g.Relu(x), softcap=2.0))


def build(name: str) -> onnx.ModelProto:
    """Builds a case, with the width of its output from a run."""
    opset, make, shape = CASES[name]
    g = Graph(name)
    # Rows and one-dimensional signals come in as images, too: a classifier takes nothing else.
    image = shape if len(shape) == 3 else {16: (1, 4, 4), 60: (3, 4, 5)}[math.prod(shape)]
    last = make(g, "input" if image == shape else g.Reshape("input", g.i(0, *shape)))
    nodes = [*g.nodes, helper.make_node("Flatten", [last], ["logits"], axis=1)]
    domains = {node.domain for node in nodes} - {""}

    def model(width):
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *image])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", width])],
            g.initializers,
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 20 else 8, producer_name="generate.py")

    inputs = np.stack([answers.input_values(1000 + row, math.prod(image), False).reshape(image) for row in range(2)])
    (result,) = answers.session(model("k")).run(None, {"input": inputs})
    if result.shape[0] != 2 or not np.isfinite(result).all():
        raise ValueError(f"the output has shape {result.shape}" if result.shape[0] != 2 else "the output is not finite")
    complete = model(result.shape[1])
    if not name.startswith("ms_") and name not in UNCHECKED:
        onnx.checker.check_model(complete, full_check=True)
    return complete


def main() -> None:
    folder = answers.HERE / "cases" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.onnx"), *(answers.HERE / "answers" / "generated").glob("*.json")]:
        old.unlink()
    written = 0
    for name in CASES:
        try:
            onnx.save(build(name), folder / f"{name}.onnx")
            written += 1
        except Exception as error:
            print(f"REFUSED {name}: {str(error).strip()[:230]}".replace("\n", " "), flush=True)
    print(f"{written} files of {len(CASES)}")


if __name__ == "__main__":
    sys.exit(main())
