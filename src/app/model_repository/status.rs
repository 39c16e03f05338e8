//! The state of each version of the repository, as the operations of the API, the log and the metrics show it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kiln_api::model_repository::{LoadFailure, VersionState, VersionStatus};
use kiln_inference::model::VersionLabel;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};

use super::reconciler::{Reconciler, VersionReport};

/// Returns the state of each version, and of each folder without a version. Paths are relative to `root`.
pub(super) fn status<T>(reconciler: &Reconciler<T>, root: &Path) -> Vec<VersionStatus> {
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let shown = |reason: &str| without_root(reason, root);
    let version = |VersionReport { key, is_loaded, is_unloaded, failure }: VersionReport| {
        let failure = failure.filter(|_| !is_unloaded);
        let (state, reason) = match failure {
            _ if is_unloaded => (VersionState::Unavailable, "unloaded".to_string()),
            _ if is_loaded => (VersionState::Ready, String::new()),
            Some(failure) => (VersionState::Unavailable, shown(&failure.reason)),
            None => (VersionState::Loading, "waits to be loaded".to_string()),
        };
        let load_error =
            failure.map(|failure| LoadFailure { file: relative(&failure.files.onnx), reason: shown(&failure.reason) });
        VersionStatus { model: key.model.clone(), version: Some(key.version().to_string()), state, reason, load_error }
    };
    let invalid = reconciler.invalid().iter().map(|(model, folder)| VersionStatus {
        model: model.clone(),
        version: None,
        state: VersionState::Unavailable,
        reason: shown(&folder.reason),
        load_error: Some(LoadFailure { file: relative(&folder.path), reason: shown(&folder.reason) }),
    });
    reconciler.report().into_iter().map(version).chain(invalid).collect()
}

/// Returns a reason in which paths are relative to `root`: a client does not learn where the server keeps its files.
pub(super) fn without_root(reason: &str, root: &Path) -> String {
    let absolute = std::path::absolute(root).ok().map(|root| root.components().collect::<PathBuf>());
    let roots = [absolute, root.canonicalize().ok()];
    roots.into_iter().flatten().fold(reason.to_string(), |reason, root| {
        reason.replace(&format!("{}{}", root.display(), std::path::MAIN_SEPARATOR), "")
    })
}

/// Returns one line for each version and folder that cannot be loaded.
pub(super) fn reasons(status: Vec<VersionStatus>) -> String {
    let errors = status.into_iter().filter_map(|status| status.load_error);
    let lines: Vec<String> = errors.map(|LoadFailure { file, reason }| format!("  {file}: {reason}")).collect();
    match lines.is_empty() {
        true => "  the folder has no models. Add one as NAME/1/model.onnx.".to_string(),
        false => lines.join("\n"),
    }
}

/// Logs which version of each model serves the requests that name none, and updates the metrics. `before` and `after`
/// have that version by model; `replaced` are the models and versions that were loaded again.
pub(super) fn report_changes(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    replaced: &BTreeSet<(String, String)>,
) {
    let label = |model: &str, version: u64, has| {
        metrics::version_label(model, &version.to_string(), VersionLabel::Stable.as_str(), has);
    };
    for (model, version) in before.iter().filter(|(model, version)| after.get(*model) != Some(*version)) {
        label(model, *version, false);
        if !after.contains_key(model) {
            tracing::info!(model, version, "model removed");
        }
    }
    for (model, version) in after {
        let is_replaced = || replaced.contains(&(model.clone(), version.to_string()));
        match before.get(model) {
            Some(before) if before == version && !is_replaced() => continue,
            Some(_) => metrics::model_reload(model, ReloadOutcome::Swapped),
            None => metrics::init_model_reloads(model),
        }
        label(model, *version, true);
        tracing::info!(model, version, "model version serves requests");
    }
}
