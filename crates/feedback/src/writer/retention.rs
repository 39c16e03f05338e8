//! Which predictions are let go: the oldest without feedback, by number and by age. Those with feedback stay.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use super::predictions::millis;

/// The most that one transaction lets go of for either reason, so that feedback never waits long behind it; more than are
/// recorded in one, so that it keeps up.
const MOST: usize = 1024;

/// How many predictions are without feedback.
pub(super) fn unjudged(connection: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = connection.query_row("SELECT count(*) FROM predictions WHERE judged = 0", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Lets go of so many, oldest first. Gives back how many that were.
pub(super) fn surplus(connection: &Connection, surplus: usize) -> rusqlite::Result<usize> {
    if surplus == 0 {
        return Ok(0);
    }
    let oldest =
        "DELETE FROM predictions WHERE id IN (SELECT id FROM predictions WHERE judged = 0 ORDER BY id LIMIT ?)";
    connection.prepare_cached(oldest)?.execute([surplus.min(MOST) as i64])
}

/// Lets go of those that are older than `kept_for`. Gives back how many that were, and whether there may be more.
pub(super) fn too_old(connection: &Connection, now: SystemTime, kept_for: Duration) -> rusqlite::Result<(usize, bool)> {
    let Some(then) = now.checked_sub(kept_for) else { return Ok((0, false)) };
    let too_old = "DELETE FROM predictions WHERE id IN \
                   (SELECT id FROM predictions WHERE judged = 0 AND id < ? ORDER BY id LIMIT ?)";
    let gone = connection.prepare_cached(too_old)?.execute(params![first_id(then), MOST as i64])?;
    Ok((gone, gone == MOST))
}

/// The smallest UUID of version 7 that can have been made then: the milliseconds are its first six bytes (RFC 9562, 5.7).
fn first_id(time: SystemTime) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&millis(time).to_be_bytes()[2..]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_moment_lie_between_those_of_its_neighbours() {
        let millisecond = Duration::from_millis(1);
        let before = SystemTime::now();
        let id = uuid::Uuid::now_v7().into_bytes();
        assert!(first_id(before) <= id);
        assert!(id < first_id(SystemTime::now() + 2 * millisecond));
    }
}
