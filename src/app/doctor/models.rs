//! The models that a server would serve: whether each can be read, and where its class names come from.

use std::path::Path;

use kiln_inference::model::{Model, Task};
use kiln_inference::model_file::{self, ModelFile};

use super::super::load;
use super::super::model_repository::open_newest_versions;
use super::finding::Finding;
use crate::config::Config;
use crate::shell::{models_command, word};

const CHECK: &str = "model";

/// The findings, and the models that can be read.
#[derive(Default)]
struct Models {
    findings: Vec<Finding>,
    names: Vec<String>,
    bytes: u64,
}

/// Checks the models. Returns also the size of their weights in bytes, as far as it is known.
pub(super) fn check(config: &Config) -> (Vec<Finding>, u64) {
    let mut models = Models::default();
    for path in &config.model_files {
        let opened = model_file::open(path, &config.model_file_options).map_err(|error| error.to_string());
        models.add_file(path, opened);
    }
    if let Some(folder) = &config.model_repository {
        models.add_repository(folder, config);
    }
    let has_others = !config.model_files.is_empty() || config.model_repository.is_some();
    let selected = config.model.as_deref();
    let is_served = |model: &Model| !has_others || selected == Some(model.name());
    for model in Model::all().filter(is_served) {
        if !models.names.iter().any(|name| name == model.name()) {
            models.add_built_in(&model, config);
        }
    }
    (models.findings, models.bytes)
}

impl Models {
    /// Adds the newest version of each model in a repository.
    fn add_repository(&mut self, folder: &Path, config: &Config) {
        let shown = folder.display();
        match open_newest_versions(folder, &config.model_file_options) {
            Ok(versions) if versions.is_empty() => self.findings.push(Finding::problem(
                CHECK,
                format!("{shown} has no model"),
                format!("copy a model to {}", word(&folder.join("NAME/1/model.onnx").display().to_string())),
            )),
            Ok(versions) => versions.into_iter().for_each(|(path, opened)| self.add_file(&path, opened)),
            Err(error) => self.findings.push(Finding::problem(
                CHECK,
                format!("{shown} cannot be read: {error}"),
                "--models with the path of a folder that this user may read",
            )),
        }
    }

    fn add_file(&mut self, path: &Path, opened: Result<ModelFile, String>) {
        let inspect = format!("kiln inspect {}", word(&path.display().to_string()));
        let finding = match opened {
            Ok(file) => {
                self.bytes += std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
                self.names.push(file.model.name().to_string());
                let detail = format!("{}; class names: {}", describe(&file.model), file.labels_origin);
                match file.warnings.is_empty() {
                    true => Finding::ok(CHECK, detail),
                    false => Finding::warning(CHECK, format!("{detail}; {}", file.warnings.join("; ")), inspect),
                }
            }
            Err(reason) => Finding::problem(CHECK, reason, inspect),
        };
        self.findings.push(finding);
    }

    /// Adds the stable version of a built-in model.
    fn add_built_in(&mut self, model: &Model, config: &Config) {
        let finding = match load::stable_version(config, model) {
            Ok(version) => {
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

fn describe(model: &Model) -> String {
    let outputs = match model.spec().task {
        Task::Embedding => "embeddings".to_string(),
        _ => format!("{} classes", model.spec().labels.len()),
    };
    format!("{} version {}, {outputs}", model.name(), model.version())
}

#[cfg(test)]
mod tests {
    use kiln_inference::model_file::FileOptions;

    use super::super::finding::State;
    use super::*;

    #[test]
    fn unreadable_model_is_a_problem_with_the_command_that_explains_it() {
        let mut models = Models::default();
        let path = Path::new("/no/such/model.onnx");
        models.add_file(path, model_file::open(path, &FileOptions::default()).map_err(|error| error.to_string()));
        let [finding] = &models.findings[..] else { panic!("{:?}", models.findings) };
        assert_eq!(finding.state, State::Problem);
        assert_eq!(finding.fix.as_deref(), Some("kiln inspect /no/such/model.onnx"));
        assert!(models.names.is_empty());
    }

    #[test]
    fn built_in_model_is_described_with_its_classes() {
        let model = Model::all().next().unwrap();
        let text = describe(&model);
        assert!(text.starts_with(&format!("{} version {}, ", model.name(), model.version())), "{text}");
        assert!(text.ends_with(" classes"), "{text}");
    }
}
