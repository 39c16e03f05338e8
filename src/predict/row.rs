//! The answer for one file, and its form as a line of JSON or CSV.

use std::iter;

use kiln_classifier::{Class, ImageInfo};
use kiln_inference::model::Model;
use serde::{Deserialize, Serialize};

/// Number of CSV columns of one class.
const CLASS_COLUMNS: [&str; 3] = ["class_id", "label", "probability"];

/// The answer for one file.
#[derive(Debug)]
pub struct Row {
    /// The name of the file.
    pub file: String,
    /// What the model returned, or why there is no result.
    pub result: Result<FileOutput, String>,
}

/// What the model returned for a file.
#[derive(Debug)]
pub struct FileOutput {
    /// Format and size of the image.
    pub image: ImageInfo,
    /// The output of the model.
    pub values: OutputValues,
}

/// The output of a model.
#[derive(Debug)]
pub enum OutputValues {
    /// Classes, most probable first.
    Classes(Vec<Class>),
    /// A normalised embedding.
    Embedding(Box<[f32]>),
}

/// Which model returned the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its weights or its file.
    pub digest: String,
}

impl From<&Model> for ModelId {
    fn from(model: &Model) -> Self {
        Self { name: model.name().to_string(), version: model.version().to_string(), digest: model.digest() }
    }
}

/// The form of a row.
#[derive(Clone, Debug)]
pub enum RowFormat {
    /// Comma-separated values with columns for this number of classes.
    Csv {
        /// Number of classes.
        classes: usize,
    },
    /// JSON objects that contain the model.
    JsonLines {
        /// The model.
        model: ModelId,
    },
}

impl RowFormat {
    /// Returns the names of the columns, if the form has columns.
    pub fn columns(&self) -> Option<Vec<String>> {
        let Self::Csv { classes } = *self else { return None };
        let (first, last) = (iter::once("file".to_string()), iter::once("error".to_string()));
        Some(first.chain((1..=classes).flat_map(class_columns)).chain(last).collect())
    }

    /// Returns the line of a row, with its line feed.
    pub fn line(&self, row: &Row) -> String {
        match self {
            Self::Csv { classes } => csv_line(&csv_cells(row, *classes)),
            Self::JsonLines { model } => json_line(row, model),
        }
    }
}

/// Returns the names of the columns of a class, of which the most probable has the rank 1.
pub(super) fn class_columns(rank: usize) -> [String; 3] {
    let suffix = if rank == 1 { String::new() } else { format!("_{rank}") };
    CLASS_COLUMNS.map(|column| format!("{column}{suffix}"))
}

/// Returns a line of CSV, with its line feed.
pub(super) fn csv_line(cells: &[String]) -> String {
    let mut line = Vec::new();
    let mut writer = csv::Writer::from_writer(&mut line);
    writer.write_record(cells).expect("writing to memory cannot fail");
    writer.flush().expect("writing to memory cannot fail");
    drop(writer);
    String::from_utf8(line).expect("the cells are UTF-8")
}

fn csv_cells(row: &Row, classes: usize) -> Vec<String> {
    let mut cells = vec![String::new(); CLASS_COLUMNS.len() * classes + 2];
    cells[0].clone_from(&row.file);
    match &row.result {
        Ok(FileOutput { values: OutputValues::Classes(found), .. }) => {
            for (cells, class) in cells[1..].chunks_exact_mut(CLASS_COLUMNS.len()).zip(found) {
                let values = [class.class_id.to_string(), class.label.to_string(), class.probability.to_string()];
                cells.clone_from_slice(&values);
            }
        }
        // CSV is refused for models that return embeddings.
        Ok(FileOutput { values: OutputValues::Embedding(_), .. }) => {}
        Err(reason) => *cells.last_mut().expect("'error' is a column") = reason.clone(),
    }
    cells
}

/// Has the fields of an HTTP response, and the file.
#[derive(Serialize)]
struct JsonRow<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<JsonClass<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<JsonImage>,
    model: &'a ModelId,
}

#[derive(Serialize)]
struct JsonClass<'a> {
    label: &'a str,
    class_id: usize,
    probability: f32,
}

#[derive(Serialize)]
struct JsonImage {
    format: String,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

fn json_line(row: &Row, model: &ModelId) -> String {
    let Row { file, result } = row;
    let mut json = JsonRow { file, predictions: None, embedding: None, error: None, image: None, model };
    match result {
        Ok(FileOutput { image, values }) => {
            let ImageInfo { format, width, height, is_truncated } = *image;
            json.image = Some(JsonImage { format: format.to_string(), width, height, truncated: is_truncated });
            match values {
                OutputValues::Classes(classes) => json.predictions = Some(classes.iter().map(json_class).collect()),
                OutputValues::Embedding(values) => json.embedding = Some(&values[..]),
            }
        }
        Err(reason) => json.error = Some(reason.as_str()),
    }
    serde_json::to_string(&json).expect("texts and numbers can be written") + "\n"
}

fn json_class(class: &Class) -> JsonClass<'_> {
    JsonClass { label: &class.label, class_id: class.class_id, probability: class.probability }
}

#[cfg(test)]
mod tests {
    use kiln_image::Format;
    use serde_json::{Value, json};

    use super::*;

    fn row(file: &str, labels: &[&str]) -> Row {
        let class = |(class_id, label): (usize, &&str)| Class { label: (*label).into(), class_id, probability: 0.25 };
        let image = ImageInfo { format: Format::Jpeg, width: 2, height: 1, is_truncated: false };
        let values = OutputValues::Classes(labels.iter().enumerate().map(class).collect());
        Row { file: file.to_string(), result: Ok(FileOutput { image, values }) }
    }

    fn failed(file: &str, reason: &str) -> Row {
        Row { file: file.to_string(), result: Err(reason.to_string()) }
    }

    #[test]
    fn csv_has_a_group_of_columns_for_each_class() {
        let csv = RowFormat::Csv { classes: 2 };
        let columns = csv.columns().unwrap().join(",");
        assert_eq!(columns, "file,class_id,label,probability,class_id_2,label_2,probability_2,error");
        assert_eq!(csv.line(&row("a.jpg", &["cat", "dog, big"])), "a.jpg,0,cat,0.25,1,\"dog, big\",0.25,\n");
        // A multi-label model may find fewer.
        assert_eq!(csv.line(&row("a \"b\".jpg", &["cat"])), "\"a \"\"b\"\".jpg\",0,cat,0.25,,,,\n");
        assert_eq!(csv.line(&failed("c", "not an image")), "c,,,,,,,not an image\n");
    }

    #[test]
    fn json_has_the_fields_of_a_response() {
        let model = ModelId { name: "m".to_string(), version: "1".to_string(), digest: "sha256:0".to_string() };
        let lines = RowFormat::JsonLines { model };
        assert!(lines.columns().is_none());
        let line = lines.line(&row("a\n.jpg", &["cat"]));
        assert!(line.starts_with("{\"file\":\"a\\n.jpg\",") && line.ends_with("}\n"), "{line}");
        let expected = json!({
            "file": "a\n.jpg",
            "predictions": [{"label": "cat", "class_id": 0, "probability": 0.25}],
            "image": {"format": "jpeg", "width": 2, "height": 1},
            "model": {"name": "m", "version": "1", "digest": "sha256:0"},
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        let failed: Value = serde_json::from_str(&lines.line(&failed("b", "no"))).unwrap();
        assert_eq!(failed, json!({"file": "b", "error": "no", "model": expected["model"]}));
    }
}
