//! The models that a server would serve: whether each can be read, and where its class names come from.

use std::path::Path;

use kiln_inference::model::{Model, Task};
use kiln_inference::model_file::{self, ModelFile};
use model_import::import::shell_path;

use super::super::load::{self, LoadError};
use super::super::model_repository::{OpenedVersions, open_versions};
use super::finding::Finding;
use crate::config::Config;
use crate::shell::models_command;

const CHECK: &str = "model";

/// The findings, and what is known of the models that can be read.
#[derive(Debug, Default)]
pub(super) struct Models {
    pub(super) findings: Vec<Finding>,
    /// Number of versions.
    pub(super) versions: usize,
    /// Size of their weights in bytes, as far as it is known.
    pub(super) bytes: u64,
}

/// Checks the models.
pub(super) fn check(config: &Config) -> Models {
    let (mut models, mut names) = (Models::default(), Vec::new());
    for path in &config.model_files {
        let opened = model_file::open(path, &config.model_file_options).map_err(|error| error.to_string());
        names.extend(opened.as_ref().ok().map(|file| file.model.name().to_string()));
        models.add_file(path, opened, true);
    }
    let built_in = models.built_in(config, &names);
    if let Some(folder) = &config.model_repository {
        let has_others = !names.is_empty() || !built_in.is_empty();
        models.add_repository(folder, config, has_others);
    }
    for model in built_in {
        models.add_built_in(&model, config);
    }
    models
}

impl Models {
    /// Returns the built-in models that a server would serve beside the files of these names. Checks the names of all models.
    fn built_in(&mut self, config: &Config, names: &[String]) -> Vec<Model> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let is_complete = names.len() == config.model_files.len();
        match load::built_in_beside(config, &names) {
            Ok(models) => return models,
            Err(error @ LoadError::SameName(_)) => {
                let fix = "rename one of the files, or set 'name' in the model.toml beside it";
                self.findings.push(Finding::problem(CHECK, error.to_string(), fix));
            }
            // A file that cannot be opened may have the name.
            Err(_) if !is_complete => {}
            Err(error) => {
                self.findings.push(Finding::problem(CHECK, error.to_string(), "--model with one of these names"))
            }
        }
        Vec::new()
    }

    /// Adds the versions of all models in a repository. The server starts if one of them can be loaded, or if it has other models.
    fn add_repository(&mut self, folder: &Path, config: &Config, has_others: bool) {
        let shown = folder.display();
        let OpenedVersions { versions, invalid } = match open_versions(folder, &config.model_file_options) {
            Ok(opened) => opened,
            Err(error) => {
                let fix = "--models with the path of a folder that this user may read";
                return self.findings.push(Finding::problem(CHECK, format!("{shown} cannot be read: {error}"), fix));
            }
        };
        let is_required = !has_others && !versions.iter().any(|(_, opened)| opened.is_ok());
        if versions.is_empty() && invalid.is_empty() {
            let copy = format!("copy a model to {}", shell_path(&folder.join("NAME/1/model.onnx")));
            self.findings.push(failure(is_required, format!("{shown} has no model"), copy));
        }
        for (path, reason) in invalid {
            let (reason, step) = reason.rsplit_once(". ").unwrap_or((reason.as_str(), "correct the folder"));
            self.findings.push(failure(is_required, format!("{}: {reason}", path.display()), step.to_string()));
        }
        for (path, opened) in versions {
            self.add_file(&path, opened, is_required);
        }
    }

    /// Adds a model in a file. `is_required`: whether the server needs it to start.
    fn add_file(&mut self, path: &Path, opened: Result<ModelFile, String>, is_required: bool) {
        let inspect = format!("kiln inspect {}", shell_path(path));
        let finding = match opened {
            Ok(file) => {
                self.versions += 1;
                self.bytes += std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
                let detail = format!("{}; class names: {}", describe(&file.model), file.labels_origin);
                match file.warnings.is_empty() {
                    true => Finding::ok(CHECK, detail),
                    false => Finding::warning(CHECK, format!("{detail}; {}", file.warnings.join("; ")), inspect),
                }
            }
            Err(reason) => failure(is_required, reason, inspect),
        };
        self.findings.push(finding);
    }

    /// Adds the stable version of a built-in model.
    fn add_built_in(&mut self, model: &Model, config: &Config) {
        let finding = match load::stable_version(config, model) {
            Ok(version) => {
                self.versions += 1;
                self.bytes += version.weights().map_or(0, |weights| weights.bytes().len() as u64);
                Finding::ok(CHECK, format!("{}; built in", describe(&version)))
            }
            Err(error) => {
                let store = config.model_store.as_deref();
                let fix = store.map_or_else(|| "kiln check".to_string(), |store| models_command("list", store));
                Finding::problem(CHECK, error.to_string(), fix)
            }
        };
        self.findings.push(finding);
    }
}

fn failure(is_required: bool, detail: String, fix: String) -> Finding {
    match is_required {
        true => Finding::problem(CHECK, detail, fix),
        false => Finding::warning(CHECK, detail, fix),
    }
}

fn describe(model: &Model) -> String {
    let outputs = match model.spec().task {
        Task::Embedding => "embeddings".to_string(),
        _ => format!("{} classes", model.spec().labels.len()),
    };
    format!("{} version {}, {outputs}", model.name(), model.version())
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    fn check_with(flags: &[(&'static str, &str)]) -> Models {
        let flags = flags.iter().map(|(key, value)| (*key, value.to_string())).collect();
        check(&Config::from_sources(&Sources::gather(&flags, &|_: &str| None, None).unwrap()).unwrap())
    }

    fn states(models: &Models) -> Vec<State> {
        models.findings.iter().map(|finding| finding.state).collect()
    }

    /// Writes a small network of ten classes.
    fn write_network(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let network = kiln_zoo::fill(&std::fs::read("crates/zoo/skeletons/act_silu.onnx").unwrap()).unwrap();
        std::fs::write(path, network).unwrap();
    }

    #[test]
    fn unreadable_model_is_a_problem_with_the_command_that_explains_it() {
        let models = check_with(&[("model-file", "/no/such/model.onnx"), ("model", "another")]);
        let [finding] = &models.findings[..] else { panic!("{:?}", models.findings) };
        assert_eq!(finding.state, State::Problem);
        assert_eq!(finding.fix.as_deref(), Some("kiln inspect /no/such/model.onnx"));
        assert_eq!(models.versions, 0);
    }

    #[test]
    fn names_that_refuse_the_start_are_problems() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one/cat.onnx", "other/cat.onnx"].map(|name| folder.path().join(name));
        write_network(&one);
        write_network(&other);
        let problem = |models: &Models| {
            let found = models.findings.iter().find(|finding| finding.state == State::Problem);
            found.unwrap_or_else(|| panic!("{models:?}")).detail.clone()
        };
        let both = format!("{},{}", one.display(), other.display());
        assert!(problem(&check_with(&[("model-file", both.as_str())])).starts_with("two models have the name 'cat'"));
        let unknown = check_with(&[("model-file", one.to_str().unwrap()), ("model", "dog")]);
        assert!(problem(&unknown).starts_with("--model 'dog' is unknown"), "{unknown:?}");
    }

    #[test]
    fn versions_of_a_repository_that_fail_are_warnings_if_another_model_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let version = |number: &str| folder.path().join("cat").join(number).join("model.onnx");
        let repository = folder.path().to_str().unwrap();
        let built_in = Model::all().next().unwrap();
        let beside = [("models", repository), ("model", built_in.name())];
        assert_eq!(states(&check_with(&[("models", repository)])), [State::Problem], "an empty repository");
        assert_eq!(states(&check_with(&beside)), [State::Warning, State::Ok]);
        std::fs::create_dir_all(folder.path().join("ant")).unwrap();
        std::fs::create_dir_all(version("2").parent().unwrap()).unwrap();
        std::fs::write(version("2"), "no network").unwrap();
        let models = check_with(&[("models", repository)]);
        assert_eq!(states(&models), [State::Problem, State::Problem]);
        assert_eq!(models.findings[0].fix.as_deref(), Some("Add one."), "{models:?}");
        assert_eq!(states(&check_with(&beside)), [State::Warning, State::Warning, State::Ok]);
        write_network(&version("1"));
        write_network(&version("3"));
        let models = check_with(&[("models", repository)]);
        let opened = models.findings.iter().filter(|finding| finding.detail.starts_with("cat version ")).count();
        assert_eq!((opened, models.versions), (2, 2), "{models:?}");
        assert!(!states(&models).contains(&State::Problem), "{models:?}");
    }

    #[test]
    fn built_in_model_is_described_with_its_classes() {
        let model = Model::all().next().unwrap();
        let text = describe(&model);
        assert!(text.starts_with(&format!("{} version {}, ", model.name(), model.version())), "{text}");
        assert!(text.ends_with(" classes"), "{text}");
    }
}
