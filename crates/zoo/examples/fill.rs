//! Writes an ONNX file of the zoo with all its weights, for a program that reads files: `fill resnet50 resnet50.onnx`.
//!
//! The weights are seeded random numbers, so the file has the speed and the size of the network, but not its accuracy.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, path] = arguments.as_slice() else {
        eprintln!("usage: fill NAME FILE");
        return ExitCode::from(2);
    };
    let Some(answer) = kiln_zoo::answers().into_iter().find(|answer| answer.name == *name) else {
        eprintln!("the zoo has no '{name}'; its files are in crates/zoo/skeletons");
        return ExitCode::FAILURE;
    };
    match std::fs::write(path, answer.model()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}
