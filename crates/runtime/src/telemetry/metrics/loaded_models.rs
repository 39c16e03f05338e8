//! Which models and versions are loaded, so that those that were unloaded leave the output of the metrics.
//!
//! The recorder cannot remove a series, and one that no longer changes would be exported until the process ends. A
//! counter of a model that is loaded again continues from its last value.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::definitions::{MODEL_RELOADS, MODEL_VERSION_INFO};

/// The number of [`LoadedModel`]s by model and version, 0 after the last one was dropped.
static LOADED: Mutex<BTreeMap<String, BTreeMap<String, usize>>> = Mutex::new(BTreeMap::new());

/// Counts as one loaded version until it is dropped.
#[derive(Debug)]
pub(super) struct LoadedModel {
    model: String,
    version: String,
}

impl LoadedModel {
    pub(super) fn new(model: &str, version: &str) -> Self {
        let (model, version) = (model.to_string(), version.to_string());
        *loaded().entry(model.clone()).or_default().entry(version.clone()).or_default() += 1;
        Self { model, version }
    }
}

impl Drop for LoadedModel {
    fn drop(&mut self) {
        if let Some(count) = loaded().get_mut(&self.model).and_then(|versions| versions.get_mut(&self.version)) {
            *count -= 1;
        }
    }
}

fn loaded() -> MutexGuard<'static, BTreeMap<String, BTreeMap<String, usize>>> {
    // A poisoned lock still holds consistent data: no code panics between two updates.
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the series of models that were unloaded, and of versions those that describe the version itself. Feedback on
/// an unloaded version may still arrive.
pub(super) fn without_unloaded(text: String) -> String {
    let loaded = loaded();
    let is_unloaded = |versions: &BTreeMap<String, usize>| versions.values().all(|count| *count == 0);
    if loaded.values().all(|versions| versions.values().all(|count| *count > 0)) {
        return text;
    }
    let is_shown = |line: &&str| {
        // A refused load has to be seen also if the model has no loaded version.
        if line.starts_with(MODEL_RELOADS.name) {
            return true;
        }
        let Some(versions) = label(line, "model").and_then(|model| loaded.get(model)) else { return true };
        let describes_version = line.starts_with("nv_") || line.starts_with(MODEL_VERSION_INFO.name);
        let version = label(line, "version").filter(|_| describes_version);
        let is_version_unloaded = version.and_then(|version| versions.get(version)).is_some_and(|count| *count == 0);
        !is_unloaded(versions) && !is_version_unloaded
    };
    text.split_inclusive('\n').filter(is_shown).collect()
}

/// Returns the value of a label of a line in Prometheus' text format. The names of models and versions need no escapes.
fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = line.split_once('{').filter(|_| !line.starts_with('#'))?;
    let starts = labels.match_indices(name).map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || labels.as_bytes()[at - 1] == b',');
    let value = starts.find_map(|at| labels[at + name.len()..].strip_prefix("=\""))?;
    value.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_unloaded_models_and_versions_are_left_out() {
        let text = "# TYPE kiln_ready gauge\nkiln_ready 1\n\
            kiln_queue_depth{model=\"series-ant\"} 0\n\
            kiln_build_info{version=\"0.1.0\",model=\"series-ant\",model_version=\"1\"} 1\n\
            kiln_queue_depth{model=\"series-cat\"} 0\n\
            kiln_feedback_total{model=\"series-cat\",version=\"1\",verdict=\"right\"} 3\n\
            nv_inference_count{model=\"series-cat\",version=\"1\"} 5\n\
            kiln_model_version_info{model=\"series-cat\",version=\"1\",label=\"stable\"} 0\n\
            nv_inference_count{model=\"series-cat\",version=\"2\"} 7\n";
        let filtered = || without_unloaded(text.to_string());
        let (ant, old, new) = (
            LoadedModel::new("series-ant", "1"),
            LoadedModel::new("series-cat", "1"),
            LoadedModel::new("series-cat", "2"),
        );
        assert_eq!(filtered(), text);
        drop((ant, old));
        let lines: Vec<String> = filtered().lines().map(str::to_string).collect();
        let expected = [0, 1, 4, 5, 8].map(|index| text.lines().nth(index).unwrap().to_string());
        assert_eq!(lines, expected);
        let _again = LoadedModel::new("series-ant", "1");
        drop(new);
        assert_eq!(filtered().lines().count(), 4, "{}", filtered());
    }
}
