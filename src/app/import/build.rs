//! The program built anew with the model, which then checks its own answer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::progress;
use super::{ImportFailure, tell};

/// Lines of a failed build that are shown.
const LAST_LINES: usize = 40;

/// Builds the program with the model, and has the fresh one check it.
pub(super) fn verify(checkout: &Path, name: &str, folder: &str) -> Result<(), ImportFailure> {
    tell(
        "building the program with it, to check its answer; the first build of a checkout takes a quarter of an hour\n",
    );
    let (built, words) = build(checkout).map_err(ImportFailure::NoCargo)?;
    if !built {
        eprint!("{words}");
        return Err(ImportFailure::Build { folder: folder.to_string() });
    }
    // Through cargo, which knows where it has put the program.
    let check = ["run", "--release", "--quiet", "--", "check", "--model", name, "--device", "cpu"];
    let status = cargo(checkout).args(check).status().map_err(ImportFailure::NoCargo)?;
    if status.success() { Ok(()) } else { Err(ImportFailure::Check { folder: folder.to_string() }) }
}

fn cargo(checkout: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout).stdin(Stdio::null());
    cargo
}

/// Whether it builds, and its last words.
fn build(checkout: &Path) -> std::io::Result<(bool, String)> {
    let mut child = cargo(checkout).args(["build", "--release"]).stderr(Stdio::piped()).spawn()?;
    let spinner = progress::spinner("{spinner} {elapsed} {wide_msg}");
    let mut last = Vec::new();
    // To its end, whatever is in it: cargo stops where nobody listens.
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        spinner.set_message(line.trim().to_string());
        if last.len() == LAST_LINES {
            last.remove(0);
        }
        last.push(line + "\n");
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    Ok((status.success(), last.concat()))
}
