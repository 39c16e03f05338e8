//! Reads feedback, beside the writer or without one: a connection that can change nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::OpenError;
use super::database;
use super::picture::Picture;
use super::record::Verdict;
use super::summary::Summary;

/// A connection that reads.
#[derive(Debug)]
pub struct Reader(Connection);

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite.
    #[error("feedback cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// What the rows were for went wrong.
    #[error(transparent)]
    Use(#[from] std::io::Error),
    /// The server ends.
    #[error("reading was ended")]
    Ended,
}

/// A prediction that has feedback.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The prediction's id.
    pub prediction: Uuid,
    /// When the feedback was given.
    pub time: SystemTime,
    /// The most probable class and its name.
    pub predicted: (u32, String),
    /// Its probability.
    pub probability: f32,
    /// All classes that were told, most probable first.
    pub told: Vec<u32>,
    /// How feedback was given.
    pub verdict: Verdict,
    /// The true class and its name, where it is known.
    pub truth: Option<(u32, String)>,
    /// What somebody wrote.
    pub note: Option<String>,
    /// Whether its picture was kept once.
    pub had_picture: bool,
    /// The picture, if it still is.
    pub picture: Option<Picture>,
}

impl Judged {
    /// Whether the most probable class was the true one.
    pub fn is_right(&self) -> bool {
        self.truth.as_ref().is_some_and(|(class_id, _)| *class_id == self.predicted.0)
    }
}

/// A model that has predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub(super) row: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Predictions that are kept.
    pub predictions: usize,
    /// Those with feedback.
    pub judged: usize,
}

#[cfg(test)]
impl Counted {
    /// One that no database knows.
    pub(crate) fn made_up(name: &str) -> Self {
        Self { row: 0, name: name.to_string(), version: "1".to_string(), predictions: 0, judged: 0 }
    }
}

impl Reader {
    /// Opens the folder of `--data-dir`.
    ///
    /// # Errors
    ///
    /// There is nothing, or nothing that this program can read.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        database::open_to_read(folder).map(Self)
    }

    /// Every model, or those of a name, by name and version.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn models(&self, name: Option<&str>) -> Result<Vec<Counted>, ReadError> {
        let sql = "SELECT id, name, version, (SELECT count(*) FROM predictions WHERE model = models.id), \
                   (SELECT count(*) FROM feedback WHERE model = models.id) \
                   FROM models WHERE ?1 IS NULL OR name = ?1 ORDER BY name, version, id";
        let read = |row: &Row<'_>| {
            let count = |at| row.get::<_, i64>(at).map(|count| usize::try_from(count).unwrap_or_default());
            let (predictions, judged) = (count(3)?, count(4)?);
            Ok(Counted { row: row.get(0)?, name: row.get(1)?, version: row.get(2)?, predictions, judged })
        };
        let mut statement = self.0.prepare(sql)?;
        Ok(statement.query_map([name], read)?.collect::<Result<_, _>>()?)
    }

    /// Hands the judged predictions of a model to `use_one`, oldest feedback first: each of those that had feedback when this
    /// began, once, with what is said of it when its turn comes. Nothing is open while `use_one` runs: however long it takes,
    /// a server's log does not grow on its account.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or `use_one` has failed.
    pub fn each(
        &self,
        model: &Counted,
        mut use_one: impl FnMut(Judged) -> Result<(), std::io::Error>,
    ) -> Result<(), ReadError> {
        let all = "SELECT prediction FROM feedback WHERE model = ? ORDER BY time, prediction";
        let ids =
            self.0.prepare(all)?.query_map([model.row], |row| row.get(0))?.collect::<Result<Vec<[u8; 16]>, _>>()?;
        let mut statement = self.0.prepare(&rows("f.note", "f.prediction = ?"))?;
        for id in ids {
            statement.query_row([id], judged).optional()?.map_or(Ok(()), &mut use_one)?;
        }
        Ok(())
    }

    /// How many of a model's predictions have a probability in each tenth.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn confidence(&self, model: &Counted) -> Result<[usize; 10], ReadError> {
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

    /// How good the last `window` judged predictions were; of none for a model that nothing is known of.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn summary(&self, name: &str, version: &str, window: usize) -> Result<Summary, ReadError> {
        let (mut judged, mut total) = (Vec::new(), 0);
        if let Some(row) = served_last(&self.0, name, version)? {
            let sql = "SELECT count(*) FROM feedback WHERE model = ?";
            let all: i64 = self.0.query_row(sql, [row], |row| row.get(0))?;
            total = usize::try_from(all).unwrap_or_default();
            // The notes would be most of it, and a sum has no use for them.
            let sql = rows("NULL", "f.model = ? ORDER BY f.time DESC, f.prediction DESC LIMIT ?");
            let most = i64::try_from(window).unwrap_or(i64::MAX);
            judged = self.0.prepare(&sql)?.query_map(params![row, most], self::judged)?.collect::<Result<_, _>>()?;
        }
        Ok(Summary::of(&judged, total))
    }
}

/// The judged predictions of which that holds, as [`judged`] reads them.
fn rows(note: &str, condition: &str) -> String {
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

/// The row of a model by its name and version. With other weights or labels there were others perhaps.
pub(super) fn served_last(connection: &Connection, name: &str, version: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM models WHERE name = ? AND version = ? ORDER BY turn DESC LIMIT 1";
    connection.query_row(sql, [name, version], |row| row.get(0)).optional()
}

fn judged(row: &Row<'_>) -> rusqlite::Result<Judged> {
    let label = |at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
    let word: String = row.get(6)?;
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.word() == word);
    let truth: Option<u32> = row.get(7)?;
    let sha256: Option<[u8; 32]> = row.get(10)?;
    let extension: Option<String> = row.get(11)?;
    let time: i64 = row.get(1)?;
    Ok(Judged {
        prediction: Uuid::from_bytes(row.get(0)?),
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(time.unsigned_abs()),
        predicted: (row.get(2)?, label(3)?),
        probability: row.get(4)?,
        told: told(&row.get::<_, Vec<u8>>(5)?),
        // The database takes no other word.
        verdict: verdict.unwrap_or(Verdict::Wrong),
        truth: truth.map(|class_id| Ok::<_, rusqlite::Error>((class_id, label(8)?))).transpose()?,
        note: row.get(9)?,
        had_picture: sha256.is_some(),
        picture: sha256.zip(extension).map(|(sha256, extension)| Picture { sha256, extension }),
    })
}

/// The classes in what `top` holds: an index and a probability each.
fn told(top: &[u8]) -> Vec<u32> {
    top.as_chunks::<8>().0.iter().map(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d])).collect()
}
