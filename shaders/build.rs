//! Validates every WGSL program, so that an invalid one stops the build with its file and line.

#[path = "src/wgsl.rs"]
mod wgsl;

use std::process::ExitCode;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgsl::{Operation, Program};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/wgsl.rs");
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

/// Validates a program. The error is a single line that begins with the file and the line in it.
fn validate(program: Program) -> Result<(), String> {
    let text = program.text();
    let module = naga::front::wgsl::parse_str(&text).map_err(|error| {
        let line = error.location(&text).map(|location| location.line_number);
        format!("{}: {}", source_location(program, line), error.message())
    })?;
    let capabilities = if program.half { Capabilities::SHADER_FLOAT16 } else { Capabilities::empty() };
    Validator::new(ValidationFlags::all(), capabilities).validate(&module).map(drop).map_err(|error| {
        let line = error.location(&text).map(|location| location.line_number);
        format!("{}: {}", source_location(program, line), error.emit_to_string("").replace('\n', " "))
    })
}

/// Returns the file and the line in it for a line of the whole program.
fn source_location(program: Program, line: Option<u32>) -> String {
    let mut remaining = line.unwrap_or(1) as usize;
    for (name, text) in program.sections() {
        let lines = text.lines().count();
        if remaining <= lines {
            return format!("{name}:{remaining}");
        }
        remaining -= lines;
    }
    "the end of the program".to_string()
}
