//! `kiln import MODEL.onnx`: looks at the file, asks what it does not tell, writes the model's folder, and where there are
//! logits builds the program and checks the model in it (`build.rs`).

mod build;

use std::io::{IsTerminal, Write};

use model_import::import::{ImportError, InspectedModel, inspect, terminal_text, write};

use crate::import::{Asker, NoCheckout, Order, Place, PlanError, name, place, plan};
use kiln_inference::model::Model;

/// Why `kiln import` ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// Something is missing on the command line, or wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Where the folder is to go.
    #[error(transparent)]
    NoCheckout(#[from] NoCheckout),
    /// There is no checkout to build.
    #[error(
        "--verify builds the program, but --out is not in the model-import/models of a checkout. Leave one of them out."
    )]
    NothingToBuild,
    /// The network, or the folder.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The folder that this process is in is gone.
    #[error("cannot tell which folder this is: {0}")]
    NoFolder(#[source] std::io::Error),
    /// Cargo does not run.
    #[error("cannot run cargo: {0}. The model's folder is complete; build the program by hand.")]
    NoCargo(#[source] std::io::Error),
    /// The build failed; its last words were shown.
    #[error("the program does not build with the model in {folder}. Take it out of there, or correct it.")]
    Build {
        /// The model's folder.
        folder: String,
    },
    /// The check failed, and said why.
    #[error(
        "the model answers otherwise than the logits say, so a server would not start. Correct {folder}/model.toml (mean and std \
         are part of the answer), or take the folder out."
    )]
    Check {
        /// The model's folder.
        folder: String,
    },
}

impl ImportFailure {
    /// 2 for what was typed, 1 for the rest.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Plan(_) | Self::NothingToBuild => 2,
            _ => 1,
        }
    }
}

/// Does it all, and prints what it found and the next command.
///
/// # Errors
///
/// See [`ImportFailure`]. Before the folder is complete nothing is written.
pub fn import(order: &Order) -> Result<(), ImportFailure> {
    let network = quietly(|| inspect(&order.onnx, order.size))?;
    tell(&found(&network));
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stderr());
    let is_terminal = input.is_terminal() && output.is_terminal();
    let mut asker = if is_terminal { Asker::terminal(&mut input, &mut output) } else { Asker::nobody() };
    let name = name(order, &mut asker)?;
    let here = std::env::current_dir().map_err(ImportFailure::NoFolder)?;
    let Place { folder, checkout } = place(&here, &name, order.out.as_deref())?;
    if order.verify == Some(true) && checkout.is_none() {
        return Err(ImportFailure::NothingToBuild);
    }
    if folder.exists() && !order.replace {
        // Told before anybody answers questions.
        return Err(ImportError::Exists(folder).into());
    }
    let draft = plan(order, &network, &name, imagenet(), &mut asker)?;
    quietly(|| write(&network, &draft, &folder, order.replace))?;
    let shown = folder.strip_prefix(&here).unwrap_or(&folder).display().to_string();
    tell(&format!(
        "wrote {shown}: model.toml, the network, labels.txt{}\n",
        if order.logits.is_some() { ", reference_logits.txt" } else { "" }
    ));
    let Some(checkout) = checkout else {
        tell("Move the folder into model-import/models of a checkout of Kiln, whose next build takes it.\n");
        return Ok(());
    };
    if order.verify.unwrap_or(order.logits.is_some()) {
        build::verify(&checkout, &name, &shown)?;
    }
    tell(&format!("\nNext:\n\n    cargo run --release -- predict --model {name} photo.jpg\n"));
    Ok(())
}

/// What the file holds, for a person.
fn found(network: &InspectedModel) -> String {
    let InspectedModel { input, width, height, classes, .. } = network;
    let opset = network.opset.map_or("no operator set".to_string(), |opset| format!("operator set {opset}"));
    let producer = if network.producer.is_empty() { String::new() } else { format!(", by {}", network.producer) };
    let kinds: Vec<String> = network.operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let kernels = match &network.unfused {
        None => "Kiln's fused kernels".to_string(),
        Some(obstacle) => format!("Burn's operations, unfused and slower: there is no fused kernel for {obstacle}"),
    };
    format!(
        "{}: input '{input}' {width}x{height}, {classes} classes, {opset}{producer}\n\
         operators: {}; all of them can be imported\n\
         runs on {kernels}\n",
        network.path.display(),
        kinds.join(", "),
    )
}

/// The names of ImageNet's 1000 classes, if a model that was built in has them.
fn imagenet() -> &'static [&'static str] {
    Model::named("efficientnet-lite0").map_or(&[], |model| model.spec().labels)
}

/// The parser's panics become errors; what it shouts meanwhile is for nobody.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = work();
    std::panic::set_hook(hook);
    outcome
}

/// Prints, without the panic that `print!` has for a closed pipe, and without what names in a file would have a terminal do.
fn tell(text: &str) {
    let _ = std::io::stdout().lock().write_all(terminal_text(text).as_bytes());
}
