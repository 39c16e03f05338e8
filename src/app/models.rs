//! `kiln models`: the commands on the versions in the model store. They need no running server.

use std::path::Path;
use std::time::Duration;

use model_import::import::terminal_line;

use super::load::{self, NoStore};
use crate::config::Config;
use crate::model_store::{
    Canary, Labels, Manifest, ModelStore, StoreCommand, StoreError, check_version, read_weights, write_weights,
};
use crate::shell::models_command;
use kiln_inference::model::{Model, VersionLabel};
use kiln_inference::{StartError, reference_logits_on_cpu};

/// The error of `kiln models`.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// No model store is configured.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// The program has no model of that name.
    #[error("there is no model '{name}' in this program; there is {}.", Model::built_in_names().join(", "))]
    NoModel {
        /// The requested name.
        name: String,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The weights do not fit the model, or their logits are not finite.
    #[error("cannot add {file}: {reason}")]
    UnusableWeights {
        /// The file.
        file: String,
        /// The cause.
        reason: StartError,
    },
}

/// Runs a command and returns its report, which also names the next steps.
///
/// # Errors
///
/// The command failed and changed nothing.
pub fn models(command: StoreCommand, config: &Config) -> Result<String, ModelsError> {
    let model = |name: &str| Model::named(name).ok_or_else(|| ModelsError::NoModel { name: name.to_string() });
    let store = || load::store(config);
    match &command {
        StoreCommand::List => Ok(list(&store()?)?),
        StoreCommand::Add { model: name, file, version } => {
            add(config, &store()?, &model(name)?, file, version.as_deref())
        }
        // The export of the built-in version needs no store.
        StoreCommand::Export { model: name, version, out } => export(config, &model(name)?, version.as_deref(), out),
        StoreCommand::Promote { model: name, version } => {
            let store = store()?;
            let labels = store.promote(&model(name)?, version)?;
            Ok(promotion_report(&store, name, version, labels.previous.as_deref()))
        }
        StoreCommand::Rollback { model: name } => {
            let (store, model) = (store()?, model(name)?);
            let labels = store.roll_back(&model)?;
            let stable = labels.stable_or(model.original_version());
            Ok(promotion_report(&store, name, stable, labels.previous.as_deref()))
        }
        StoreCommand::Canary { model: name, canary } => {
            let store = store()?;
            store.set_canary(&model(name)?, canary.clone())?;
            Ok(match canary {
                Some(Canary { version, share }) => format!(
                    "{name} {version} serves {}% of the requests that name no version. Next:\n{}",
                    share.percent(),
                    next_commands(
                        &store,
                        &[
                            (format!("promote {name} {version}"), "makes it the stable version"),
                            (format!("canary {name} --off"), "ends the canary"),
                        ]
                    )
                ),
                None => format!("{name} has no canary now.\n"),
            })
        }
        StoreCommand::Shadow { model: name, version } => {
            let store = store()?;
            store.set_shadow(&model(name)?, version.as_deref())?;
            Ok(match version {
                Some(version) => format!(
                    "{name} {version} is compared with the stable version; kiln_shadow_compared_total counts how often they \
                     agree. Next:\n{}",
                    next_commands(&store, &[(format!("shadow {name} --off"), "ends the comparison")])
                ),
                None => format!("{name} has no shadow now.\n"),
            })
        }
        StoreCommand::Remove { model: name, version } => {
            store()?.remove(&model(name)?, version)?;
            Ok(format!("{name} {version} is deleted.\n"))
        }
    }
}

fn promotion_report(store: &ModelStore, name: &str, version: &str, previous: Option<&str>) -> String {
    let rollback = previous.map_or_else(
        || "There is no version to go back to.\n".to_string(),
        |previous| {
            let effect = format!("goes back to {previous}");
            format!("Next:\n{}", next_commands(store, &[(format!("rollback {name}"), effect.as_str())]))
        },
    );
    format!(
        "{name} {version} is the stable version. Servers that use this store begin to load it within two seconds, and serve \
         the previous version until it is ready. {rollback}"
    )
}

/// Returns one line for each subcommand of `kiln models` that may come next: the complete command, and its effect.
fn next_commands(store: &ModelStore, commands: &[(String, &str)]) -> String {
    let line = |(arguments, effect): &(String, &str)| {
        format!("    {}    # {effect}\n", models_command(arguments, store.folder()))
    };
    commands.iter().map(line).collect()
}

/// Adds weights with their logits of the synthetic image, after a check that they fit the model.
fn add(
    config: &Config,
    store: &ModelStore,
    model: &Model,
    file: &Path,
    version: Option<&str>,
) -> Result<String, ModelsError> {
    // The name is checked before the inference, which takes a while.
    version.map_or(Ok(()), check_version)?;
    let weights = read_weights(file, model)?;
    let unusable = |reason| ModelsError::UnusableWeights { file: file.display().to_string(), reason };
    let candidate = model.with_weights(version.unwrap_or("candidate"), weights.clone());
    let reference = reference_logits_on_cpu(&candidate, &config.inference).map_err(unusable)?;
    let origin = format!("added from {}", file.display());
    let added = match version {
        Some(version) => {
            store.add_as(model, version, &weights, &origin, Some(&reference)).map(|()| version.to_string())
        }
        None => store.add(model, &weights, &origin, Some(&reference)),
    }?;
    let name = model.name();
    let next = [
        (format!("shadow {name} {added}"), "compares it with the stable version"),
        (format!("canary {name} {added} --share 10%"), "lets it serve some requests"),
        (format!("promote {name} {added}"), "lets it serve all requests"),
    ];
    Ok(format!("{name} {added} is in the store, without a label. Next:\n{}", next_commands(store, &next)))
}

fn export(config: &Config, model: &Model, version: Option<&str>, out: &Path) -> Result<String, ModelsError> {
    let name = model.name();
    let add = match &config.model_store {
        Some(store) => models_command(&format!("add {name} FILE"), store),
        None => format!("kiln models add {name} FILE --model-store FOLDER"),
    };
    let version = match (version, load::store(config)) {
        (None, Err(_)) => model.clone(),
        (Some(version), Err(_)) if version == model.original_version() => model.clone(),
        (Some(_), Err(missing)) => return Err(missing.into()),
        (Some(version), Ok(store)) => store.read(model, version)?,
        (None, Ok(store)) => store.read(model, &store.stable(model)?)?,
    };
    let weights = version.weights().expect("a built-in model has weights");
    write_weights(out, &weights)?;
    Ok(format!(
        "{} has the weights of {name} {}: {} bytes in Burnpack. '{add}' adds such a file.\n",
        out.display(),
        version.version(),
        weights.bytes().len()
    ))
}

/// Returns the table of `kiln models list`, one line a version.
fn list(store: &ModelStore) -> Result<String, StoreError> {
    let mut rows = vec![["MODEL", "VERSION", "LABELS", "WEIGHTS", "AGE", "ORIGIN"].map(String::from)];
    for model in Model::all() {
        let (name, built_in) = (model.name(), model.original_version());
        let labels = store.labels(name)?;
        let label_list = |version: &str| label_list(&labels, version, built_in);
        let digest = short_digest(&model.weights_digest());
        rows.push([name, built_in, &label_list(built_in), &digest, "", "built in"].map(String::from));
        for (version, manifest) in store.versions(&model)? {
            let [digest, age, origin] = match manifest {
                Ok(manifest) => [short_digest(&manifest.weights), format_age(&manifest), manifest.origin],
                Err(error) => [String::new(), String::new(), format!("NOT SERVED: {error}")],
            };
            // If a version in the store has the name of the built-in version, the labels belong to the built-in one.
            let labels = if version == built_in { String::new() } else { label_list(&version) };
            rows.push([name.to_string(), version, labels, digest, age, origin]);
        }
    }
    Ok(format_table(&rows))
}

/// Returns the labels of a version, with the share of a canary.
fn label_list(labels: &Labels, version: &str, built_in: &str) -> String {
    let share = labels.canary.as_ref().map_or(0.0, |canary| canary.share.percent());
    let text = |label: VersionLabel| match label {
        VersionLabel::Canary => format!("canary {share}%"),
        other => other.as_str().to_string(),
    };
    let mut all: Vec<String> = labels.of(version, built_in).into_iter().map(text).collect();
    all.extend((labels.previous.as_deref() == Some(version)).then(|| "previous".to_string()));
    all.join(", ")
}

/// Returns the first 12 hexadecimal digits of a digest.
fn short_digest(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// Returns the age of a version in its two largest units.
fn format_age(manifest: &Manifest) -> String {
    let Some(age) = manifest.age() else { return String::new() };
    let text = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn format_table(rows: &[[String; 6]]) -> String {
    // Text from files must not control the terminal.
    let rows: Vec<[String; 6]> = rows.iter().map(|row| row.each_ref().map(|cell| terminal_line(cell))).collect();
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
    fn table_cells_do_not_control_the_terminal() {
        let row = |cell: &str| [cell; 6].map(String::from);
        let table = format_table(&[row("A"), row("\x1b[2Jb\u{9b}1m\r\n\u{202e}c")]);
        assert_eq!(table.lines().count(), 2, "{table:?}");
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
        assert!(table.lines().last().unwrap().starts_with("\u{fffd}[2Jb\u{fffd}1m\u{fffd} \u{fffd}c"), "{table:?}");
    }
}
