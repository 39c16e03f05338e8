//! Validates every WGSL program, so that a broken one stops the build with its file and line.

#[path = "src/gpu/source.rs"]
mod source;

use std::process::ExitCode;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use source::{Operation, Program};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/gpu/source.rs");
    let mut is_valid = true;
    for operation in Operation::all() {
        for half in [false, true] {
            let program = Program { operation, half };
            if let Err(reason) = validate(program) {
                println!("cargo::error={program:?}: {reason}");
                is_valid = false;
            }
        }
    }
    if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The reason is one line, with the place in the file that a person would open.
fn validate(program: Program) -> Result<(), String> {
    let text = program.text();
    let module = naga::front::wgsl::parse_str(&text).map_err(|error| {
        let line = error.location(&text).map(|location| location.line_number);
        format!("{}: {}", place(program, line), error.message())
    })?;
    let capabilities = if program.half { Capabilities::SHADER_FLOAT16 } else { Capabilities::empty() };
    Validator::new(ValidationFlags::all(), capabilities).validate(&module).map(drop).map_err(|error| {
        let line = error.location(&text).map(|location| location.line_number);
        format!("{}: {}", place(program, line), error.emit_to_string("").replace('\n', " "))
    })
}

/// The file, and the line in it, of a line of the whole text.
fn place(program: Program, line: Option<u32>) -> String {
    let mut left = line.unwrap_or(1) as usize;
    for (name, text) in program.parts() {
        let lines = text.lines().count();
        if left <= lines {
            return format!("{name}:{left}");
        }
        left -= lines;
    }
    "the end".to_string()
}
