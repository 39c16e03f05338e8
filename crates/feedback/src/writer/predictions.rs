//! The rows of predictions, and of those that are kept to compare.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::super::record::Recorded;
use super::super::windows::LENGTH;
use super::watch::Watch;

/// Whether it was not there before.
pub(super) fn insert(
    connection: &Connection,
    recorded: &Recorded,
    model: i64,
    picture: Option<[u8; 32]>,
) -> rusqlite::Result<bool> {
    let (class_id, probability) = recorded.classes[0];
    let pair = |(class_id, probability): &(u32, f32)| [class_id.to_le_bytes(), probability.to_le_bytes()].concat();
    let top: Vec<u8> = recorded.classes.iter().flat_map(pair).collect();
    let insert = "INSERT INTO predictions (id, time, model, class_id, probability, top, picture) \
                  VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
    let values = params![recorded.id.as_bytes(), millis(recorded.time), model, class_id, probability, top, picture];
    let inserted = connection.prepare_cached(insert)?.execute(values)?;
    Ok(inserted == 1)
}

/// Where a model's next prediction goes, of those that are kept to compare. It moves on with what a transaction writes, and
/// what is watched follows once that is committed.
#[derive(Debug)]
pub(super) struct Places {
    /// How many of the first there are.
    references: usize,
    /// The number of the next one of the last.
    next: u64,
}

impl Places {
    pub(super) fn of(watch: &Watch) -> Self {
        Self { references: watch.references(), next: watch.next() }
    }

    /// Writes the next one down: its class and probability.
    pub(super) fn fill(&mut self, connection: &Connection, model: i64, of: (u32, f32)) -> rusqlite::Result<()> {
        if self.references < LENGTH {
            refer(connection, model, self.references, of)?;
            self.references += 1;
        }
        follow(connection, model, self.next, of)?;
        self.next += 1;
        Ok(())
    }
}

/// One of the first predictions of a model, kept to compare with.
fn refer(connection: &Connection, model: i64, place: usize, of: (u32, f32)) -> rusqlite::Result<()> {
    let insert = "INSERT INTO reference (model, place, class_id, probability) VALUES (?, ?, ?, ?)";
    connection.prepare_cached(insert)?.execute(params![model, place as i64, of.0, of.1]).map(drop)
}

/// One of the last predictions of a model, so that after a start the last are the same. It takes the place of an older one.
fn follow(connection: &Connection, model: i64, number: u64, of: (u32, f32)) -> rusqlite::Result<()> {
    let insert = "INSERT OR REPLACE INTO recent (model, place, number, class_id, probability) VALUES (?, ?, ?, ?, ?)";
    let place = number % LENGTH as u64;
    connection.prepare_cached(insert)?.execute(params![model, place as i64, number as i64, of.0, of.1]).map(drop)
}

/// Since 1970.
pub(in crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
