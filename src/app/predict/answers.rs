//! Where the answers of `kiln predict` go: standard output, as text or JSON, or a results file.

use std::io::{self, ErrorKind, Write};

use indicatif::ProgressBar;
use kiln_classifier::Classifier;
use kiln_inference::model::Task;
use model_import::import::terminal_text;

use super::error::PredictError;
use crate::predict::{EarlierRows, FileOutput, Output, OutputValues, ResultsFormat, ResultsWriter, Row, RowFormat};

/// Number of an embedding's values that are printed as text.
const SHOWN_DIMENSIONS: usize = 4;

/// Where the answers go.
pub(super) enum Answers {
    /// Standard output, as text. Errors go to standard error.
    Text,
    /// Standard output, as JSON. Errors go to standard error.
    JsonLines(RowFormat),
    /// A results file, which also has the errors.
    File(ResultsWriter),
}

impl Answers {
    /// Opens the output. Returns the rows that it already has.
    pub(super) fn open(
        output: &Output,
        classifier: &Classifier,
        top_k: Option<usize>,
    ) -> Result<(Self, EarlierRows), PredictError> {
        let json = || RowFormat::JsonLines { model: classifier.model().into() };
        let results = match output {
            Output::Text => return Ok((Self::Text, EarlierRows::default())),
            Output::JsonLines => return Ok((Self::JsonLines(json()), EarlierRows::default())),
            Output::File(results) => results,
        };
        let format = match results.format {
            ResultsFormat::Csv => csv_format(classifier, top_k)?,
            ResultsFormat::JsonLines | ResultsFormat::Parquet => json(),
        };
        let (writer, earlier) = ResultsWriter::open(results, format)?;
        Ok((Self::File(writer), earlier))
    }

    /// Writes the answer for one file. Hides the bar while it prints.
    pub(super) fn write(&mut self, row: &Row, bar: &ProgressBar) -> Result<(), PredictError> {
        let written = match (self, &row.result) {
            (Self::File(results), _) => return Ok(results.append(row)?),
            (_, Err(reason)) => {
                let text = terminal_text(&format!("{}: {reason}\n", row.file));
                bar.suspend(|| io::stderr().lock().write_all(text.as_bytes()))
            }
            (Self::Text, Ok(output)) => print(&as_text(&row.file, output), bar),
            (Self::JsonLines(format), Ok(_)) => print(&format.line(row), bar),
        };
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => PredictError::ClosedPipe,
            _ => PredictError::Output(error),
        })
    }
}

fn print(text: &str, bar: &ProgressBar) -> io::Result<()> {
    bar.suspend(|| io::stdout().lock().write_all(text.as_bytes()))
}

/// Returns the format of CSV for a model: columns for `top_k` classes, but not for more than the model has.
fn csv_format(classifier: &Classifier, top_k: Option<usize>) -> Result<RowFormat, PredictError> {
    let spec = classifier.model().spec();
    if spec.task == Task::Embedding {
        return Err(PredictError::NoColumns("CSV has no columns for embeddings. Write a .jsonl or .parquet file."));
    }
    let top_k = top_k.or(classifier.default_top_k()).ok_or(PredictError::NoColumns(
        "CSV has a fixed number of columns, but a multi-label model returns any number of classes. Set --top-k, or write a \
         .jsonl or .parquet file.",
    ))?;
    Ok(RowFormat::Csv { classes: top_k.min(spec.labels.len()) })
}

fn as_text(file: &str, output: &FileOutput) -> String {
    let FileOutput { image, values } = output;
    let truncated = if image.is_truncated { ", truncated" } else { "" };
    let size = format!("{}, {}x{}{truncated}", image.format, image.width, image.height);
    let mut text = format!("{} ({size})\n", terminal_text(file));
    match values {
        OutputValues::Classes(classes) => {
            for class in classes {
                let label = terminal_text(&class.label);
                text.push_str(&format!("  {:>6.2} %  {label} ({})\n", class.probability * 100.0, class.class_id));
            }
        }
        OutputValues::Embedding(values) => {
            let first = values.iter().take(SHOWN_DIMENSIONS).map(|value| format!("{value:.4}"));
            let first = first.collect::<Vec<_>>().join(", ");
            let dimensions = values.len();
            text.push_str(&format!("  embedding of {dimensions} dimensions: {first}, ...; --json prints all\n"));
        }
    }
    text
}
