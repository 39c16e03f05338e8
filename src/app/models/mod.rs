//! `kiln models`: versions in the store, with a server or without. `list.rs` shows them.

mod list;

use std::path::Path;

use super::load::{self, NoStore};
use crate::config::Config;
use kiln_inference::{StartError, reference_logits_on_cpu};
use kiln_inference::model::Model;
use crate::store::{Order, Store, StoreError, check_version, read_weights, write_weights};

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// There is no folder to work in.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// The program has no such graph.
    #[error("there is no model '{name}' in this program; there is {}.", Model::all().map(|model| model.spec().name).collect::<Vec<_>>().join(", "))]
    NoModel {
        /// What was asked for.
        name: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The weights do not do.
    #[error("{file} is not taken: {reason}")]
    Unfit {
        /// The file.
        file: String,
        /// Why not.
        reason: StartError,
    },
}

/// Does it, and tells what was done and what may be next.
///
/// # Errors
///
/// It cannot be done; nothing has changed then.
pub fn models(order: Order, config: &Config) -> Result<String, ModelsError> {
    let model = |name: &str| Model::named(name).ok_or_else(|| ModelsError::NoModel { name: name.to_string() });
    let store = || load::store(config);
    match &order {
        Order::List => Ok(list::list(&store()?)?),
        Order::Add { model: name, file, version } => add(config, &store()?, &model(name)?, file, version.as_deref()),
        // It may do without a store.
        Order::Export { model: name, version, out } => export(config, &model(name)?, version.as_deref(), out),
        Order::Promote { model: name, version } => {
            let labels = store()?.promote(&model(name)?, version)?;
            Ok(promoted(name, version, labels.previous.as_deref()))
        }
        Order::Rollback { model: name } => {
            let (store, model) = (store()?, model(name)?);
            let labels = store.roll_back(&model)?;
            Ok(promoted(name, labels.stable_or(model.spec().version), labels.previous.as_deref()))
        }
        Order::Canary { model: name, canary } => {
            store()?.set_canary(&model(name)?, canary.clone())?;
            Ok(match canary {
                Some(canary) => format!(
                    "{name} {} answers {}% of the requests that name no version. 'kiln models promote {name} {0}' makes it \
                     stable, 'kiln models canary {name} --off' ends it.\n",
                    canary.version,
                    canary.share.percents()
                ),
                None => format!("{name} has no canary any more.\n"),
            })
        }
        Order::Shadow { model: name, version } => {
            store()?.set_shadow(&model(name)?, version.as_deref())?;
            Ok(match version {
                Some(version) => format!(
                    "{name} {version} is compared with the stable version; kiln_shadow_compared_total counts how often they \
                     agree. 'kiln models shadow {name} --off' ends it.\n"
                ),
                None => format!("{name} has no shadow any more.\n"),
            })
        }
        Order::Remove { model: name, version } => {
            store()?.remove(&model(name)?, version)?;
            Ok(format!("{name} {version} is deleted.\n"))
        }
    }
}

fn promoted(name: &str, version: &str, previous: Option<&str>) -> String {
    let back = previous.map_or_else(
        || "There is no version to go back to.".to_string(),
        |previous| format!("'kiln models rollback {name}' goes back to {previous}."),
    );
    format!(
        "{name} {version} is the stable version. Servers on this store begin to load it within two seconds, and go on with \
         what they had until it is up. {back}\n"
    )
}

/// Weights are taken in once they have proved to fit, and with their logits of the synthetic picture.
fn add(
    config: &Config,
    store: &Store,
    model: &Model,
    file: &Path,
    version: Option<&str>,
) -> Result<String, ModelsError> {
    // Before the work, which takes a while.
    version.map_or(Ok(()), check_version)?;
    let weights = read_weights(file, model)?;
    let unfit = |reason| ModelsError::Unfit { file: file.display().to_string(), reason };
    let candidate = model.with_weights(version.unwrap_or("candidate"), weights.clone());
    let golden = reference_logits_on_cpu(&candidate, &config.inference).map_err(unfit)?;
    let origin = format!("added from {}", file.display());
    let added = match version {
        Some(version) => store.add_as(model, version, &weights, &origin, Some(&golden)).map(|()| version.to_string()),
        None => store.add(model, &weights, &origin, Some(&golden)),
    }?;
    let name = model.spec().name;
    Ok(format!(
        "{name} {added} is in the store, without a label. Next: 'kiln models shadow {name} {added}' compares it in silence, \
         'kiln models canary {name} {added} --share 10%' lets it answer some requests, 'kiln models promote {name} {added}' all.\n"
    ))
}

fn export(config: &Config, model: &Model, version: Option<&str>, out: &Path) -> Result<String, ModelsError> {
    let name = model.spec().name;
    let version = match (version, load::store(config)) {
        (None, Err(_)) => model.clone(),
        (Some(version), Err(_)) if version == model.spec().version => model.clone(),
        (Some(_), Err(missing)) => return Err(missing.into()),
        (Some(version), Ok(store)) => store.read(model, version)?,
        (None, Ok(store)) => store.read(model, &store.stable(model)?)?,
    };
    let weights = version.weights();
    write_weights(out, &weights)?;
    Ok(format!(
        "{} has the weights of {name} {}: {} bytes in Burnpack. 'kiln models add {name} FILE' takes in such a file.\n",
        out.display(),
        version.version(),
        weights.bytes().len()
    ))
}
