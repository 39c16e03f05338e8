"""Compares two networks: operations, edges, weights and logits.

Names of nodes and values are ignored, because each exporter chooses its own.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

import images

# Relative to the largest magnitude in the tensor. Folding a batch norm takes a few roundings of at most 2^-23 each, so two
# float32 implementations may differ by this much.
WEIGHT_TOLERANCE = 5e-7
# Relative to the largest magnitude in the row of logits.
LOGITS_TOLERANCE = 1e-5

TYPES = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}


def structure(graph: onnx.GraphProto) -> list[str]:
    """The graph as lines of text: each node with its operation, attributes and inputs. Values have numbers instead of names."""
    number = {value.name: f"%{i}" for i, value in enumerate(graph.input)}
    lines = [f"input {shape(value)}" for value in graph.input]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        inputs = []
        for name in node.input:
            if name in weights:
                tensor = weights[name]
                inputs.append(f"{TYPES[tensor.data_type]}{list(tensor.dims)}")
            else:
                inputs.append(number[name])
        for name in node.output:
            number[name] = f"%{len(number)}"
        attributes = [f"{a.name}={attribute(a)}" for a in sorted(node.attribute, key=lambda a: a.name)]
        outputs = " ".join(number[name] for name in node.output)
        lines.append(f"{outputs} = {node.op_type}({', '.join(inputs)}) {' '.join(attributes)}".rstrip())
    lines += [f"output {number[value.name]} {shape(value)}" for value in graph.output]
    return lines


def attribute(a: onnx.AttributeProto) -> object:
    value = helper.get_attribute_value(a)
    return numpy_helper.to_array(value).tolist() if isinstance(value, onnx.TensorProto) else value


def shape(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    return f"{value.name}: {TYPES[tensor.elem_type]}{[d.dim_param or d.dim_value for d in tensor.shape.dim]}"


def weights_in_order(graph: onnx.GraphProto) -> list[np.ndarray]:
    """The weights in the order in which the nodes use them."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return [tensors[name] for node in graph.node for name in node.input if name in tensors]


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The largest |a - b|, and the same relative to the largest |b|. NaN if an element is NaN."""
    largest = float(np.abs(a - b).max())
    return largest, largest / float(np.abs(b).max())


def report(made: onnx.ModelProto, committed: onnx.ModelProto) -> int:
    """Prints the differences. Returns 0 if all are within the tolerances, else 1."""
    opsets = [{entry.domain: entry.version for entry in model.opset_import} for model in (made, committed)]
    ours, theirs = structure(made.graph), structure(committed.graph)
    same = opsets[0] == opsets[1] and ours == theirs
    print(f"structure  {len(made.graph.node)} nodes made, {len(committed.graph.node)} committed: {'equal' if same else 'DIFFERENT'}")
    if not same:
        print(f"  opsets {opsets[0]} and {opsets[1]}")
        for a, b in zip(ours, theirs):
            if a != b:
                print(f"  first difference:\n    made      {a}\n    committed {b}")
                break
        return 1
    agreed = [weights_agree(made, committed), logits_agree(made, committed)]
    print("within the tolerances" if all(agreed) else "NOT within the tolerances")
    return 0 if all(agreed) else 1


def weights_agree(made: onnx.ModelProto, committed: onnx.ModelProto) -> bool:
    pairs = list(zip(weights_in_order(made.graph), weights_in_order(committed.graph), strict=True))
    total = sum(a.size for a, _ in pairs)
    equal = sum(int((a.view(np.uint32) == b.view(np.uint32)).sum()) for a, b in pairs)
    # numpy's max, unlike Python's, returns NaN if there is one, and the comparison below then fails.
    absolute, relative = np.max([difference(a, b) for a, b in pairs], axis=0)
    print(f"weights    {equal} of {total} equal bit for bit; the largest difference is {absolute:.2g}, or {relative:.2g}")
    print(f"           of its tensor's largest (tolerance {WEIGHT_TOLERANCE:.0e})")
    return bool(relative <= WEIGHT_TOLERANCE)


def logits_agree(made: onnx.ModelProto, committed: onnx.ModelProto) -> bool:
    rows = [pixels for _, pixels in images.all_rows()]
    ours, theirs = images.session(made.SerializeToString()), images.session(committed.SerializeToString())
    differences = [difference(images.logits(ours, pixels), images.logits(theirs, pixels)) for pixels in rows]
    absolute, relative = np.max(differences, axis=0)
    print(f"logits     on {len(rows)} images the largest difference is {absolute:.2g}, or {relative:.2g} of its row's")
    print(f"           largest (tolerance {LOGITS_TOLERANCE:.0e})")
    return bool(relative <= LOGITS_TOLERANCE)
