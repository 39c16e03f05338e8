//! Loads the answers of ONNX Runtime.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{fill, input_values};

/// What ONNX Runtime answers for one model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// The name of the file, without `.onnx`.
    pub name: String,
    /// The path of the ONNX file, hollow where it is a skeleton. [`Answer::model`] reads and fills it.
    #[serde(rename = "file")]
    pub path: PathBuf,
    /// The version of the ONNX operator set.
    pub opset: u32,
    /// The model's only input.
    pub input: Input,
    /// The model's outputs, in the order of the file.
    pub outputs: Vec<Output>,
}

/// The input of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its data type: `float32`, `float16` or `uint8`.
    pub dtype: String,
    /// `nchw`, `nhwc`, or `none` where the input is no image.
    pub layout: String,
    /// The shape that the file declares, with the batch. `None` is an open axis.
    pub declared: Vec<Option<usize>>,
    /// The shape of one row, without the batch, that ONNX Runtime ran.
    pub shape: Vec<usize>,
}

/// An output of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its data type, by the name that numpy gives it.
    pub dtype: String,
    /// The shape that the file declares, with the batch. `None` is an open axis.
    pub declared: Vec<Option<usize>>,
    /// The shape of one row, without the batch.
    pub shape: Vec<usize>,
    /// The values of each row, the first 2000 of them. Row `r` belongs to the input [`Answer::input_row`] of `r`.
    pub rows: Vec<Vec<f32>>,
    /// How far equally right answers lie from one another, as a part of the largest value of a row.
    ///
    /// It is the larger of two differences: that between ONNX Runtime with and without its optimisations, and that after the inputs
    /// moved by 1e-6. It is near 1e-6 for most models. Where it is large, the model amplifies rounding; a test's tolerance must exceed it.
    /// With [`Output::unoptimised`] it speaks of those values, and the first difference is left out.
    pub spread: f32,
    /// The values without ONNX Runtime's optimisations, stored for a quantised model where they differ by more than 0.001 of the largest.
    ///
    /// They are the better reference: they are computed in `f32`. With optimisations such a model runs in 8-bit kernels, which round more,
    /// and those of AVX2 saturate.
    pub unoptimised: Option<Vec<Vec<f32>>>,
}

impl Answer {
    /// Returns the ONNX file with its hollow tensors filled.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be read or is malformed.
    pub fn model(&self) -> Vec<u8> {
        let skeleton = fs::read(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        fill(&skeleton).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    /// Returns the values of one input row, in the layout of the file.
    pub fn input_row(&self, row: usize) -> Vec<f32> {
        input_values(1000 + row as u64, self.input.shape.iter().product(), self.input.dtype == "uint8")
    }
}

/// Returns the answers for the models of `skeletons/` and `cases/`, in the order of their names.
///
/// # Panics
///
/// Panics if an answer cannot be read: the files are part of this crate.
pub fn answers() -> Vec<Answer> {
    load("answers")
}

/// Returns the answers for the models of `cases/generated/`, in the order of their names.
///
/// # Panics
///
/// Panics if an answer cannot be read: the files are part of this crate.
pub fn generated_answers() -> Vec<Answer> {
    load("answers/generated")
}

/// Loads the JSON files of a folder of this crate.
fn load(folder: &str) -> Vec<Answer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let answer: Answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The file is relative to the crate.
        Answer { path: Path::new(env!("CARGO_MANIFEST_DIR")).join(&answer.path), ..answer }
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_an_answer() {
        for (folders, answers) in
            [(&["skeletons", "cases"][..], answers()), (&["cases/generated"], generated_answers())]
        {
            let mut models = Vec::new();
            for folder in folders {
                for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                    let path = entry.unwrap().path();
                    models.extend(path.extension().is_some_and(|extension| extension == "onnx").then_some(path));
                }
            }
            models.sort();
            let mut answered: Vec<PathBuf> = answers.iter().map(|answer| answer.path.clone()).collect();
            answered.sort();
            assert_eq!(models, answered);
        }
    }

    #[test]
    fn answers_are_complete() {
        for answer in answers().into_iter().chain(generated_answers()) {
            assert!(!answer.outputs.is_empty(), "{}", answer.name);
            assert_eq!(answer.input.declared.len(), answer.input.shape.len() + 1, "{}", answer.name);
            for output in &answer.outputs {
                let count = output.shape.iter().product::<usize>().min(2000);
                assert!(output.rows.len() >= 2, "{}", answer.name);
                assert!(output.rows.iter().all(|row| row.len() == count), "{}", answer.name);
                assert!(output.rows.iter().flatten().all(|value| value.is_finite()), "{}", answer.name);
            }
        }
    }
}
