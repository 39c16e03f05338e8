//! The rows of predictions.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::super::record::Recorded;
use super::super::windows::LENGTH;

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

/// One of the first predictions of a model, kept to compare with.
pub(super) fn refer(connection: &Connection, model: i64, place: usize, of: (u32, f32)) -> rusqlite::Result<()> {
    let insert = "INSERT INTO reference (model, place, class_id, probability) VALUES (?, ?, ?, ?)";
    connection.prepare_cached(insert)?.execute(params![model, place as i64, of.0, of.1]).map(drop)
}

/// One of the last predictions of a model, so that after a start the last are the same. It takes the place of an older one.
pub(super) fn follow(connection: &Connection, model: i64, number: u64, of: (u32, f32)) -> rusqlite::Result<()> {
    let insert = "INSERT OR REPLACE INTO recent (model, place, number, class_id, probability) VALUES (?, ?, ?, ?, ?)";
    let place = number % LENGTH as u64;
    connection.prepare_cached(insert)?.execute(params![model, place as i64, number as i64, of.0, of.1]).map(drop)
}

/// Since 1970.
pub(in crate::feedback) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
