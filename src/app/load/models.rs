//! The models of the configuration: built-in ones, or those of `--model-file`; and their stable versions.

use std::path::Path;
use std::time::Instant;

use kiln_inference::model::Model;
use kiln_inference::model_file::{self, FileOptions, ModelFile};
use model_import::import::check_name;

use super::error::LoadError;
use super::store;
use crate::config::Config;
use crate::model_store::ModelStore;
use crate::shell::models_command;

/// Returns the models of the configuration except those of the model repository: those of `--model-file` in that order,
/// and the built-in model that `--model` names; or, without files and without a repository, all built-in models by name.
/// Reads files.
pub(in crate::app) fn models(config: &Config) -> Result<Vec<Model>, LoadError> {
    let files = config.model_files.iter().map(|path| open_file(path, &config.model_file_options));
    let mut models = files.collect::<Result<Vec<Model>, LoadError>>()?;
    let names: Vec<&str> = models.iter().map(Model::name).collect();
    let built_in = built_in_beside(config, &names)?;
    models.extend(built_in);
    Ok(models)
}

/// Returns the built-in models that are served beside the models of `--model-file`, which have the names `files`.
///
/// # Errors
///
/// Two files have the same name, or no model has the name of `--model`.
pub(in crate::app) fn built_in_beside(config: &Config, files: &[&str]) -> Result<Vec<Model>, LoadError> {
    if config.model_files.is_empty() && config.model_repository.is_none() {
        return Ok(Model::all().collect());
    }
    let is_taken = |(index, name): &(usize, &&str)| files[..*index].contains(name);
    if let Some((_, name)) = files.iter().enumerate().find(is_taken) {
        return Err(LoadError::SameName(name.to_string()));
    }
    let is_known = |name: &String| files.contains(&name.as_str()) || is_in_repository(config, name);
    let Some(name) = config.model.as_ref().filter(|name| !is_known(name)) else { return Ok(Vec::new()) };
    if let Some(model) = Model::named(name) {
        return Ok(vec![model]);
    }
    let known = files.iter().copied().chain(Model::built_in_names());
    let mut known = known.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    if config.model_repository.is_some() {
        known.push_str(", or the name of a folder in --models");
    }
    Err(LoadError::UnknownModel { name: name.clone(), known })
}

/// Returns whether the model repository has a folder for this model.
fn is_in_repository(config: &Config, name: &str) -> bool {
    let folder = config.model_repository.as_ref().filter(|_| check_name(name).is_ok());
    folder.is_some_and(|folder| folder.join(name).is_dir())
}

/// Reads a model from a file, and logs what was assumed.
fn open_file(path: &Path, options: &FileOptions) -> Result<Model, LoadError> {
    let started = Instant::now();
    let file = model_file::open(path, options)?;
    log_opened(&file, started);
    Ok(file.model)
}

/// Logs what was found and assumed about a model.
pub(in crate::app) fn log_opened(file: &ModelFile, started: Instant) {
    let name = file.model.name();
    for warning in &file.warnings {
        tracing::warn!(model = name, "{warning}");
    }
    for note in &file.notes {
        tracing::info!(model = name, "{note}");
    }
    let (labels, preprocess) = (&file.labels_origin, &file.preprocess_origin);
    let took_ms = started.elapsed().as_millis() as u64;
    tracing::info!(model = name, file = %file.path.display(), %labels, %preprocess, took_ms, "model file opened");
}

/// Returns the model of requests that name none: the one that `--model` names, or else the first of `models`.
/// Logs it if there is a choice.
///
/// # Panics
///
/// Panics if `models` is empty or does not have the model of `--model`. [`models`] returns neither.
pub(in crate::app) fn default_model(config: &Config, models: &[Model]) -> Model {
    let is_named = |model: &&Model| config.model.as_ref().is_none_or(|name| model.name() == name);
    let model = models.iter().find(is_named).expect("the default model is one of the models");
    if config.model.is_none() && models.len() > 1 {
        tracing::info!(
            model = model.name(),
            "requests without a model name use the first model; set --model to change it"
        );
    }
    model.clone()
}

/// Returns the model of a command that runs one model: the default one, in its stable version. Reads files.
pub(in crate::app) fn selected_model(config: &Config) -> Result<Model, LoadError> {
    stable_version(config, &default_model(config, &models(config)?))
}

/// Returns the models of a command that compares models: all of `--model-file`, unless `--model` names one; or else the
/// default model. Reads files.
pub(in crate::app) fn selected_models(config: &Config) -> Result<Vec<Model>, LoadError> {
    match config.model_files.is_empty() || config.model.is_some() {
        true => Ok(vec![selected_model(config)?]),
        false => models(config),
    }
}

/// Returns the stable version of a model. A model that was read from a file has one version. Reads files.
pub(in crate::app) fn stable_version(config: &Config, model: &Model) -> Result<Model, LoadError> {
    let Some(store) = store(config).ok().filter(|_| model.is_built_in()) else { return Ok(model.clone()) };
    let version = store.stable(model)?;
    store.read(model, &version).map_err(|error| unusable_stable_version(model, &version, &error.into(), store.folder()))
}

/// Returns the error for a stable version that cannot be used.
pub(in crate::app) fn unusable_stable_version(
    model: &Model,
    version: &str,
    reason: &LoadError,
    store: &Path,
) -> LoadError {
    LoadError::Stable {
        model: model.name().to_string(),
        version: version.to_string(),
        reason: reason.to_string().trim_end_matches('.').to_string(),
        store: store.to_path_buf(),
    }
}

/// Why a model store has no effect, and the command that changes it.
#[derive(Debug)]
pub(in crate::app) struct EmptyStore {
    pub(in crate::app) reason: String,
    pub(in crate::app) next: String,
}

/// Returns why a store has no version of a model of this program; `None` if it has one, or if it cannot be read, which is
/// an error elsewhere. Reads folders.
pub(in crate::app) fn empty_store(store: &ModelStore) -> Option<EmptyStore> {
    let folder = store.folder();
    let may_have_version = |model: Model| store.versions(&model).map_or(true, |versions| !versions.is_empty());
    if Model::all().any(may_have_version) {
        return None;
    }
    let reason = match folder.is_dir() {
        true => format!("the model store {} has no version of a model of this program", folder.display()),
        false => format!("the model store {} does not exist", folder.display()),
    };
    let name = Model::all().next().map_or_else(String::new, |model| model.name().to_string());
    Some(EmptyStore { reason, next: models_command(&format!("add {name} WEIGHTS.bpk"), folder) })
}

#[cfg(test)]
mod tests {
    use kiln_inference::model::Weights;

    use super::*;

    #[test]
    fn store_without_versions_is_described_with_the_next_command() {
        let folder = tempfile::tempdir().unwrap();
        let absent = ModelStore::open(folder.path().join("absent"));
        let described = empty_store(&absent).unwrap();
        assert!(described.reason.ends_with("absent does not exist"), "{described:?}");
        let store = ModelStore::open(folder.path());
        let described = empty_store(&store).unwrap();
        assert!(described.reason.ends_with("has no version of a model of this program"), "{described:?}");
        let end = format!("WEIGHTS.bpk --model-store {}", folder.path().display());
        assert!(described.next.starts_with("kiln models add ") && described.next.ends_with(&end), "{described:?}");
        let model = Model::all().next().unwrap();
        store.add(&model, &Weights::new(vec![1, 2, 3]), "a test", None).unwrap();
        assert!(empty_store(&store).is_none());
    }
}
