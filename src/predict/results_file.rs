//! The results file of `kiln predict`: one row per line, appended so that a killed process leaves at most one incomplete line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::Deserialize;

use super::earlier_rows::{CompleteLines, EarlierRows, complete_lines};
use super::request::{Existing, ResultsFile};
use super::results_error::ResultsError;
use super::row::{ModelId, Row, RowFormat, csv_line};

/// Maximum length of an incomplete line. A longer rest of a file is not one row.
const MAX_INCOMPLETE: u64 = 64 << 10;

/// The first bytes of each row of JSON lines.
const JSON_BEGINNING: &str = "{\"file\":\"";

/// Appends rows to a results file.
#[derive(Debug)]
pub struct ResultsWriter {
    file: File,
    path: PathBuf,
    format: RowFormat,
}

impl ResultsWriter {
    /// Fails if the file exists and is to be neither continued nor replaced, or if it is Parquet and cannot be continued.
    ///
    /// # Errors
    ///
    /// [`ResultsError::Exists`] or [`ResultsError::NoRows`].
    pub fn check(results: &ResultsFile) -> Result<(), ResultsError> {
        let rows = results.rows_path();
        match results.existing {
            Existing::Refuse if results.path.exists() => Err(ResultsError::Exists(results.path.clone())),
            Existing::Refuse if rows.exists() => Err(ResultsError::Exists(rows)),
            Existing::Resume if results.path.exists() && !rows.exists() => {
                Err(ResultsError::NoRows { path: results.path.clone(), rows })
            }
            _ => Ok(()),
        }
    }

    /// Opens a results file, and returns what it already contains. An incomplete line at its end is removed.
    ///
    /// # Errors
    ///
    /// See [`ResultsError`]. A file that cannot be continued is not changed.
    pub fn open(results: &ResultsFile, format: RowFormat) -> Result<(Self, EarlierRows), ResultsError> {
        let path = results.rows_path();
        let io_error = |reason| ResultsError::Open { path: path.clone(), reason };
        let mut options = OpenOptions::new();
        match results.existing {
            Existing::Refuse => options.create_new(true),
            Existing::Resume | Existing::Overwrite => options.create(true).truncate(false),
        };
        let file = options.read(true).write(true).open(&path).map_err(|reason| match reason.kind() {
            ErrorKind::AlreadyExists => ResultsError::Exists(path.clone()),
            _ => io_error(reason),
        })?;
        // Some file systems have no locks.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(ResultsError::Locked(path.clone()));
        }
        if results.existing == Existing::Overwrite {
            file.set_len(0).map_err(io_error)?;
        }
        let mut writer = Self { file, path: path.clone(), format };
        let rows = writer.read_rows()?;
        Ok((writer, rows))
    }

    /// Appends a row. The line is passed to the operating system as a whole.
    ///
    /// # Errors
    ///
    /// [`ResultsError::Io`], for example if the disk is full.
    pub fn append(&mut self, row: &Row) -> Result<(), ResultsError> {
        let line = self.format.line(row);
        self.file.write_all(line.as_bytes()).map_err(|reason| self.io_error(reason))
    }

    fn io_error(&self, reason: io::Error) -> ResultsError {
        ResultsError::Io { path: self.path.clone(), reason }
    }

    /// Reads the complete lines, and removes an incomplete one. Writes the columns to an empty file.
    fn read_rows(&mut self) -> Result<EarlierRows, ResultsError> {
        let columns = self.format.columns();
        let complete = complete_lines(&mut BufReader::new(&self.file), columns.is_some());
        let complete = complete.map_err(|reason| self.io_error(reason))?;
        let length = complete.length;
        self.file.rewind().map_err(|reason| self.io_error(reason))?;
        let rows = match (&columns, &self.format) {
            _ if length == 0 => self.check_beginning(columns.as_deref())?,
            (_, RowFormat::JsonLines { model }) => self.read_json(length, model)?,
            (columns, RowFormat::Csv { .. }) => {
                self.check_quotes(complete)?;
                self.read_csv(length, columns.as_deref().unwrap_or_default())?
            }
        };
        // Only now it is certain that the incomplete line is one of a row.
        self.file.set_len(length).map_err(|reason| self.io_error(reason))?;
        self.file.seek(SeekFrom::End(0)).map_err(|reason| self.io_error(reason))?;
        if let (0, Some(columns)) = (length, columns) {
            self.file.write_all(csv_line(&columns).as_bytes()).map_err(|reason| self.io_error(reason))?;
        }
        Ok(rows)
    }

    /// Checks that what follows the complete lines of CSV is at most one row. After a quote that is not closed, all further lines
    /// look like one incomplete line, and they must not be removed.
    fn check_quotes(&self, CompleteLines { length, lines }: CompleteLines) -> Result<(), ResultsError> {
        let whole = self.file.metadata().map_err(|reason| self.io_error(reason))?.len();
        match whole.saturating_sub(length) {
            0..=MAX_INCOMPLETE => Ok(()),
            _ => Err(ResultsError::NotARow {
                path: self.path.clone(),
                line: lines + 1,
                reason: "a quote is not closed".to_string(),
            }),
        }
    }

    /// Checks that a file without a complete line is empty, or has the beginning of the first line of this run. It has no rows.
    fn check_beginning(&self, columns: Option<&[String]>) -> Result<EarlierRows, ResultsError> {
        let expected = columns.map_or_else(|| JSON_BEGINNING.to_string(), csv_line);
        let mut beginning = Vec::new();
        let read = (&self.file).take(expected.len() as u64).read_to_end(&mut beginning);
        read.map_err(|reason| self.io_error(reason))?;
        match columns {
            _ if expected.as_bytes().starts_with(&beginning) => Ok(EarlierRows::default()),
            Some(columns) => Err(ResultsError::Columns { path: self.path.clone(), columns: columns.join(",") }),
            None => Err(ResultsError::NotARow {
                path: self.path.clone(),
                line: 1,
                reason: format!("it does not begin with {JSON_BEGINNING}"),
            }),
        }
    }

    fn read_csv(&self, length: u64, columns: &[String]) -> Result<EarlierRows, ResultsError> {
        let not_a_row = |error: csv::Error| ResultsError::NotARow {
            path: self.path.clone(),
            line: error.position().map_or(1, csv::Position::line),
            reason: error.to_string(),
        };
        let mut reader = csv::Reader::from_reader((&self.file).take(length));
        if !reader.headers().map_err(not_a_row)?.iter().eq(columns.iter().map(String::as_str)) {
            return Err(ResultsError::Columns { path: self.path.clone(), columns: columns.join(",") });
        }
        let mut rows = EarlierRows::default();
        for record in reader.records() {
            let record = record.map_err(not_a_row)?;
            let cell = |index: usize| record.get(index).unwrap_or_default();
            rows.add(cell(0), !cell(columns.len() - 1).is_empty());
        }
        Ok(rows)
    }

    fn read_json(&self, length: u64, model: &ModelId) -> Result<EarlierRows, ResultsError> {
        /// The part of a row that is needed to continue.
        #[derive(Deserialize)]
        struct JsonRow {
            file: String,
            error: Option<String>,
            model: ModelId,
        }

        let mut rows = EarlierRows::default();
        for (line, number) in BufReader::new((&self.file).take(length)).lines().zip(1..) {
            let row = line.and_then(|line| serde_json::from_str::<JsonRow>(&line).map_err(io::Error::from));
            let not_a_row = |error: io::Error| ResultsError::NotARow {
                path: self.path.clone(),
                line: number,
                reason: error.to_string(),
            };
            let row = row.map_err(not_a_row)?;
            if row.model != *model {
                let shown = |model: &ModelId| format!("{} {} ({})", model.name, model.version, model.digest);
                let (found, expected) = (shown(&row.model), shown(model));
                return Err(ResultsError::Model { path: self.path.clone(), found, expected });
            }
            rows.add(&row.file, row.error.is_some());
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::request::ResultsFormat;
    use super::*;

    fn open(path: &Path, existing: Existing, format: &RowFormat) -> Result<(ResultsWriter, EarlierRows), ResultsError> {
        // The name does not matter here.
        let results = ResultsFile { path: path.to_path_buf(), format: ResultsFormat::Csv, existing };
        ResultsWriter::check(&results)?;
        ResultsWriter::open(&results, format.clone())
    }

    fn failed(file: &str) -> Row {
        Row { file: file.to_string(), result: Err("no".to_string()) }
    }

    fn json(name: &str) -> RowFormat {
        let (version, digest) = ("1".to_string(), "sha256:0".to_string());
        RowFormat::JsonLines { model: ModelId { name: name.to_string(), version, digest } }
    }

    /// Writes three rows, cuts the last one off at each of its bytes, and continues.
    fn continue_after_each_cut(format: &RowFormat) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let names = ["a, b", "c\n\"d\"", "e\nf"];
        let (mut writer, _) = open(&path, Existing::Refuse, format).unwrap();
        let lengths = names.map(|name| {
            writer.append(&failed(name)).unwrap();
            path.metadata().unwrap().len()
        });
        drop(writer);
        let whole = std::fs::read(&path).unwrap();
        for length in lengths[1]..lengths[2] {
            std::fs::write(&path, &whole[..length as usize]).unwrap();
            let (mut writer, mut earlier) = open(&path, Existing::Resume, format).unwrap();
            assert_eq!((earlier.count, earlier.failed), (2, 2));
            assert_eq!(names.map(|name| earlier.files.take(name)), [true, true, false]);
            writer.append(&failed(names[2])).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {length}");
        }
    }

    #[test]
    fn results_continue_after_an_incomplete_line() {
        continue_after_each_cut(&RowFormat::Csv { classes: 1 });
        continue_after_each_cut(&json("m"));
    }

    #[test]
    fn incomplete_columns_are_written_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "file,cla").unwrap();
        let (_, earlier) = open(file.path(), Existing::Resume, &RowFormat::Csv { classes: 1 }).unwrap();
        assert_eq!(earlier.count, 0);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "file,class_id,label,probability,error\n");
    }

    #[test]
    fn existing_file_is_refused_unless_it_is_continued_or_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "other\n").unwrap();
        let csv = RowFormat::Csv { classes: 1 };
        let refused = open(file.path(), Existing::Refuse, &csv).unwrap_err().to_string();
        assert!(refused.contains("--resume") && refused.contains("--overwrite"), "{refused}");
        assert!(matches!(open(file.path(), Existing::Resume, &csv), Err(ResultsError::Columns { .. })));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "other\n");
        let (mut writer, _) = open(file.path(), Existing::Overwrite, &csv).unwrap();
        assert!(matches!(open(file.path(), Existing::Resume, &csv), Err(ResultsError::Locked(_))));
        writer.append(&failed("a")).unwrap();
        assert!(std::fs::read_to_string(file.path()).unwrap().ends_with("error\na,,,,no\n"));
    }

    #[test]
    fn parquet_is_continued_with_its_rows_only() {
        let folder = tempfile::tempdir().unwrap();
        let [path, rows] = ["a.parquet", "a.jsonl"].map(|name| folder.path().join(name));
        let check = |existing| {
            let results = ResultsFile { path: path.clone(), format: ResultsFormat::Parquet, existing };
            ResultsWriter::check(&results)
        };
        std::fs::write(&path, "").unwrap();
        assert!(matches!(check(Existing::Refuse), Err(ResultsError::Exists(found)) if found == path));
        assert!(matches!(check(Existing::Resume), Err(ResultsError::NoRows { .. })));
        check(Existing::Overwrite).unwrap();
        std::fs::write(&rows, "").unwrap();
        check(Existing::Resume).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(check(Existing::Refuse), Err(ResultsError::Exists(found)) if found == rows));
        check(Existing::Resume).unwrap();
    }

    #[test]
    fn file_that_is_no_results_file_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for format in [RowFormat::Csv { classes: 1 }, json("m")] {
            for content in ["precious", "precious\n", "precious\nwithout end"] {
                std::fs::write(file.path(), content).unwrap();
                assert!(open(file.path(), Existing::Resume, &format).is_err(), "{content:?}");
                assert_eq!(std::fs::read_to_string(file.path()).unwrap(), content);
            }
        }
    }

    #[test]
    fn rows_after_a_quote_that_is_not_closed_stay() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let csv = RowFormat::Csv { classes: 1 };
        let rows = "a,1,cat,0.5,\n".repeat(10_000);
        let content = format!("file,class_id,label,probability,error\na,1,cat,0.5,\nb,1,\"cat,0.5,\n{rows}");
        std::fs::write(file.path(), &content).unwrap();
        let refused = open(file.path(), Existing::Resume, &csv).unwrap_err();
        assert!(matches!(&refused, ResultsError::NotARow { line: 3, .. }), "{refused}");
        assert!(refused.to_string().contains("a quote is not closed"), "{refused}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), content);
    }

    #[test]
    fn rows_of_another_run_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut writer, _) = open(file.path(), Existing::Overwrite, &json("cats")).unwrap();
        writer.append(&failed("a")).unwrap();
        drop(writer);
        let refused = open(file.path(), Existing::Resume, &json("dogs")).unwrap_err().to_string();
        assert!(refused.contains("cats 1") && refused.contains("dogs 1"), "{refused}");
        std::fs::write(file.path(), "{\"file\": 1}\n").unwrap();
        let refused = open(file.path(), Existing::Resume, &json("cats")).unwrap_err();
        assert!(matches!(refused, ResultsError::NotARow { line: 1, .. }), "{refused}");
        std::fs::write(file.path(), "file,class_id,label,probability,error\na,1\n").unwrap();
        let refused = open(file.path(), Existing::Resume, &RowFormat::Csv { classes: 1 }).unwrap_err();
        assert!(matches!(refused, ResultsError::NotARow { line: 2, .. }), "{refused}");
    }
}
