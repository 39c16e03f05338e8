//! Reads predictions and feedback through a read-only connection, with or without a running server.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::database::{self, latest_model_row};
use crate::error::{OpenError, ReadError};
use crate::image_files::StoredImage;
use crate::record::{FeedbackKind, LabelledPrediction};
use crate::schema::{decode_class_ids, from_unix_millis};
use crate::summary::Summary;

/// A read-only connection to the database.
#[derive(Debug)]
pub struct Reader(Connection);

/// A model with recorded predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedModel {
    pub(crate) row: i64,
    /// Name of the model.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// Number of stored predictions.
    pub predictions: usize,
    /// Number of stored predictions with feedback.
    pub labelled: usize,
}

impl Reader {
    /// Opens the folder of `--data-dir`.
    ///
    /// # Errors
    ///
    /// The folder has no database, or none that this program can read.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        database::open_to_read(data_dir).map(Self)
    }

    /// Returns all models, or those with the given name, sorted by name and version.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn models(&self, name: Option<&str>) -> Result<Vec<RecordedModel>, ReadError> {
        let sql = "SELECT id, name, version, (SELECT count(*) FROM predictions WHERE model = models.id), \
                   (SELECT count(*) FROM feedback WHERE model = models.id) \
                   FROM models WHERE ?1 IS NULL OR name = ?1 ORDER BY name, version, id";
        let read = |row: &Row<'_>| {
            let count = |at| row.get::<_, i64>(at).map(|count| usize::try_from(count).unwrap_or_default());
            let (predictions, labelled) = (count(3)?, count(4)?);
            Ok(RecordedModel { row: row.get(0)?, name: row.get(1)?, version: row.get(2)?, predictions, labelled })
        };
        let mut statement = self.0.prepare(sql)?;
        Ok(statement.query_map([name], read)?.collect::<Result<_, _>>()?)
    }

    /// Passes each prediction of a model with feedback to `callback`, oldest feedback first. It visits the predictions that have
    /// feedback when it begins, each once, with the feedback as of the visit. No statement is open while `callback` runs, so a
    /// slow callback does not prevent checkpoints, and the log of a running server stays small.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or `callback` failed.
    pub fn for_each_labelled(
        &self,
        model: &RecordedModel,
        mut callback: impl FnMut(LabelledPrediction) -> Result<(), std::io::Error>,
    ) -> Result<(), ReadError> {
        let all = "SELECT prediction FROM feedback WHERE model = ? ORDER BY time, prediction";
        let ids =
            self.0.prepare(all)?.query_map([model.row], |row| row.get(0))?.collect::<Result<Vec<[u8; 16]>, _>>()?;
        let mut statement = self.0.prepare(&select_labelled("f.note", "f.prediction = ?"))?;
        for id in ids {
            statement.query_row([id], read_labelled).optional()?.map_or(Ok(()), &mut callback)?;
        }
        Ok(())
    }

    /// Returns the histogram of the top-1 probabilities of a model's predictions, in tenths.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn confidence_histogram(&self, model: &RecordedModel) -> Result<[usize; 10], ReadError> {
        let sql =
            "SELECT min(9, cast(probability * 10 AS INTEGER)), count(*) FROM predictions WHERE model = ? GROUP BY 1";
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([model.row], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let mut tenths = [0; 10];
        for row in rows {
            let (tenth, count) = row?;
            let tenth = usize::try_from(tenth).ok().and_then(|tenth| tenths.get_mut(tenth));
            tenth.into_iter().for_each(|all| *all += usize::try_from(count).unwrap_or_default());
        }
        Ok(tenths)
    }

    /// Summarises the last `window` predictions with feedback of a model. For an unknown model, the summary is empty.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn summary(&self, name: &str, version: &str, window: usize) -> Result<Summary, ReadError> {
        let (mut last, mut total) = (Vec::new(), 0);
        if let Some(row) = latest_model_row(&self.0, name, version)? {
            let sql = "SELECT count(*) FROM feedback WHERE model = ?";
            let all: i64 = self.0.query_row(sql, [row], |row| row.get(0))?;
            total = usize::try_from(all).unwrap_or_default();
            // Notes are not read: they would be most of the data, and a summary does not use them.
            let sql = select_labelled("NULL", "f.model = ? ORDER BY f.time DESC, f.prediction DESC LIMIT ?");
            let limit = i64::try_from(window).unwrap_or(i64::MAX);
            last = self.0.prepare(&sql)?.query_map(params![row, limit], read_labelled)?.collect::<Result<_, _>>()?;
        }
        Ok(Summary::new(&last, total))
    }
}

/// Returns the statement that selects predictions with feedback by `condition`, for [`read_labelled`]. `note` is the expression
/// for the note.
fn select_labelled(note: &str, condition: &str) -> String {
    format!(
        "SELECT f.prediction, f.time, p.class_id, c.label, p.probability, p.top, f.verdict, f.true_id, t.label, {note}, \
         p.picture, k.extension \
         FROM feedback f JOIN predictions p ON p.id = f.prediction \
         LEFT JOIN classes c ON c.model = f.model AND c.class_id = p.class_id \
         LEFT JOIN classes t ON t.model = f.model AND t.class_id = f.true_id \
         LEFT JOIN pictures k ON k.sha256 = p.picture \
         WHERE {condition}"
    )
}

/// Reads a row of [`select_labelled`].
fn read_labelled(row: &Row<'_>) -> rusqlite::Result<LabelledPrediction> {
    let label = |at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
    let kind: String = row.get(6)?;
    let kind = FeedbackKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let true_id: Option<u32> = row.get(7)?;
    let sha256: Option<[u8; 32]> = row.get(10)?;
    let extension: Option<String> = row.get(11)?;
    Ok(LabelledPrediction {
        prediction: Uuid::from_bytes(row.get(0)?),
        time: from_unix_millis(row.get(1)?),
        predicted: (row.get(2)?, label(3)?),
        probability: row.get(4)?,
        top_classes: decode_class_ids(&row.get::<_, Vec<u8>>(5)?),
        // The schema allows no other value.
        kind: kind.unwrap_or(FeedbackKind::Wrong),
        true_class: true_id.map(|class_id| Ok::<_, rusqlite::Error>((class_id, label(8)?))).transpose()?,
        note: row.get(9)?,
        image_was_stored: sha256.is_some(),
        image: sha256.zip(extension).map(|(sha256, extension)| StoredImage { sha256, extension }),
    })
}
