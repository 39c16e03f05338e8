//! Reads feedback, beside the writer or without one: a connection that can change nothing.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::OpenError;
use super::database;
use super::judged::{self, Judged};
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

impl Counted {
    /// One that no database knows.
    #[doc(hidden)]
    pub fn made_up(name: &str) -> Self {
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
        let mut statement = self.0.prepare(&judged::rows("f.note", "f.prediction = ?"))?;
        for id in ids {
            statement.query_row([id], judged::read).optional()?.map_or(Ok(()), &mut use_one)?;
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
        let (mut last, mut total) = (Vec::new(), 0);
        if let Some(row) = served_last(&self.0, name, version)? {
            let sql = "SELECT count(*) FROM feedback WHERE model = ?";
            let all: i64 = self.0.query_row(sql, [row], |row| row.get(0))?;
            total = usize::try_from(all).unwrap_or_default();
            // The notes would be most of it, and a sum has no use for them.
            let sql = judged::rows("NULL", "f.model = ? ORDER BY f.time DESC, f.prediction DESC LIMIT ?");
            let most = i64::try_from(window).unwrap_or(i64::MAX);
            last = self.0.prepare(&sql)?.query_map(params![row, most], judged::read)?.collect::<Result<_, _>>()?;
        }
        Ok(Summary::of(&last, total))
    }
}

/// The row of a model by its name and version. With other weights or labels there were others perhaps.
pub(super) fn served_last(connection: &Connection, name: &str, version: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM models WHERE name = ? AND version = ? ORDER BY turn DESC LIMIT 1";
    connection.query_row(sql, [name, version], |row| row.get(0)).optional()
}
