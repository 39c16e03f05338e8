"""answers.py [--only WORD] [--kind skeletons|cases|generated]: runs ONNX Runtime on the models of this crate and stores its answers.

Each model of skeletons/, cases/ and cases/generated/ is filled by `fill_model`, run on a few inputs of `input_values`, and its
outputs are written to answers/NAME.json (answers/generated/NAME.json for the generated ones). src/lib.rs explains the fill, the inputs
and the files. The two sides, this file and src/lib.rs, agree bit for bit.

To run it:

    python3 -m venv /work/zoo-venv
    /work/zoo-venv/bin/pip install onnx numpy onnxruntime==1.32
    /work/zoo-venv/bin/python crates/zoo/answers.py

It prints a line for each model, and lines that start with ODD for what a reader should know: answers that are not finite, rows that
are equal, a batch that disagrees with its rows, and quantised models whose answer depends on the kernels of the processor."""

import argparse
import json
import math
import pathlib
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
LIKE = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.DOUBLE: np.float64}
# Makes the deviation of the sum of four uniform 16-bit integers 1: the square root of 3 / (2^32 - 1).
SCALE = 2.6428997921303018e-05
# The side of an image where the file leaves it open.
SIDE = 224
# Output values stored of a row.
STORED = 2000
# How far inputs are moved to see how far outputs move.
NUDGE = np.float32(1e-6)


def mix(z):
    """The finaliser of splitmix64, for scalars or arrays of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashes(seed: int, start: int, stop: int):
    """The hashes of the indices from start up to stop."""
    with np.errstate(over="ignore"):
        counter = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return mix(mix(np.array([seed], dtype=np.uint64)) + counter)


def normals(seed: int, start: int, stop: int):
    """Values of mean 0 and deviation 1, in float64: four 16-bit fields of each hash, summed and scaled."""
    z = hashes(seed, start, stop)
    field = np.uint64(0xFFFF)
    total = (z & field) + (z >> np.uint64(16) & field) + (z >> np.uint64(32) & field) + (z >> np.uint64(48))
    return (total.astype(np.int64) - 2 * 65535).astype(np.float64) * SCALE


def rounded(values, dtype):
    """Rounds float64 values to dtype; to float16 by way of float32, as the Rust side does."""
    if dtype == np.float16:
        values = values.astype(np.float32)
    return values.astype(dtype)


def fill_values(mean: float, std: float, low: float, seed: int, count: int, dtype):
    """The values of a hollow tensor."""
    out = np.empty(count, dtype=dtype)
    chunk = 1 << 20
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        values = mean + std * normals(seed, start, stop)
        if low >= 0:  # variances and the like
            values = np.maximum(np.abs(values), max(low, 1e-3))
        out[start:stop] = rounded(values, dtype)
    return out


def refill(tensor: onnx.TensorProto) -> None:
    if not tensor.doc_string.startswith("fill "):
        return
    mean, std, low, seed = tensor.doc_string.split()[1:]
    values = fill_values(float(mean), float(std), float(low), int(seed), math.prod(tensor.dims), LIKE[tensor.data_type])
    tensor.CopyFrom(numpy_helper.from_array(values.reshape(list(tensor.dims)), tensor.name))


def fill_nodes(nodes) -> None:
    for node in nodes:
        for attribute in node.attribute:
            for tensor in [attribute.t, *attribute.tensors]:
                refill(tensor)
            for graph in [attribute.g, *attribute.graphs]:
                fill_graph(graph)


def fill_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        refill(tensor)
    fill_nodes(graph.node)


def fill_model(model: onnx.ModelProto) -> None:
    """Fills every hollow tensor of a model, in place."""
    fill_graph(model.graph)
    for function in model.functions:
        fill_nodes(function.node)


def input_values(seed: int, count: int, uint8: bool):
    """The values of one input row: float32 of mean 0 and deviation 1, or integers of 0 to 255."""
    if uint8:
        return (hashes(seed, 0, count) >> np.uint64(56)).astype(np.float32)
    return normals(seed, 0, count).astype(np.float32)


def declared(value) -> list:
    """The shape that a file writes down; None where an axis is open (a name, -1, 0 or nothing)."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0 else None for dim in dims]


def dtype_name(value) -> str:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name


def session(model: onnx.ModelProto, optimised: bool = True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def texts(row) -> list:
    """The values of a row as JSON: each as short as reads back the same, without a trailing .0."""
    row = np.asarray(row).ravel()[:STORED]
    row = row.astype({"bool": np.uint8, "float16": np.float32}.get(row.dtype.name, row.dtype))
    return [str(value).removesuffix(".0") for value in row]


def answer(path: pathlib.Path, rows: int, odd: list) -> dict:
    """Runs one model. Returns its answer file's content; appends to odd what a reader should know."""
    model = onnx.load(path)
    fill_model(model)
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    assert len(inputs) == 1, f"{len(inputs)} inputs"
    shape, dtype = declared(inputs[0]), dtype_name(inputs[0])
    layout = "none"
    if len(shape) == 4:
        layout = "nhwc" if shape[3] in (1, 3) and shape[1] not in (1, 3) else "nchw"
    row_shape = [SIDE if size is None else size for size in shape[1:]]
    batch = shape[0]
    if batch not in (None, 1):
        odd.append(f"the batch is fixed at {batch}")
    uint8 = dtype == "uint8"
    images = [input_values(1000 + r, math.prod(row_shape), uint8).astype(dtype).reshape(row_shape) for r in range(rows)]
    run = session(model)
    feed = lambda run, images: run.run(None, {inputs[0].name: np.stack(images)})
    copies = batch or 1
    singles = [feed(run, [image] * copies) for image in images]
    outputs = []
    for at, value in enumerate(model.graph.output):
        results = [single[at] for single in singles]
        assert all(result.ndim and result.shape[0] == copies for result in results), f"{value.name}: no batch axis"
        outputs.append([result[0] for result in results])
    if batch is None:
        for at, value in enumerate(feed(run, images)):
            difference = deviation(np.stack(outputs[at]), value)
            if difference > (2e-2 if "float16" in (dtype, value.dtype.name) else 1e-3):
                odd.append(f"{model.graph.output[at].name}: a batch of {rows} deviates from single rows by {difference:.2g}")
    integer = any(
        "quantize" in node.op_type.lower() or "Integer" in node.op_type or "QLinear" in node.op_type for node in model.graph.node
    )
    unoptimised_run = session(model, optimised=False)
    plain = [feed(unoptimised_run, [image] * copies) for image in images]
    # Inputs moved by 1e-6, which is about what another order of sums does to a layer.
    moved = [
        image if uint8 else (image + NUDGE * input_values(2000 + r, image.size, False).reshape(row_shape)).astype(dtype)
        for r, image in enumerate(images)
    ]
    moved = [(feed(run, [image] * copies), feed(unoptimised_run, [image] * copies)) for image in moved]
    stored = []
    for at, (value, values) in enumerate(zip(model.graph.output, outputs)):
        rows64 = [np.asarray(row, dtype=np.float64).ravel() for row in values]
        if not all(np.isfinite(row).all() for row in rows64):
            raise ValueError(f"{value.name}: values that are not finite")
        scale = max(np.abs(row).max() for row in rows64) + 1e-30
        nearest = min(np.abs(a - b).max() for i, a in enumerate(rows64) for b in rows64[:i]) if rows > 1 else 1
        if nearest / scale < 1e-3:
            odd.append(f"{value.name}: the nearest two rows differ by {nearest / scale:.2g} of the largest value ({scale:.3g})")
        stored.append(
            {
                "name": value.name,
                "dtype": np.asarray(values[0]).dtype.name,
                "declared": declared(value),
                "shape": list(np.asarray(values[0]).shape),
                "rows": [texts(row) for row in values],
            }
        )
        unoptimised = [results[at][0] for results in plain]
        difference = max(deviation(a, b) for a, b in zip(values, unoptimised))
        if integer and difference > 1e-3:
            odd.append(f"{value.name}: without optimisations it deviates by {difference:.2g}")
            stored[-1]["unoptimised"] = [texts(row) for row in unoptimised]
            spread = max(deviation(a, b[1][at][0]) for a, b in zip(unoptimised, moved))
        else:
            spread = max(difference, *(deviation(a, b[0][at][0]) for a, b in zip(values, moved)))
        stored[-1]["spread"] = float(f"{spread:.2g}")
        if spread > 1e-4:
            odd.append(f"{value.name}: spread {spread:.2g}")
    return {
        "name": path.stem,
        "file": str(path.relative_to(HERE)),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "opset": next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")),
        "input": {"name": inputs[0].name, "dtype": dtype, "layout": layout, "declared": shape, "shape": row_shape},
        "outputs": stored,
    }


def deviation(a, b) -> float:
    """The largest difference, as a part of the largest value."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max() / (np.abs(a).max() + 1e-30)) if a.size else 0.0


def write(answer: dict, path: pathlib.Path) -> None:
    """Writes an answer as JSON, a row on a line."""
    outputs = []
    for output in answer["outputs"]:
        text = json.dumps({key: value for key, value in output.items() if key not in ("rows", "unoptimised")})[:-1]
        for key in ("rows", "unoptimised"):
            if key in output:
                rows = ",\n".join("[" + ",".join(row) + "]" for row in output[key])
                text += f', "{key}": [\n{rows}]'
        outputs.append(text + "}")
    head = json.dumps({key: value for key, value in answer.items() if key != "outputs"})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head[:-1]}, "outputs": [{", ".join(outputs)}]}}\n')


KINDS = {
    "skeletons": ("skeletons", "answers", 3),
    "cases": ("cases", "answers", 3),
    "generated": ("cases/generated", "answers/generated", 2),
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--kind", choices=KINDS, help="one folder alone")
    arguments = parser.parse_args()
    failed = 0
    for kind, (folder, target, rows) in KINDS.items():
        if arguments.kind not in (None, kind):
            continue
        for path in sorted((HERE / folder).glob("*.onnx")):
            if arguments.only not in path.stem:
                continue
            odd, start = [], time.monotonic()
            try:
                write(answer(path, rows, odd), HERE / target / f"{path.stem}.json")
                print(f"{kind}/{path.stem}: {time.monotonic() - start:.1f} s", flush=True)
            except Exception as error:  # the next model may still run
                failed += 1
                odd.append(f"failed: {type(error).__name__}: {error}")
            for line in odd:
                print(f"ODD {kind}/{path.stem}: {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
