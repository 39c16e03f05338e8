//! The plan of an import: combines the request, the inspected network and the answers on a terminal into a draft.

use std::io::{BufRead, Write};

use model_import::Crop;
use model_import::import::{Draft, InspectedModel, PRESETS, Preprocess, Preset, check_name, check_version};

use super::request::{ImportRequest, LabelSource};
use super::text_files::{self, TextFileError, read_logits};

/// The error of an import with missing or invalid arguments.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A value without a default is missing, and there is no terminal to prompt for it.
    #[error("{flag} is missing, and there is no terminal to prompt for it. Set it to {hint}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// The expected value.
        hint: String,
    },
    /// The value of a flag is invalid.
    #[error("{flag}: {reason}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// The cause.
        reason: String,
    },
    /// The file of `--labels` is invalid.
    #[error("--labels: {0}")]
    Labels(#[source] TextFileError),
    /// The file of `--logits` is invalid.
    #[error("--logits: {0}")]
    Logits(#[source] TextFileError),
}

/// Returns the model's name: from the request, from the prompt, or from the name of the file.
///
/// # Errors
///
/// The name cannot be part of a URL.
pub fn name(request: &ImportRequest, prompt: &mut Prompt<'_>) -> Result<String, PlanError> {
    let value = |reason: String| PlanError::Value { flag: "--name", reason };
    let checked = |name: &str| check_name(name).map(|()| name.to_string());
    if let Some(name) = &request.name {
        return checked(name).map_err(value);
    }
    let stem = request.onnx.file_stem().unwrap_or_default().to_string_lossy();
    let sanitized: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let default = sanitized.trim_start_matches('.');
    if request.is_complete() {
        return checked(default).map_err(value);
    }
    prompt.ask("Name of the model in URLs", Some(default), checked).or_else(|NoAnswer| checked(default).map_err(value))
}

/// Returns the content of the folder of the model `name`. `imagenet` holds the names of the ImageNet classes.
///
/// On a terminal it prompts for every value that the request does not set. If the request sets all values without a
/// default (`--labels` and `--preset`), it prompts for nothing.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(
    request: &ImportRequest,
    network: &InspectedModel,
    name: &str,
    imagenet: &[&str],
    prompt: &mut Prompt<'_>,
) -> Result<Draft, PlanError> {
    let labels = labels(request, network.classes, imagenet, prompt)?;
    let preprocess = preprocess(request, network, prompt)?;
    let mut disabled = Prompt::disabled();
    let prompt = if request.is_complete() { &mut disabled } else { prompt };
    let version = request.version.clone().unwrap_or_else(|| "1".to_string());
    check_version(&version).map_err(|reason| PlanError::Value { flag: "--model-version", reason })?;
    let file = network.path.file_name().unwrap_or_default().to_string_lossy();
    let mut text = |given: &Option<String>, question: &str, default: String| match given {
        Some(text) => text.clone(),
        None => prompt.ask(question, Some(&default), |text| Ok(text.to_string())).unwrap_or(default),
    };
    Ok(Draft {
        name: name.to_string(),
        version,
        description: text(
            &request.description,
            "Description, one sentence",
            format!("{name}: {} classes", network.classes),
        ),
        source: text(&request.source, "Source of the weights", format!("imported from {file}")),
        licence: text(&request.licence, "Licence of the weights, SPDX name", "unknown".to_string()),
        labels,
        logits: request.logits.as_deref().map(read_logits).transpose().map_err(PlanError::Logits)?,
        preprocess,
    })
}

fn labels(
    request: &ImportRequest,
    classes: usize,
    imagenet: &[&str],
    prompt: &mut Prompt<'_>,
) -> Result<Vec<String>, PlanError> {
    let read = |from: &LabelSource| text_files::labels(from, classes, imagenet);
    let question = format!("Names of the {classes} classes: a file with one a line, 'imagenet' or 'numbers'");
    let answered = |text: &str| {
        let Ok(from) = text.parse::<LabelSource>();
        read(&from).map_err(|e| e.to_string())
    };
    match &request.labels {
        // If the file cannot be read, the prompt asks for another one.
        Some(from) => read(from).or_else(|error| match error {
            TextFileError::Unreadable { .. } => {
                prompt.ask(&format!("{error}. {question}"), None, answered).map_err(|NoAnswer| PlanError::Labels(error))
            }
            error => Err(PlanError::Labels(error)),
        }),
        None => prompt.ask(&question, None, answered).map_err(|NoAnswer| PlanError::Missing {
            flag: "--labels",
            hint: format!("a file with the names of the {classes} classes, one a line, or 'imagenet', or 'numbers'"),
        }),
    }
}

fn preprocess(
    request: &ImportRequest,
    network: &InspectedModel,
    prompt: &mut Prompt<'_>,
) -> Result<Preprocess, PlanError> {
    let (width, height) = (network.width, network.height);
    let preset = match request.preset {
        Some(preset) => preset,
        // Every value of this preset is overridden.
        None if request.has_preprocess() => &PRESETS[0],
        None => ask_preset(prompt)?,
    };
    let values = preset.values(width, height);
    let crop = request.crop.as_ref().map(|text| Crop::parse(text, width, height)).transpose();
    Ok(Preprocess {
        filter: request.filter.unwrap_or(values.filter),
        crop: crop.map_err(|e| PlanError::Value { flag: "--crop", reason: e.to_string() })?.unwrap_or(values.crop),
        mean: request.mean.unwrap_or(values.mean),
        std: request.std.unwrap_or(values.std),
    })
}

fn ask_preset(prompt: &mut Prompt<'_>) -> Result<&'static Preset, PlanError> {
    let list: String = PRESETS.iter().map(|preset| format!("\n  {:<18} {}", preset.name, preset.about)).collect();
    let question = format!(
        "Preprocessing of the training code? A wrong choice causes no error but a loss of accuracy.{list}\nPreset"
    );
    prompt.ask(&question, Some(PRESETS[0].name), |text| text.parse::<&Preset>().map_err(|e| e.to_string())).map_err(
        |NoAnswer| {
            let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            PlanError::Missing { flag: "--preset", hint: format!("one of {}", names.join(", ")) }
        },
    )
}

/// Prompts on a terminal, one line each, with a default that an empty line selects. A disabled prompt never gets an
/// answer.
pub struct Prompt<'a> {
    terminal: Option<(&'a mut dyn BufRead, &'a mut dyn Write)>,
}

impl<'a> Prompt<'a> {
    /// Returns a prompt that writes questions to `output` and reads answers from `input`.
    pub fn terminal(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { terminal: Some((input, output)) }
    }

    /// Returns a disabled prompt, for a process without a terminal.
    pub fn disabled() -> Self {
        Self { terminal: None }
    }

    /// Asks until `parse` accepts the answer. An empty answer selects `default`, if there is one.
    ///
    /// # Errors
    ///
    /// The prompt is disabled, or the input has ended.
    fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, NoAnswer> {
        let (input, output) = self.terminal.as_mut().ok_or(NoAnswer)?;
        let default_shown = default.map(|text| format!(" [{text}]")).unwrap_or_default();
        loop {
            let _ = write!(output, "{question}{default_shown}: ").and_then(|()| output.flush());
            let mut line = String::new();
            if !matches!(input.read_line(&mut line), Ok(1..)) {
                return Err(NoAnswer);
            }
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match parse(answer) {
                Ok(value) => return Ok(value),
                Err(reason) => {
                    let _ = writeln!(output, "  {reason}.");
                }
            }
        }
    }
}

/// The prompt is disabled, or its input has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoAnswer;

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use model_import::Filter;
    use model_import::import::inspect;

    use super::*;

    const RESNET: &str = "model-import/tests/models/small-resnet/small-resnet.onnx";

    fn network() -> InspectedModel {
        inspect(Path::new(RESNET), None).unwrap()
    }

    fn request() -> ImportRequest {
        ImportRequest {
            onnx: RESNET.into(),
            labels: Some(LabelSource::Numbers),
            preset: Some(&PRESETS[0]),
            ..ImportRequest::default()
        }
    }

    /// Returns the draft and the output on the terminal.
    fn answered(request: &ImportRequest, answers: &str) -> (Draft, String) {
        let (mut input, mut output) = (Cursor::new(answers.to_string()), Vec::new());
        let mut prompt = Prompt::terminal(&mut input, &mut output);
        let name = name(request, &mut prompt).unwrap();
        let draft = plan(request, &network(), &name, &[], &mut prompt).unwrap();
        (draft, String::from_utf8(output).unwrap())
    }

    #[test]
    fn complete_request_prompts_for_nothing() {
        let (draft, shown) = answered(&request(), "");
        assert_eq!(shown, "");
        assert_eq!(
            (draft.name.as_str(), draft.version.as_str(), draft.licence.as_str()),
            ("small-resnet", "1", "unknown")
        );
        assert_eq!(draft.labels.len(), 10);
        assert_eq!(draft.preprocess, PRESETS[0].values(45, 61));
    }

    #[test]
    fn flags_override_the_preset() {
        let flags = ImportRequest {
            filter: Some(Filter::Lanczos),
            crop: Some("none".to_string()),
            mean: Some([1.0, 2.0, 3.0]),
            std: Some([4.0; 3]),
            ..request()
        };
        let expected = Preprocess { filter: Filter::Lanczos, crop: Crop::None, mean: [1.0, 2.0, 3.0], std: [4.0; 3] };
        assert_eq!(answered(&flags, "").0.preprocess, expected);
        // All four flags together need no preset and no prompt.
        let alone = ImportRequest { preset: None, ..flags };
        assert_eq!(answered(&alone, "").0.preprocess, expected);
    }

    #[test]
    fn missing_values_are_prompted_for_until_valid() {
        let incomplete = ImportRequest { labels: None, preset: None, ..request() };
        let (draft, shown) = answered(&incomplete, "a/b\nmy-net\n/no/such/file\nnumbers\ntorch\ntimm\nCats\n\nMIT\n");
        assert_eq!(
            (draft.name.as_str(), draft.description.as_str(), draft.licence.as_str()),
            ("my-net", "Cats", "MIT")
        );
        assert_eq!(draft.source, "imported from small-resnet.onnx");
        assert_eq!(draft.preprocess.filter, Filter::Bicubic);
        for part in ["'a/b' must be letters", "cannot read /no/such/file", "it must be torchvision, ", "[torchvision]"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn missing_and_invalid_values_are_errors_without_a_terminal() {
        let refused = |request: ImportRequest| {
            plan(&request, &network(), "net", &[], &mut Prompt::disabled()).unwrap_err().to_string()
        };
        let message = refused(ImportRequest { labels: None, ..request() });
        assert!(message.contains("--labels is missing") && message.contains("the 10 classes"), "{message}");
        let message = refused(ImportRequest { preset: None, ..request() });
        assert!(
            message.contains("--preset is missing") && message.contains("torchvision, torchvision-v2"),
            "{message}"
        );
        let message = refused(ImportRequest { labels: Some(LabelSource::File("/no/such/file".into())), ..request() });
        assert!(message.contains("--labels: cannot read /no/such/file"), "{message}");
        let message = refused(ImportRequest { labels: Some(LabelSource::ImageNet), ..request() });
        assert!(message.contains("0 labels, but the network has 10 classes"), "{message}");
        let message = refused(ImportRequest { crop: Some("half".to_string()), ..request() });
        assert!(message.contains("--crop: it must be none, "), "{message}");
        let message = refused(ImportRequest { version: Some("1/2".to_string()), ..request() });
        assert!(message.contains("--model-version: '1/2' must be"), "{message}");
        let message = refused(ImportRequest { version: Some("canary".to_string()), ..request() });
        assert!(message.contains("--model-version: 'canary' must be no label"), "{message}");
    }
}
