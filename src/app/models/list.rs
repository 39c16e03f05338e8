//! The table of `kiln models list`.

use std::time::Duration;

use model_import::import::terminal_text;

use kiln_inference::model::{VersionLabel, Model};
use crate::store::{Labels, Manifest, Store, StoreError};

/// A line a version, in columns.
pub(super) fn list(store: &Store) -> Result<String, StoreError> {
    let mut rows = vec![["MODEL", "VERSION", "LABELS", "WEIGHTS", "AGE", "ORIGIN"].map(String::from)];
    for model in Model::all() {
        let (name, built_in) = (model.spec().name, model.spec().version);
        let labels = store.labels(name)?;
        let words = |version: &str| words(&labels, version, built_in);
        let own = [name, built_in, &words(built_in), &short(&model.weights_digest()), "", "built in"];
        rows.push(own.map(String::from));
        for (version, manifest) in store.versions(&model)? {
            let [digest, age, origin] = match manifest {
                Ok(manifest) => [short(&manifest.weights), age(&manifest), manifest.origin],
                Err(error) => [String::new(), String::new(), format!("NOT SERVED: {error}")],
            };
            // The labels are the built-in version's where both have a name.
            let words = if version == built_in { String::new() } else { words(&version) };
            rows.push([name.to_string(), version, words, digest, age, origin]);
        }
    }
    Ok(table(&rows))
}

/// The labels of a version, and which part of the requests a canary has.
fn words(labels: &Labels, version: &str, built_in: &str) -> String {
    let share = labels.canary.as_ref().map_or(0.0, |canary| canary.share.percents());
    let word = |label: VersionLabel| match label {
        VersionLabel::Canary => format!("canary {share}%"),
        other => other.as_str().to_string(),
    };
    let mut words: Vec<String> = labels.of(version, built_in).into_iter().map(word).collect();
    words.extend((labels.previous.as_deref() == Some(version)).then(|| "previous".to_string()));
    words.join(", ")
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// In its two largest units.
fn age(manifest: &Manifest) -> String {
    let Some(age) = manifest.age() else { return String::new() };
    let text = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn table(rows: &[[String; 6]]) -> String {
    // What came from files does nothing to the terminal.
    let shown = |cell: &String| terminal_text(cell).replace(['\n', '\t'], " ");
    let rows: Vec<[String; 6]> = rows.iter().map(|row| row.each_ref().map(shown)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = widths.iter().zip(row).map(|(width, cell)| format!("{cell:width$}  "));
        format!("{}{}\n", cells.collect::<String>(), row[5])
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_moves_the_cursor() {
        let row = |cell: &str| [cell; 6].map(String::from);
        let shown = table(&[row("A"), row("\x1b[2Jb\u{9b}1m\r\n\u{202e}c")]);
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(shown.lines().last().unwrap().starts_with("\u{fffd}[2Jb\u{fffd}1m\u{fffd} \u{fffd}c"), "{shown:?}");
    }
}
