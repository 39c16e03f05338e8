//! A prediction that has feedback, and how it is read from the database.

use std::time::{Duration, SystemTime};

use rusqlite::Row;
use uuid::Uuid;

use super::picture::Picture;
use super::record::Verdict;

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
    /// One that no database knows.
    #[doc(hidden)]
    pub fn made_up(time: SystemTime, predicted: (u32, &str), truth: Option<(u32, &str)>, sha256: [u8; 32]) -> Self {
        let named = |(class_id, label): (u32, &str)| (class_id, label.to_string());
        Self {
            prediction: Uuid::now_v7(),
            time,
            predicted: named(predicted),
            probability: 0.5,
            told: vec![predicted.0],
            verdict: if truth.is_some() { Verdict::Label } else { Verdict::Wrong },
            truth: truth.map(named),
            note: None,
            had_picture: true,
            picture: Some(Picture { sha256, extension: "png".to_string() }),
        }
    }
}

impl Judged {
    /// Whether the most probable class was the true one.
    pub fn is_right(&self) -> bool {
        self.truth.as_ref().is_some_and(|(class_id, _)| *class_id == self.predicted.0)
    }
}

/// The judged predictions of which that holds, as [`read`] reads them.
pub(super) fn rows(note: &str, condition: &str) -> String {
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

/// One of [`rows`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Judged> {
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
