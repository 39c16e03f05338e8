//! Malformed ONNX files: each is refused with a reason, in little time and memory, and without a panic.
#![forbid(unsafe_code)]

mod hostile_files_writer;

use std::path::Path;
use std::time::{Duration, Instant};

use hostile_files_writer::{
    branch, external, float, floats, graph, int, int64s, ints, message, model, node, number, repeat_field, text, typed,
};
use kiln_graph::{Classifier, LayerKind, ReadOptions, TensorOp};

/// Longer than any file here takes in a debug build on a busy machine, shorter than any quadratic pass.
const TIME_LIMIT: Duration = Duration::from_secs(20);

fn open(path: &Path) -> Result<Classifier, String> {
    let start = Instant::now();
    let result = Classifier::open(path, &ReadOptions::default()).map_err(|error| error.to_string());
    assert!(start.elapsed() < TIME_LIMIT, "{:?}", start.elapsed());
    if let Err(text) = &result {
        assert!(text.len() < 6000, "{}", text.len());
    }
    result
}

fn read(file: &[u8]) -> Result<Classifier, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).unwrap();
    open(&path)
}

/// Checks that a file with these nodes and tensors is refused for this reason. The input is `x` of `[N, 3, 8, 8]`.
#[track_caller]
fn refused(nodes: &[Vec<u8>], tensors: &[Vec<u8>], reason: &str) {
    let error = read(&model(&["N", "3", "8", "8"], nodes, tensors)).expect_err(reason);
    assert!(error.contains(reason), "{error}");
}

#[test]
fn arithmetic_of_known_integers_does_not_overflow() {
    let scalars = |values: &[(&str, i64)]| -> Vec<Vec<u8>> {
        values.iter().map(|(name, value)| int64s(name, &[], &[*value])).collect()
    };
    let range = node("Range", &["start", "limit", "step"], &["y"], &[]);
    refused(&[range], &scalars(&[("start", 0), ("limit", i64::MIN), ("step", -1)]), "integers");
    let neg = node("Neg", &["smallest"], &["y"], &[]);
    refused(&[neg], &scalars(&[("smallest", i64::MIN)]), "overflows");
    // N + the smallest integer, divided by -1.
    let nodes = [
        node("Shape", &["x"], &["shape"], &[int("end", 1)]),
        node("Add", &["shape", "smallest"], &["sum"], &[]),
        node("Div", &["sum", "divisor"], &["y"], &[]),
    ];
    refused(&nodes, &scalars(&[("smallest", i64::MIN), ("divisor", -1)]), "have no result");
}

#[test]
fn conditions_and_signs_that_depend_on_the_batch_size_are_refused() {
    // The batch size without 1, which is 0 for one image.
    let rest = [
        node("Shape", &["x"], &["batch"], &[int("end", 1)]),
        node("Sub", &["batch", "one"], &["rest"], &[]),
        node("Sub", &["rest", "one"], &["less"], &[]),
        node("Expand", &["x", "v"], &["y"], &[]),
    ];
    let cast = |to: i64| node("Cast", &["rest"], &["v"], &[int("to", to)]);
    let inner = graph(&[node("Identity", &["one"], &["z"], &[])], &[], &message(12, &message(1, b"z")));
    let branches = [branch("then_branch", &inner), branch("else_branch", &inner)];
    for (node, reason) in [
        (node("Abs", &["less"], &["v"], &[]), "its sign depends on the batch size"),
        (node("Not", &["rest"], &["v"], &[]), "its condition depends on the batch size"),
        (cast(9), "its condition depends on the batch size"),
        (node("Where", &["rest", "one", "one"], &["v"], &[]), "its condition depends on the batch size"),
        (node("If", &["rest"], &["v"], &branches), "its condition depends on the batch size"),
    ] {
        let nodes = [&rest[..], &[node]].concat();
        let error = read(&model(&["2", "3", "8", "8"], &nodes, &[int64s("one", &[1], &[1])])).expect_err(reason);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn operands_with_too_few_axes_are_refused() {
    let vector = floats("v", &[4], &[1.0; 4]);
    let matrix = floats("m", &[4, 6], &[1.0; 24]);
    let image = floats("image", &[1, 3, 8, 8], &[1.0; 192]);
    let scale = floats("s", &[], &[1.0]);
    let flat = node("Flatten", &["x"], &["flat"], &[]);
    let joined = node("Concat", &["image", "flat"], &["y"], &[int("axis", 3)]);
    refused(&[flat.clone(), joined], &[image], "differ in their number of axes");
    let wide = floats("wide", &[192, 6], &[1.0; 192 * 6]);
    let attention = node("com.microsoft::Attention", &["flat", "wide"], &["y"], &[int("num_heads", 2)]);
    refused(&[flat.clone(), attention], &[wide], "no axis 2");
    let attention = node("com.microsoft::MultiHeadAttention", &["flat"; 3], &["y"], &[int("num_heads", 2)]);
    refused(&[flat, attention], &[], "must have three axes");
    let gemm = node("com.microsoft::QGemm", &["v", "s", "", "m", "s", ""], &["y"], &[int("transA", 1)]);
    refused(&[gemm], &[vector.clone(), matrix, scale.clone()], "must have 2 axes");
    let attributes = [int("channels_last", 1), ints("kernel_shape", &[1, 1])];
    let pool = node("com.microsoft::QLinearAveragePool", &["s", "s", "", "s", ""], &["y"], &attributes);
    refused(&[pool], &[scale], "no image");
}

#[test]
fn empty_tensors_are_refused() {
    let empty = floats("empty", &[0, 4], &[]);
    let pads = int64s("pads", &[4], &[1, 0, 1, 0]);
    let pad = node("Pad", &["empty", "pads"], &["y"], &[text("mode", "edge")]);
    refused(&[pad], &[empty.clone(), pads], "is empty");
    let scales = floats("scales", &[2], &[2.0, 2.0]);
    let sizes = int64s("sizes", &[2], &[2, 4]);
    let resize = node("Resize", &["empty", "", "", "sizes"], &["y"], &[text("mode", "linear")]);
    refused(&[resize], &[empty.clone(), sizes, scales], "not those of an image");
    let sum = node("ReduceSum", &["empty"], &["sum"], &[]);
    let add = node("Add", &["x", "empty"], &["y"], &[]);
    refused(&[sum, add], &[empty], "do not fit");
    // The product of two of the axes overflows.
    let vast = floats("vast", &[0, 1 << 40, 1 << 40], &[]);
    let turned = node("Transpose", &["vast"], &["y"], &[ints("perm", &[1, 2, 0])]);
    refused(&[turned], &[vast], "impossible shape");
}

#[test]
fn large_constants_are_refused_before_they_are_created() {
    let target = |sizes: &[i64]| int64s("target", &[sizes.len() as i64], sizes);
    let fill = node("ConstantOfShape", &["target"], &["y"], &[]);
    refused(std::slice::from_ref(&fill), &[target(&[1 << 40])], "too large");
    refused(&[fill], &[target(&[1 << 14, 1 << 13])], "too large");
    let one = int64s("one", &[1], &[1]);
    let expand = node("Expand", &["one", "target"], &["y"], &[]);
    refused(&[expand], &[one, target(&[1 << 25])], "integers");
    let repeats = int64s("repeats", &[1], &[1 << 26]);
    let tile = node("Tile", &["two", "repeats"], &["y"], &[]);
    refused(&[tile], &[floats("two", &[2], &[1.0; 2]), repeats], "too large");
    // Each of them is small.
    let mut nodes = Vec::new();
    for index in 0..100 {
        nodes.push(node("ConstantOfShape", &["target"], &[&format!("c{index}")], &[]));
    }
    refused(&nodes_to_output(nodes), &[target(&[1 << 20])], "too large");
}

/// Adds a node that reads all results, so that the nodes are needed.
fn nodes_to_output(mut nodes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let names: Vec<String> = (0..nodes.len()).map(|index| format!("c{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    nodes.push(node("Concat", &names, &["y"], &[int("axis", 0)]));
    nodes
}

#[test]
fn layers_with_large_parameters_are_refused() {
    let pool = |attributes: &[Vec<u8>]| node("AveragePool", &["x"], &["y"], attributes);
    let attributes = [
        ints("kernel_shape", &[65536, 65536]),
        ints("pads", &[40000, 40000, 40000, 40000]),
        ints("dilations", &[1, 1]),
        int("ceil_mode", 1),
        int("count_include_pad", 1),
        ints("strides", &[5000, 5000]),
    ];
    refused(&[pool(&attributes)], &[], "too large");
    // A scalar becomes a factor for each element of the last axis; a value of 8192 by 8192 pixels is flattened.
    let nodes = |operator: &str, attributes: &[Vec<u8>]| {
        [node("Flatten", &["x"], &["flat"], &[]), node(operator, &["flat", "s", "s"], &["y"], attributes)]
    };
    for (operator, attributes) in
        [("Mul", vec![]), ("LayerNormalization", vec![]), ("GroupNormalization", vec![int("num_groups", 1)])]
    {
        let file = model(&["2", "3", "8192", "8192"], &nodes(operator, &attributes), &[floats("s", &[1], &[2.0])]);
        let error = read(&file).expect_err(operator);
        assert!(error.contains("too large"), "{error}");
    }
    let nodes = [
        node("Flatten", &["x"], &["flat"], &[]),
        node("Unsqueeze", &["flat"], &["image"], &[ints("axes", &[2, 3])]),
        node("LRN", &["image"], &["y"], &[int("size", 5)]),
    ];
    let error = read(&model(&["N", "3", "128", "128"], &nodes, &[])).expect_err("LRN");
    assert!(error.contains("too large"), "{error}");
}

#[test]
fn layers_that_share_a_tensor_of_the_file_do_not_multiply_it() {
    let weight = floats("w", &[512, 512, 3, 3], &vec![0.5; 512 * 512 * 9]);
    let first = floats("first", &[512, 3, 1, 1], &[0.5; 512 * 3]);
    let mut nodes = vec![node("Conv", &["x", "first"], &["v0"], &[])];
    for index in 0..100 {
        let (from, to) = (format!("v{index}"), format!("v{}", index + 1));
        nodes.push(node("Conv", &[&from, "w"], &[&to], &[ints("pads", &[1, 1, 1, 1])]));
    }
    nodes.push(node("GlobalAveragePool", &["v100"], &["y"], &[]));
    refused(&nodes, &[weight, first], "too large");
}

#[test]
fn tensors_of_integers_are_not_read_at_each_of_a_million_uses() {
    // Each use opens the file again.
    let reads = vec!["i"; 4096];
    let nodes = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|index| node("Sum", &reads, &[&format!("c{index}")], &[])).collect()
    };
    refused(&nodes_to_output(nodes(150)), &[int64s("i", &[1], &[1])], "too long to compute");
    refused(&nodes_to_output(nodes(2)), &[int64s("i", &[1], &[1])], "does not depend on the image");
}

#[test]
fn long_lists_in_parameters_take_linear_time() {
    let long = vec![1; 1_000_000];
    let target = int64s("target", &[1_000_000], &long);
    refused(&[node("Reshape", &["x", "target"], &["y"], &[])], std::slice::from_ref(&target), "too many axes");
    refused(&[node("ConstantOfShape", &["target"], &["y"], &[])], std::slice::from_ref(&target), "too many axes");
    let bounds = ["x", "target", "target", "target"];
    refused(&[node("Slice", &bounds, &["y"], &[])], &[target], "an axis twice");
    let perm = ints("perm", &vec![0; 1_000_000]);
    refused(&[node("Transpose", &["x"], &["y"], &[perm])], &[], "its 'perm'");
    let equation = format!("{}->nc", "a".repeat(1_000_000));
    refused(&[node("Einsum", &["x"], &["y"], &[text("equation", &equation)])], &[], "too long");
    refused(&[node("Einsum", &["x"], &["y"], &[text("equation", "nchw->nn")])], &[], "repeats an axis");
    let outputs: Vec<String> = (0..100_000).map(|index| format!("c{index}")).collect();
    let outputs: Vec<&str> = ["y"].into_iter().chain(outputs.iter().map(String::as_str)).collect();
    refused(&[node("Split", &["x"], &outputs, &[int("axis", 1)])], &[], "inputs or outputs");
    // Long names and unknown operators do not make long messages.
    refused(&[node(&"Unknown".repeat(10_000), &["x"], &["y"], &[])], &[], "does not know");
    let name = "z".repeat(100_000);
    refused(&[node("Relu", &[&name], &["y"], &[])], &[], "not computed before it");
}

#[test]
fn long_chains_take_linear_time() {
    let chain = |operator: &str, count: usize, inputs: &[&str], attributes: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let mut nodes = Vec::new();
        for index in 0..count {
            let (from, to) = (format!("v{index}"), format!("v{}", index + 1));
            let from = if index == 0 { "x" } else { &from };
            let inputs: Vec<&str> = [from].into_iter().chain(inputs.iter().copied()).collect();
            nodes.push(node(operator, &inputs, &[&to], attributes));
        }
        nodes
    };
    // Padding moves into the convolution at the end.
    let count = 40_000;
    let mut nodes = chain("Pad", count, &[], &[ints("pads", &[0, 0, 0, 0, 0, 0, 1, 0])]);
    nodes.push(node("Conv", &[&format!("v{count}"), "w"], &["map"], &[]));
    nodes.push(node("GlobalAveragePool", &["map"], &["y"], &[]));
    let weight = floats("w", &[5, 1, 1, 1], &[1.0; 5]);
    let network = read(&model(&["N", "1", "1", "1"], &nodes, &[weight])).unwrap().network;
    let pads = network.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Pad(_))).count();
    assert_eq!(pads, 0);
    for (operator, inputs) in [("Relu", &[][..]), ("Mul", &["s"]), ("Transpose", &[])] {
        let attributes = [ints("perm", &[0, 2, 3, 1])];
        let attributes = if operator == "Transpose" { &attributes[..] } else { &[] };
        let mut nodes = chain(operator, count, inputs, attributes);
        nodes.push(node("GlobalAveragePool", &[&format!("v{count}")], &["y"], &[]));
        read(&model(&["N", "3", "8", "8"], &nodes, &[floats("s", &[], &[1.5])])).unwrap();
    }
    // Many layers that nothing needs read one value.
    let mut nodes = vec![node("Relu", &["x"], &["v"], &[])];
    for index in 0..count {
        nodes.push(node("Mul", &["v", "v"], &[&format!("dead{index}"), "y"][..1], &[]));
    }
    nodes.push(node("GlobalAveragePool", &["v"], &["y"], &[]));
    read(&model(&["N", "3", "8", "8"], &nodes, &[])).unwrap();
    let values = vec![1.0; 1 << 20];
    let sum = node("CumSum", &["values", "axis"], &["y"], &[]);
    refused(
        &[sum],
        &[floats("values", &[1 << 20], &values), int64s("axis", &[], &[0])],
        "does not depend on the image",
    );
}

#[test]
fn weights_in_typed_fields_are_refused_with_the_way_to_save_them() {
    // Field 4 is float_data.
    let values = message(4, &vec![0; 50 << 20]);
    let tensor = [number(1, (50 << 20) / 4), number(2, 1), message(8, b"w"), values].concat();
    let file = model(&["N", "3", "8", "8"], &[node("Relu", &["x"], &["y"], &[])], &[tensor]);
    let error = read(&file).unwrap_err();
    assert!(error.contains("in fields such as float_data") && error.contains("Save them as raw_data"), "{error}");
    assert!(!error.contains("not an ONNX model") && !error.contains("cut off"), "{error}");
}

#[test]
fn messages_with_millions_of_empty_messages_take_little_memory() {
    let attributes = repeat_field(5, &[], 5_000_000);
    let inner = message(1, &attributes);
    let hidden = branch("then_branch", &graph(&[], &[], &inner));
    refused(&[node("If", &["x"], &["y"], &[hidden])], &[], "more nodes or tensors");
    let texts = [message(1, b"activations"), repeat_field(9, &[], 5_000_000)].concat();
    refused(&[node("Relu", &["x"], &["y"], &[texts])], &[], "memory");
    let inputs = repeat_field(11, &[], 8_000_000);
    let file = message(7, &graph(&[node("Relu", &["x"], &["y"], &[])], &[], &inputs));
    assert!(read(&file).unwrap_err().contains("memory"));
    // Branches inside branches.
    let mut nested = node("Relu", &["x"], &["y"], &[]);
    for _ in 0..40 {
        nested = node("If", &["x"], &["y"], &[branch("then_branch", &graph(&[nested], &[], &[]))]);
    }
    refused(&[nested], &[], "nested too deeply");
}

#[test]
fn branches_hold_no_more_operators_than_files() {
    let inner: Vec<Vec<u8>> = (0..60_000).map(|_| node("Identity", &["x"], &["z"], &[])).collect();
    let inner = graph(&inner, &[], &message(12, &message(1, b"z")));
    let condition = int64s("condition", &[], &[1]);
    let mut nodes = vec![node("If", &["condition"], &["c0"], &[branch("then_branch", &inner)])];
    nodes.extend((1..20).map(|index| node("Relu", &["x"], &[&format!("c{index}")], &[])));
    let error = read(&model(&["N", "3", "8", "8"], &nodes_to_output(nodes), &[condition])).unwrap_err();
    assert_eq!(error.matches("more than 50000").count(), 1, "{error}");
}

#[test]
fn an_output_that_does_not_have_a_row_for_each_image_is_refused() {
    let nodes = [node("Softmax", &["c"], &["y"], &[])];
    refused(&nodes, &[floats("c", &[1, 5], &[1.0; 5])], "No output");
    let patches = ints("shape", &[-1, 4]);
    refused(&[node("Reshape", &["x"], &["y"], &[patches])], &[], "No output");
}

#[test]
fn operators_are_sorted_and_cycles_and_duplicates_are_refused() {
    let relu = node("Relu", &["x"], &["bent"], &[]);
    let pool = |from: &str| node("GlobalAveragePool", &[from], &["y"], &[]);
    read(&model(&["N", "3", "8", "8"], &[pool("bent"), relu], &[])).unwrap();
    let cycle = [node("Add", &["x", "b"], &["a"], &[]), node("Relu", &["a"], &["b"], &[]), pool("a")];
    refused(&cycle, &[], "'b' is not computed before it");
    refused(&[node("Relu", &["x"], &["y"], &[]), pool("x")], &[], "'y' is defined twice");
    refused(&[node("Relu", &["x"], &["x"], &[]), pool("x")], &[], "'x' is defined twice");
    // What reads the tensor would move behind the node.
    let nodes = [node("Add", &["x", "s"], &["sum"], &[]), node("Relu", &["x"], &["s"], &[]), pool("sum")];
    refused(&nodes, &[floats("s", &[], &[1.0])], "'s' is defined twice");
}

#[test]
fn all_operators_that_cannot_run_are_named_once() {
    let nodes = [
        node("Conv", &["x", "first"], &["a"], &[]),
        node("Conv", &["x", "second"], &["b"], &[]),
        // It depends on the others, so it is no obstacle of its own.
        node("Add", &["a", "b"], &["sum"], &[]),
        node("GlobalAveragePool", &["sum"], &["y"], &[]),
    ];
    let error = read(&model(&["N", "3", "8", "8"], &nodes, &[])).unwrap_err();
    for part in
        ["Conv that computes 'a': its input 'first' is not", "Conv that computes 'b': its input 'second' is not"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("Add") && error.matches("onnx.checker").count() == 1, "{error}");
}

#[test]
fn attributes_of_a_wrong_type_are_refused() {
    let pool = |strides: &[u8]| {
        let attributes = [ints("kernel_shape", &[2, 2]), strides.to_vec()];
        [node("MaxPool", &["x"], &["map"], &attributes), node("GlobalAveragePool", &["map"], &["y"], &[])]
    };
    refused(&pool(&typed(&text("strides", "two"), 3)), &[], "'strides' is not a list of integers");
    read(&model(&["N", "3", "8", "8"], &pool(&typed(&ints("strides", &[2, 2]), 7)), &[])).unwrap();
    for (operator, attribute, kind) in [
        ("Clip", int("max", 6), "a float"),
        ("Selu", int("gamma", 1), "a float"),
        ("Shrink", int("lambd", 1), "a float"),
        ("LRN", float("size", 5.0), "an integer"),
        ("Trilu", float("upper", 1.0), "an integer"),
        ("Split", int("split", 1), "a list of integers"),
        ("ConvTranspose", int("output_shape", 8), "a list of integers"),
    ] {
        let number = if kind == "a float" { 2 } else { 1 };
        let nodes = [node(operator, &["x"], &["y"], &[typed(&attribute, number)])];
        refused(&nodes, &[], &format!("is not {kind}"));
    }
}

#[test]
fn exponents_of_norms_are_integers_or_floats_but_not_0() {
    // LpPool of operator set 1 has a float.
    for p in [int("p", 2), float("p", 2.0), float("p", 0.5)] {
        read(&model(&["N", "3", "8", "8"], &[node("GlobalLpPool", &["x"], &["y"], &[p])], &[])).unwrap();
    }
    for p in [int("p", 0), text("p", "two"), float("p", -1.0), float("p", f32::NAN)] {
        refused(&[node("GlobalLpPool", &["x"], &["y"], &[p])], &[], "its 'p' is");
    }
    let nodes =
        [node("Flatten", &["x"], &["flat"], &[]), node("LpNormalization", &["flat"], &["y"], &[float("p", 1.0)])];
    refused(&nodes, &[], "its 'p' is 0");
}

#[test]
fn names_are_shown_on_one_line() {
    let pool = |operator: &str| [node(operator, &["x"], &["evil\u{1b}[2J\nkiln: ready"], &[])];
    for operator in ["AveragePool", "Foo"] {
        let output = node("Relu", &["evil\u{1b}[2J\nkiln: ready"], &["y"], &[]);
        let error = read(&model(&["N", "3", "8", "8"], &[&pool(operator)[..], &[output]].concat(), &[])).unwrap_err();
        assert!(error.contains("'evil\u{fffd}[2J\u{fffd}kiln: ready'") && !error.contains('\n'), "{error}");
    }
    // Texts of attributes, names of tensors and places of their values.
    let evil = "evil\u{1b}[2J\nkiln: ready";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let conv = |weight: &str, attributes: &[Vec<u8>]| {
        let nodes =
            [node("Conv", &["x", weight], &["map"], attributes), node("GlobalAveragePool", &["map"], &["y"], &[])];
        let tensors = [floats("w", &[4, 3, 1, 1], &[0.0; 12]), external(evil, &[4, 3, 1, 1], evil)];
        std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &tensors)).unwrap();
        open(&path).unwrap_err()
    };
    for error in [conv("w", &[text("auto_pad", evil)]), conv(evil, &[])] {
        assert!(error.contains("evil\u{fffd}[2J\u{fffd}kiln: ready") && !error.contains('\n'), "{error}");
    }
    let digest = kiln_graph::OnnxSource::open(&path).unwrap().sha256().unwrap_err();
    let error = kiln_graph::ClassifierError::from(digest).to_string();
    assert!(error.contains("kiln: ready") && !error.contains('\n'), "{error}");
}

#[test]
fn next_step_for_values_in_another_file_fits_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let nodes = [node("Conv", &["x", "w"], &["map"], &[]), node("GlobalAveragePool", &["map"], &["y"], &[])];
    for (location, next_step) in
        [("missing", "Put that file beside the .onnx file."), ("folder", "Check that it is a regular file, and that")]
    {
        std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &[external("w", &[4, 3, 1, 1], location)])).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.contains(next_step) && error.matches("Put that").count() < 2, "{error}");
    }
}

#[test]
fn element_types_are_named() {
    let float8 = [message(1, b"value"), message(5, &[number(2, 17), message(8, b"t")].concat())].concat();
    refused(
        &[node("Constant", &[], &["y"], &[float8])],
        &[],
        "'t' has the element type float8e4m3fn, which Kiln does not",
    );
}

#[test]
fn output_without_a_batch_is_that_of_a_single_image() {
    let nodes = [
        node("GlobalAveragePool", &["x"], &["pooled"], &[]),
        node("Squeeze", &["pooled"], &["y"], &[ints("axes", &[0, 2, 3])]),
    ];
    let classifier = read(&model(&["1", "3", "8", "8"], &nodes, &[])).unwrap();
    assert_eq!((classifier.is_single, classifier.output.width), (true, 3));
}

#[test]
fn files_of_other_formats_are_named() {
    assert!(read(b"PK\x03\x04\x14\0archive/data.pkl").unwrap_err().contains("torch.onnx.export"));
    assert!(read(b"no model at all").unwrap_err().contains("not an ONNX model"));
    let empty = read(&message(7, &graph(&[], &[], &message(12, &message(1, b"y"))))).unwrap_err();
    assert!(empty.contains("its graph has no operators"), "{empty}");
}

#[test]
fn an_axis_that_is_named_twice_is_reduced_once() {
    let nodes = [
        node("MeanVarianceNormalization", &["x"], &["v"], &[ints("axes", &[1, -3])]),
        node("ReduceMean", &["v"], &["y"], &[ints("axes", &[2, 3, -1]), int("keepdims", 0)]),
    ];
    let network = read(&model(&["N", "3", "8", "8"], &nodes, &[])).unwrap().network;
    for layer in &network.layers {
        if let LayerKind::Tensor(TensorOp::Reduce { axes, .. }) = &layer.kind {
            assert!(axes.is_sorted_by(|a, b| a < b), "{axes:?}");
        }
    }
}

#[test]
fn bounds_of_windows_and_scales_are_checked() {
    for attributes in [
        vec![ints("kernel_shape", &[0, 1])],
        vec![ints("kernel_shape", &[i64::MAX, 1])],
        vec![ints("kernel_shape", &[1, 1]), ints("strides", &[0, 1])],
        vec![ints("kernel_shape", &[1, 1]), ints("pads", &[i64::MAX, 0, 0, 0])],
        vec![ints("kernel_shape", &[2, 2]), ints("dilations", &[65536, -1])],
    ] {
        refused(&[node("MaxPool", &["x"], &["y"], &attributes)], &[], "Kiln cannot run MaxPool");
    }
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e30] {
        let scales = floats("scales", &[4], &[1.0, 1.0, scale, 1.0]);
        let resize =
            node("Resize", &["x", "", "scales"], &["y"], &[float("cubic_coeff_a", 0.0), text("mode", "cubic")]);
        refused(&[resize], &[scales], "is not possible");
    }
}

#[cfg(unix)]
#[test]
fn values_are_read_from_regular_files_below_the_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), [0; 64]).unwrap();
    let make_pipe = |name: &str| {
        let path = folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    };
    let pipe = make_pipe("pipe");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("short"), [0; 8]).unwrap();
    let absolute = outside.path().to_str().unwrap();
    let nodes = [node("Conv", &["x", "w"], &["map"], &[]), node("GlobalAveragePool", &["map"], &["y"], &[])];
    let path = folder.path().join("model.onnx");
    for (location, reason) in [
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("link", "not a file below"),
        ("zero", "not a file below"),
        ("/dev/zero", "not a file below"),
        ("../model.onnx", "not a file below"),
        ("folder/../../secret", "not a file below"),
        (absolute, "not a file below"),
        ("", "not a file below"),
        ("short", "has 8 bytes"),
        ("missing", "No such file"),
    ] {
        std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &[external("w", &[4, 3, 1, 1], location)])).unwrap();
        let error = open(&path).expect_err(location);
        assert!(error.contains(reason), "{location}: {error}");
    }
    assert!(open(&pipe).unwrap_err().contains("not a regular file"));
    assert!(open(Path::new("/dev/zero")).unwrap_err().contains("not a regular file"));
    // A tensor of 2^61 bytes in a small file.
    let vast = external("w", &[1 << 40, 1 << 19, 1, 1], "short");
    std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &[vast])).unwrap();
    assert!(open(&path).is_err());
}

#[test]
fn digest_covers_values_in_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let nodes = [node("Conv", &["x", "w"], &["map"], &[]), node("GlobalAveragePool", &["map"], &["y"], &[])];
    let weights = external("w", &[4, 3, 1, 1], "weights");
    std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &[weights])).unwrap();
    let digest = |values: [u8; 48]| {
        std::fs::write(folder.path().join("weights"), values).unwrap();
        kiln_graph::OnnxSource::open(&path).unwrap().sha256().unwrap()
    };
    assert_eq!(digest([0; 48]), digest([0; 48]));
    assert_ne!(digest([0; 48]), digest([1; 48]), "other weights are another model");
}

#[test]
fn digest_covers_values_in_other_files_of_branches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let value = [message(1, b"value"), message(5, &external("", &[4], "constant"))].concat();
    let constant = node("Constant", &[], &["c"], &[value]);
    let inner = graph(&[constant], &[external("w", &[4], "weights")], &message(12, &message(1, b"c")));
    let nodes = [node("If", &["condition"], &["y"], &[branch("then_branch", &inner)])];
    let condition = int64s("condition", &[], &[1]);
    std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &[condition])).unwrap();
    let digest = |constant: [u8; 16], weights: [u8; 16]| {
        std::fs::write(folder.path().join("constant"), constant).unwrap();
        std::fs::write(folder.path().join("weights"), weights).unwrap();
        kiln_graph::OnnxSource::open(&path).unwrap().sha256().unwrap()
    };
    let first = digest([0; 16], [0; 16]);
    assert_ne!(first, digest([1; 16], [0; 16]));
    assert_ne!(first, digest([0; 16], [1; 16]));
}

#[test]
fn digest_reads_each_file_once_and_counts_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let digest = |locations: &[String]| {
        let tensors: Vec<Vec<u8>> = locations.iter().map(|location| external("w", &[4], location)).collect();
        let nodes = [node("GlobalAveragePool", &["x"], &["y"], &[])];
        std::fs::write(&path, model(&["N", "3", "8", "8"], &nodes, &tensors)).unwrap();
        kiln_graph::OnnxSource::open(&path).unwrap().sha256().map_err(|error| error.to_string())
    };
    // 8192 spellings of one path. To hash the file as often takes minutes.
    std::fs::File::create(folder.path().join("weights")).unwrap().set_len(16 << 20).unwrap();
    let spelling = |index: usize| -> String {
        let parts = (0..13).map(|bit| if index >> bit & 1 == 0 { "./" } else { ".//" });
        parts.chain(["weights"]).collect()
    };
    let start = Instant::now();
    digest(&(0..8192).map(spelling).collect::<Vec<_>>()).unwrap();
    assert!(start.elapsed() < TIME_LIMIT, "{:?}", start.elapsed());
    let many: Vec<String> = (0..10_001).map(|index| format!("weights{index}")).collect();
    let error = digest(&many).unwrap_err();
    assert!(error.contains("more than 10000 files"), "{error}");
}

#[test]
fn a_file_may_end_anywhere() {
    let nodes = [
        node("Conv", &["x", "w"], &["map"], &[]),
        node("GlobalAveragePool", &["map"], &["pooled"], &[]),
        node("Flatten", &["pooled"], &["y"], &[]),
    ];
    let file = model(&["N", "3", "8", "8"], &nodes, &[floats("w", &[400, 3, 1, 1], &[0.5; 1200])]);
    assert!(read(&file).is_ok());
    for end in (0..file.len()).filter(|end| *end < 300 || *end > file.len() - 300 || end % 97 == 0) {
        // The last fields may be missing: they are not necessary.
        let _ = read(&file[..end]);
    }
}
