//! `kiln import MODEL.onnx`: inspects the file, prompts for missing values, writes the model's folder, and, if there
//! are reference logits, builds the program and checks the model in it.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use model_import::import::{ImportError, InspectedModel, inspect, terminal_text, write};

use super::error_output::print_error;
use super::progress;
use crate::import::{ImportRequest, ModelFolder, NoCheckout, PlanError, Prompt, model_folder, name, plan};

/// Number of lines of a failed build that are shown.
const SHOWN_LINES: usize = 40;

/// The error of `kiln import`.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// An argument is missing or invalid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The target folder is unknown.
    #[error(transparent)]
    NoCheckout(#[from] NoCheckout),
    /// The target folder is in no checkout, so there is nothing to build.
    #[error(
        "--verify builds the program, but --out is not in the model-import/models of a checkout. Omit one of the two flags."
    )]
    NothingToBuild,
    /// The network cannot be imported, or the folder cannot be written.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The current folder does not exist any more.
    #[error("cannot determine the current folder: {0}")]
    NoFolder(#[source] std::io::Error),
    /// Cargo cannot be started.
    #[error("cannot run cargo: {0}. The model's folder is complete; build the program yourself.")]
    NoCargo(#[source] std::io::Error),
    /// The build failed. Its last lines were printed.
    #[error(
        "the program does not build with the model in {folder}. Remove that folder. If the ONNX file is right, 'kiln serve FILE' \
         serves it without a build."
    )]
    Build {
        /// The model's folder.
        folder: String,
    },
    /// The check failed and printed the reason.
    #[error(
        "the model's logits differ from the reference logits, so a server would not start. Correct {folder}/model.toml (mean and std \
         affect the logits), or remove the folder."
    )]
    Check {
        /// The model's folder.
        folder: String,
    },
}

impl ImportFailure {
    /// Returns 2 for a usage error and 1 for any other error.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Plan(_) | Self::NothingToBuild => 2,
            _ => 1,
        }
    }
}

/// Runs the import and prints its findings and the next command.
///
/// # Errors
///
/// See [`ImportFailure`]. An import that fails before the check writes nothing.
pub fn import(request: &ImportRequest) -> Result<(), ImportFailure> {
    let network = without_panic_output(|| inspect(&request.onnx, request.size))?;
    print(&describe(&network));
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stderr());
    let is_terminal = input.is_terminal() && output.is_terminal();
    let mut prompt = if is_terminal { Prompt::terminal(&mut input, &mut output) } else { Prompt::disabled() };
    let name = name(request, &mut prompt)?;
    let here = std::env::current_dir().map_err(ImportFailure::NoFolder)?;
    let ModelFolder { folder, checkout } = model_folder(&here, &name, request.out.as_deref())?;
    if request.verify == Some(true) && checkout.is_none() {
        return Err(ImportFailure::NothingToBuild);
    }
    if folder.exists() && !request.replace {
        // This error comes before the prompts.
        return Err(ImportError::Exists(folder).into());
    }
    let draft = plan(request, &network, &name, imagenet_names(), &mut prompt)?;
    without_panic_output(|| write(&network, &draft, &folder, request.replace))?;
    let shown = folder.strip_prefix(&here).unwrap_or(&folder).display().to_string();
    print(&format!(
        "wrote {shown}: model.toml, the network, labels.txt{}\n",
        if request.logits.is_some() { ", reference_logits.txt" } else { "" }
    ));
    let Some(checkout) = checkout else {
        print("Move the folder into model-import/models of a checkout of Kiln; the next build includes it.\n");
        return Ok(());
    };
    if request.verify.unwrap_or(request.logits.is_some()) {
        verify(&checkout, &name, &shown)?;
    }
    print(&format!("\nNext:\n\n    cargo run --release -- predict --model {name} photo.jpg\n"));
    Ok(())
}

/// Builds the program with the model, and runs `kiln check` in the new program.
fn verify(checkout: &Path, name: &str, folder: &str) -> Result<(), ImportFailure> {
    print(
        "building the program with the model, to check its logits; the first build of a checkout takes about 15 minutes\n",
    );
    let (is_built, last_lines) = build(checkout).map_err(ImportFailure::NoCargo)?;
    if !is_built {
        print_error(last_lines.trim_end());
        return Err(ImportFailure::Build { folder: folder.to_string() });
    }
    // Run by cargo, which knows the path of the program.
    let check = ["run", "--release", "--quiet", "--", "check", "--model", name, "--device", "cpu"];
    let status = cargo(checkout).args(check).status().map_err(ImportFailure::NoCargo)?;
    if status.success() { Ok(()) } else { Err(ImportFailure::Check { folder: folder.to_string() }) }
}

fn cargo(checkout: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout).stdin(Stdio::null());
    cargo
}

/// Builds the program. Returns whether that succeeded, and the last lines of the output.
fn build(checkout: &Path) -> std::io::Result<(bool, String)> {
    let mut child = cargo(checkout).args(["build", "--release"]).stderr(Stdio::piped()).spawn()?;
    let spinner = progress::spinner("{spinner} {elapsed} {wide_msg}");
    let mut last = Vec::new();
    // The output is read to its end, because cargo stops if the pipe is full or closed.
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        spinner.set_message(line.trim().to_string());
        if last.len() == SHOWN_LINES {
            last.remove(0);
        }
        last.push(line + "\n");
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    Ok((status.success(), last.concat()))
}

/// Describes the network for the operator.
fn describe(network: &InspectedModel) -> String {
    let InspectedModel { input, width, height, classes, .. } = network;
    let opset = network.opset.map_or("no operator set".to_string(), |opset| format!("operator set {opset}"));
    let producer = if network.producer.is_empty() { String::new() } else { format!(", by {}", network.producer) };
    let kinds: Vec<String> = network.operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let kernels = match &network.unfused {
        None => "Kiln's fused kernels".to_string(),
        Some(obstacle) => format!(
            "Burn's operations, unfused and slower: there is no fused kernel for {obstacle}. 'kiln inspect FILE' shows whether \
             'kiln serve FILE' reads the file at start, without a build and with kernels of its own"
        ),
    };
    let doubt = network.doubt.as_ref().map_or(String::new(), |doubt| {
        format!("warning: the build may fail, or give other logits than the file: {doubt}\n")
    });
    format!(
        "{}: input '{input}' {width}x{height}, {classes} classes, {opset}{producer}\n\
         operators: {}; all of them can be imported\n\
         runs on {kernels}\n\
         {doubt}",
        network.path.display(),
        kinds.join(", "),
    )
}

/// Returns the names of the 1000 ImageNet classes if the built-in model that has them is present.
fn imagenet_names() -> &'static [&'static str] {
    let built_in = model_import::MODELS.iter().find(|built_in| built_in.spec.name == "efficientnet-lite0");
    built_in.map_or(&[], |built_in| built_in.spec.labels)
}

/// Runs `work` without the panic hook, which would print the panics of the ONNX parser. The parser's caller turns them
/// into errors.
fn without_panic_output<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = work();
    std::panic::set_hook(hook);
    outcome
}

/// Prints a text. A closed pipe causes no panic, as it does with `print!`, and control characters from the file do not
/// reach the terminal.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(terminal_text(text).as_bytes());
}
