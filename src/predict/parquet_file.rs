//! Writes the results of a run as a Parquet file.
//!
//! A Parquet file cannot be read before its end is written, and no row can be appended to it. A run therefore writes JSON lines, and
//! converts them when each image has a row.
//!
//! The format: <https://parquet.apache.org/docs/file-format/>.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArrayType, DataType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::results_error::ResultsError;
use super::row::class_columns;

/// Number of values of a row group, which is in memory as a whole.
const GROUP_VALUES: usize = 1 << 21;

/// The part of a row of JSON lines that has a column.
#[derive(Debug, Deserialize)]
struct ParquetRow {
    file: String,
    #[serde(default)]
    predictions: Vec<ParquetClass>,
    embedding: Option<Vec<f32>>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ParquetClass {
    class_id: i32,
    label: String,
    probability: f32,
}

/// What the columns depend on.
#[derive(Debug, Deserialize)]
struct RowShape {
    #[serde(default)]
    predictions: Vec<IgnoredAny>,
    embedding: Option<IgnoredAny>,
}

/// The columns of a file, which depend on its rows.
#[derive(Clone, Copy, Default)]
struct Columns {
    /// The largest number of classes of a row.
    classes: usize,
    has_embeddings: bool,
}

impl Columns {
    /// Reads all rows.
    fn of(rows: &Path) -> io::Result<Self> {
        let mut columns = Self::default();
        for row in read_rows::<RowShape>(rows)? {
            let row = row?;
            columns.classes = columns.classes.max(row.predictions.len());
            columns.has_embeddings |= row.embedding.is_some();
        }
        Ok(columns)
    }

    /// Returns the schema: the columns of the CSV file, and `embedding`.
    fn schema(self) -> String {
        let mut schema = "message results { required binary file (STRING); ".to_string();
        for rank in 1..=self.classes {
            let [class_id, label, probability] = class_columns(rank);
            schema.push_str(&format!(
                "optional int32 {class_id}; optional binary {label} (STRING); optional float {probability}; "
            ));
        }
        if self.has_embeddings {
            schema.push_str("optional group embedding (LIST) { repeated group list { required float element; } } ");
        }
        schema + "optional binary error (STRING); }"
    }

    /// Writes a row group.
    fn write(self, group: &mut SerializedRowGroupWriter<'_, File>, rows: &[ParquetRow]) -> Result<(), ParquetError> {
        let files: Vec<_> = rows.iter().map(|row| row.file.as_str().into()).collect();
        write_column::<ByteArrayType>(group, &files, None, None)?;
        for rank in 0..self.classes {
            let classes = || rows.iter().map(|row| row.predictions.get(rank));
            write_optional::<Int32Type>(group, classes().map(|class| class.map(|class| class.class_id)))?;
            let labels = classes().map(|class| class.map(|class| class.label.as_str().into()));
            write_optional::<ByteArrayType>(group, labels)?;
            write_optional::<FloatType>(group, classes().map(|class| class.map(|class| class.probability)))?;
        }
        if self.has_embeddings {
            write_embeddings(group, rows)?;
        }
        write_optional::<ByteArrayType>(group, rows.iter().map(|row| row.error.as_deref().map(Into::into)))
    }
}

/// Converts the complete rows of JSON lines to a Parquet file, which it replaces if it exists.
///
/// # Errors
///
/// [`ResultsError::Convert`]. An existing file then stays.
pub fn write_parquet(rows: &Path, path: &Path) -> Result<(), ResultsError> {
    let part = path.with_extension("parquet.part");
    let written = write_part(rows, &part).and_then(|()| Ok(fs::rename(&part, path)?));
    written.map_err(|reason| {
        let _ = fs::remove_file(&part);
        ResultsError::Convert { rows: rows.to_path_buf(), path: path.to_path_buf(), reason: reason.to_string() }
    })
}

fn write_part(rows: &Path, part: &Path) -> Result<(), ParquetError> {
    let columns = Columns::of(rows)?;
    let schema = Arc::new(parse_message_type(&columns.schema())?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(File::create(part)?, schema, Arc::new(properties))?;
    let mut waiting = Vec::new();
    let mut values = 0;
    let mut write_group = |waiting: &mut Vec<ParquetRow>| {
        let mut group = writer.next_row_group()?;
        columns.write(&mut group, waiting)?;
        waiting.clear();
        group.close().map(|_| ())
    };
    for row in read_rows::<ParquetRow>(rows)? {
        let row = row?;
        values += 2 + 3 * columns.classes + row.embedding.as_ref().map_or(0, Vec::len);
        waiting.push(row);
        if values >= GROUP_VALUES {
            write_group(&mut waiting)?;
            values = 0;
        }
    }
    if !waiting.is_empty() {
        write_group(&mut waiting)?;
    }
    writer.close()?;
    Ok(())
}

fn read_rows<T: DeserializeOwned>(path: &Path) -> io::Result<impl Iterator<Item = io::Result<T>>> {
    let row = |line: io::Result<String>| -> io::Result<T> { Ok(serde_json::from_str(&line?)?) };
    Ok(BufReader::new(File::open(path)?).lines().map(row))
}

fn write_optional<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut present, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    write_column::<T>(group, &present, Some(&levels), None)
}

/// Definition levels: 0 is no list, 1 an empty list, and 2 a value. Repetition levels: 0 begins a list, and 1 continues it.
fn write_embeddings(group: &mut SerializedRowGroupWriter<'_, File>, rows: &[ParquetRow]) -> Result<(), ParquetError> {
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let embedding = row.embedding.as_deref().unwrap_or_default();
        if embedding.is_empty() {
            definitions.push(i16::from(row.embedding.is_some()));
            repetitions.push(0);
        }
        values.extend_from_slice(embedding);
        definitions.extend(embedding.iter().map(|_| 2));
        repetitions.extend((0..embedding.len()).map(|index| i16::from(index > 0)));
    }
    write_column::<FloatType>(group, &values, Some(&definitions), Some(&repetitions))
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has a column for each call");
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Row;

    use super::*;

    /// Converts lines, and returns the rows of the Parquet file.
    fn converted(lines: &str) -> Vec<Row> {
        let folder = tempfile::tempdir().unwrap();
        let [rows, path] = ["results.jsonl", "results.parquet"].map(|name| folder.path().join(name));
        fs::write(&rows, lines).unwrap();
        write_parquet(&rows, &path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the part stays");
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn classes_have_the_columns_of_csv() {
        let rows = converted(
            "{\"file\":\"a, \\\"b\\\".jpg\",\"predictions\":[{\"label\":\"cat\",\"class_id\":285,\"probability\":0.5},\
             {\"label\":\"dog\",\"class_id\":1,\"probability\":0.25}],\"model\":{}}\n\
             {\"file\":\"b\",\"error\":\"not an image\",\"model\":{}}\n\
             {\"file\":\"c\",\"predictions\":[{\"label\":\"dog\",\"class_id\":1,\"probability\":0.75}],\"model\":{}}\n",
        );
        let text: Vec<String> = rows.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "{file: \"a, \"b\".jpg\", class_id: 285, label: \"cat\", probability: 0.5, class_id_2: 1, label_2: \"dog\", \
                 probability_2: 0.25, error: null}",
                "{file: \"b\", class_id: null, label: null, probability: null, class_id_2: null, label_2: null, \
                 probability_2: null, error: \"not an image\"}",
                "{file: \"c\", class_id: 1, label: \"dog\", probability: 0.75, class_id_2: null, label_2: null, \
                 probability_2: null, error: null}",
            ]
        );
    }

    #[test]
    fn embeddings_are_lists_in_several_row_groups() {
        let values = vec!["0.5"; GROUP_VALUES / 2].join(",");
        let line = |file: usize| format!("{{\"file\":\"{file}\",\"embedding\":[{values}]}}\n");
        let failed = "{\"file\":\"2\",\"error\":\"no\"}\n".to_string();
        let rows = converted(&[line(0), line(1), failed, "{\"file\":\"3\",\"embedding\":[1.0,2.0]}\n".into()].concat());
        let text: Vec<String> = rows.iter().skip(2).map(ToString::to_string).collect();
        assert_eq!(
            text,
            ["{file: \"2\", embedding: null, error: \"no\"}", "{file: \"3\", embedding: [1.0, 2.0], error: null}"]
        );
        for row in &rows[..2] {
            assert_eq!(row.to_string().matches("0.5").count(), GROUP_VALUES / 2);
        }
    }

    #[test]
    fn failed_conversion_keeps_the_earlier_file() {
        let folder = tempfile::tempdir().unwrap();
        let [rows, path] = ["results.jsonl", "results.parquet"].map(|name| folder.path().join(name));
        fs::write(&path, "earlier").unwrap();
        fs::write(&rows, "no row\n").unwrap();
        let refused = write_parquet(&rows, &path).unwrap_err().to_string();
        assert!(refused.contains("results.jsonl") && refused.contains("--resume"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "earlier");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
