//! Every classifier of the zoo gives the logits of ONNX Runtime. `KILN_ZOO=NAME` runs those whose names contain NAME.
#![forbid(unsafe_code)]

use burn::tensor::{Device, Tensor, TensorData};
use kiln_executor::{OnnxModel, ReadOptions};
use kiln_zoo::{Answer, Output};

/// Cases whose operators or attributes Kiln does not support: no classifier that we have seen has them. Each must be an error that
/// says so.
const UNSUPPORTED: [&str; 30] = [
    "argmax",
    "argmin_last",
    "conv_3d",
    "dequantize_blocked_op21",
    "einsum_three",
    "gather_elements",
    "gathernd_batch",
    "gridsample_op16",
    "hardmax_op11_axis2",
    "hardmax_op11_axism1",
    "hardmax_op11_default",
    "hardmax_op13_axis1",
    "hardmax_op13_axis2",
    "hardmax_op13_axism1",
    "hardmax_op13_default",
    "hardmax_op7_axis1",
    "hardmax_op7_axis3",
    "hardmax_rows",
    "lppool_ceil_op18",
    "ms_dynamicquantizematmul",
    "ms_matmulintegertofloat",
    "ms_matmulnbits",
    "ms_nhwcmaxpool",
    "onehot",
    "resize_antialias_cubic_op18",
    "resize_antialias_linear_op18",
    "resize_crop",
    "resize_not_larger_op18",
    "scatternd",
    "topk_values",
];

/// Rows of an answer that are run as one batch.
const BATCH: usize = 3;

/// Also compares the table of `docs/zoo.md` with the networks; `KILN_WRITE_DOCUMENTS=1` writes it instead.
#[test]
fn logits_of_the_zoo_are_those_of_onnx_runtime() {
    let mut table = "| network | operator set | input | output | batch |\n|---|---|---|---|---|\n".to_string();
    run(kiln_zoo::answers(), BATCH, |answer, model| {
        if answer.path.to_string_lossy().contains("skeletons") {
            table += &row(answer, model);
        }
    });
    if std::env::var_os("KILN_ZOO").is_none() {
        check_document(&table);
    }
}

fn check_document(table: &str) {
    let path = std::path::Path::new("../../docs/zoo.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, _) = page.split_once("| network |").expect("the page has a table");
    let expected = format!("{head}{table}");
    if std::env::var_os("KILN_WRITE_DOCUMENTS").is_some() {
        std::fs::write(path, &expected).unwrap();
        return;
    }
    assert_eq!(page, expected, "write it with KILN_WRITE_DOCUMENTS=1 cargo test --release --test zoo");
}

/// The row of a network in the table.
fn row(answer: &Answer, model: &OnnxModel) -> String {
    let (input, output) = (model.input(), model.output());
    let layout = if input.channels_last { ", channels last" } else { "" };
    let removed = output.removed.map_or(String::new(), |name| format!(", {name} taken off"));
    let is_single = model.notes().iter().any(|note| note.contains("one image at a time"));
    format!(
        "| {} | {} | {}x{}x{} {}{layout} | {} {:?}{removed} | {} |\n",
        answer.name,
        answer.opset,
        input.height,
        input.width,
        input.channels,
        input.element,
        output.width,
        output.kind,
        if is_single { "one image at a time" } else { "dynamic" },
    )
}

#[test]
fn single_operators_give_the_results_of_onnx_runtime() {
    run(kiln_zoo::generated_answers(), 2, |_, _| ());
}

/// Checks each model, and passes those that are opened to `opened`.
fn run(answers: Vec<Answer>, batch: usize, mut opened: impl FnMut(&Answer, &OnnxModel)) {
    let filter = std::env::var("KILN_ZOO").unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let answers: Vec<Answer> = answers.into_iter().filter(|answer| answer.name.contains(&filter)).collect();
    let mut failed = Vec::new();
    for answer in &answers {
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, answer.model()).unwrap();
        let started = std::time::Instant::now();
        let result = match check(answer, &path, batch, &mut opened) {
            Err(reason) if UNSUPPORTED.contains(&answer.name.as_str()) => {
                let says_so =
                    ["does not know the operator", "Kiln cannot run"].iter().any(|part| reason.contains(part));
                if says_so { Ok("refused".to_string()) } else { Err(reason) }
            }
            Ok(_) if UNSUPPORTED.contains(&answer.name.as_str()) => {
                Err("it runs now; take it off the list".to_string())
            }
            other => other,
        };
        println!(
            "{:<32} {:>6} ms  {}",
            answer.name,
            started.elapsed().as_millis(),
            result.as_ref().map_or_else(Clone::clone, Clone::clone)
        );
        if let Err(reason) = result {
            failed.push(format!("{}: {reason}", answer.name));
        }
    }
    println!("{} of {}", answers.len() - failed.len(), answers.len());
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), answers.len(), failed.join("\n"));
}

/// Runs a model, and returns the largest difference as text.
fn check(
    answer: &Answer,
    path: &std::path::Path,
    batch: usize,
    opened: &mut impl FnMut(&Answer, &OnnxModel),
) -> Result<String, String> {
    let model = OnnxModel::open(path, &ReadOptions::default()).map_err(|error| error.to_string())?;
    opened(answer, &model);
    let device = Device::flex();
    let network = model.load(&device).map_err(|error| error.to_string())?;
    let output = answer.outputs.iter().find(|output| output.name == model.output().name);
    let output = output.ok_or("the output is not that of the answer")?;
    let mut worst: f32 = 0.0;
    for rows in [&(0..1).collect::<Vec<_>>(), &(0..batch).collect::<Vec<_>>()] {
        let input = model.input();
        let [height, width, channels] = [input.height, input.width, input.channels];
        let values: Vec<f32> = rows.iter().flat_map(|row| answer.input_row(*row)).collect();
        let images = match input.channels_last {
            true => Tensor::<4>::from_data(TensorData::new(values, [rows.len(), height, width, channels]), &device),
            false => Tensor::<4>::from_data(TensorData::new(values, [rows.len(), channels, height, width]), &device)
                .permute([0, 2, 3, 1]),
        };
        let logits = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| network.forward(images).into_data()));
        let logits = logits.map_err(|_| "it panics".to_string())?.try_into_vec::<f32>().unwrap();
        for (row, found) in rows.iter().zip(logits.chunks_exact(model.output().width)) {
            let found = finish(found, model.output().removed);
            worst = worst.max(difference(output, *row, &found)?);
        }
    }
    // A quantised value on the edge between two integers may become either: small cases allow that one step.
    let limit = match is_reduced_precision(answer) {
        true if answer.path.to_string_lossy().contains("generated") => 3e-2_f32,
        true => 2e-2,
        false => 1e-3,
    };
    let limit = limit.max(3.0 * output.spread);
    let text = format!("{worst:.1e} of {limit:.1e}");
    if worst <= limit { Ok(text) } else { Err(format!("it differs by {text}")) }
}

/// Applies the operator that was taken off.
fn finish(logits: &[f32], removed: Option<&str>) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let one = |logit: &f32| match removed {
        Some("Softmax") => (logit - largest).exp() / sum,
        Some("LogSoftmax") => logit - largest - sum.ln(),
        Some(_) => 1.0 / (1.0 + (-logit).exp()),
        None => *logit,
    };
    logits.iter().map(one).collect()
}

fn difference(output: &Output, row: usize, found: &[f32]) -> Result<f32, String> {
    let expected = output.unoptimised.as_ref().unwrap_or(&output.rows).get(row).ok_or("the answer lacks a row")?;
    if expected.len() > found.len() {
        return Err(format!("it gives {} numbers, not {}", found.len(), expected.len()));
    }
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let worst = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs()).fold(0.0, nan_max);
    Ok(worst / largest.max(1e-6))
}

/// The larger number; NaN wins.
fn nan_max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

fn is_reduced_precision(answer: &Answer) -> bool {
    let is_generated = answer.path.to_string_lossy().contains("generated");
    // The names of single quantised operators all have a q, as in QLinearConv, or say that they compute with integers.
    let parts: &[&str] = if is_generated { &["q", "integer", "half", "cast"] } else { &["fp16", "int8"] };
    parts.iter().any(|part| answer.name.contains(part)) || answer.input.dtype == "float16"
}
