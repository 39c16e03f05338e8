//! The desired state: which versions the labels in the store name, and when the store changes.

use tokio::task::spawn_blocking;

use crate::model_store::{Labels, ModelStore, StoreError};
use kiln_inference::model::{Model, VersionLabel};
use kiln_runtime::file_watcher::{FileWatcher, Fingerprint};

/// The identity of a version, desired or loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionSpec {
    pub(super) version: String,
    /// `sha256:<hex>` of its weights, because a name can be reused for other weights. `None` for the built-in version,
    /// and if the version's manifest cannot be read.
    pub(super) weights: Option<String>,
    /// Whether the server can run without it: the failure of an optional version does not stop the server. The stable
    /// version is required.
    pub(super) is_optional: bool,
}

impl VersionSpec {
    pub(super) fn required(version: &str, weights: Option<String>) -> Self {
        Self { version: version.to_string(), weights, is_optional: false }
    }

    pub(super) fn optional(version: &str, weights: Option<String>) -> Self {
        Self { version: version.to_string(), weights, is_optional: true }
    }

    /// Returns whether the loaded version `loaded` is this desired one. If the weights of the desired version are
    /// unknown, the name decides.
    pub(super) fn is_met_by(&self, loaded: &Self) -> bool {
        let has_same_weights = self.weights.is_none() || self.weights == loaded.weights;
        has_same_weights && (&self.version, self.is_optional) == (&loaded.version, loaded.is_optional)
    }
}

/// A version that the labels name. If two values are equal, an attempt to load them has the same outcome.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DesiredVersion {
    pub(super) spec: VersionSpec,
    /// At least one label.
    pub(super) labels: Vec<VersionLabel>,
    /// Share of the requests of a canary, in 0..=1; 0 for other versions.
    pub(super) share: f64,
    /// State of its files.
    pub(super) files: Fingerprint,
}

/// The versions that the labels of a model name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DesiredState {
    pub(super) stable: DesiredVersion,
    /// The canary and the shadow; one entry if they are the same version.
    pub(super) optional: Vec<DesiredVersion>,
}

impl DesiredState {
    /// Returns the desired state of a model with the built-in version `built_in`. `inspect` returns the digest of a
    /// version's weights and the state of its files; it is called once for each version.
    pub(super) fn new(
        labels: &Labels,
        built_in: &str,
        inspect: impl Fn(&str) -> (Option<String>, Fingerprint),
    ) -> Self {
        let stable = labels.stable_or(built_in);
        let canary = labels.canary.as_ref().map(|canary| canary.version.as_str());
        let shadow = labels.shadow.as_deref();
        let share = labels.canary.as_ref().map_or(0.0, |canary| canary.share.fraction());
        let desired = |version: &str, spec: &dyn Fn(&str, Option<String>) -> VersionSpec| {
            let ((weights, files), labels) = (inspect(version), labels.of(version, built_in));
            let share = if labels.contains(&VersionLabel::Canary) { share } else { 0.0 };
            DesiredVersion { spec: spec(version, weights), labels, share, files }
        };
        let other_shadow = shadow.filter(|shadow| canary != Some(shadow));
        let optional = canary.into_iter().chain(other_shadow).filter(|version| *version != stable);
        Self {
            optional: optional.map(|version| desired(version, &VersionSpec::optional)).collect(),
            stable: desired(stable, &VersionSpec::required),
        }
    }

    /// Returns every desired version, the stable one first.
    pub(super) fn versions(&self) -> impl Iterator<Item = &DesiredVersion> {
        std::iter::once(&self.stable).chain(&self.optional)
    }

    /// Returns the optional version with a label.
    pub(super) fn labelled(&self, label: VersionLabel) -> Option<&DesiredVersion> {
        self.optional.iter().find(|desired| desired.labels.contains(&label))
    }
}

/// The observed content of the store.
pub(super) struct StoreSnapshot {
    /// Desired state of each model; `None` if the labels cannot be read.
    pub(super) desired: Vec<Option<DesiredState>>,
    /// The label files, and the files of every labelled version.
    files: FileWatcher,
}

impl StoreSnapshot {
    /// Reads labels and manifests on a blocking thread. Labels that cannot be read are logged.
    pub(super) async fn read(store: &ModelStore, models: Vec<Model>) -> Self {
        let store = store.clone();
        spawn_blocking(move || Self::read_blocking(&store, &models)).await.expect("blocking task panicked")
    }

    fn read_blocking(store: &ModelStore, models: &[Model]) -> Self {
        // The watcher starts before the labels are read, so that it misses no change. The labels decide which version
        // files it also watches.
        let built_in = || models.iter().filter(|model| model.is_built_in());
        let label_files = built_in().flat_map(|model| store.files(model.name(), &[])).collect();
        let label_watcher = FileWatcher::new(label_files);
        // The store has no versions of a model that was read from a file.
        let labels = |model: &Model| model.is_built_in().then(|| or_log(store.labels(model.name()))).flatten();
        let labels: Vec<_> = models.iter().map(labels).collect();
        let readable = || models.iter().zip(&labels).filter_map(|(model, labels)| Some((model, labels.as_ref()?)));
        let version_files = readable().flat_map(|(model, labels)| {
            let desired = DesiredState::new(labels, model.original_version(), |_| (None, Fingerprint::default()));
            let versions: Vec<&str> = desired.versions().map(|desired| desired.spec.version.as_str()).collect();
            store.files(model.name(), &versions)
        });
        let files = label_watcher.with_files(version_files.collect());
        let desired =
            models.iter().zip(&labels).map(|(model, labels)| Some(desired_state(store, model, labels.as_ref()?)));
        Self { desired: desired.collect(), files }
    }

    /// Waits until the store changes.
    pub(super) async fn changed(&mut self) {
        self.files.changed().await;
    }
}

fn desired_state(store: &ModelStore, model: &Model, labels: &Labels) -> DesiredState {
    let spec = model.spec();
    DesiredState::new(labels, &spec.version, |version| match version == spec.version {
        true => (None, Fingerprint::default()),
        // An error of the manifest is not logged here: the attempt to load the version reports it.
        false => {
            // Without the first file, the labels: a change of the labels of other versions is no change of this
            // version.
            let files: Vec<_> = store.files(&spec.name, &[version]).into_iter().skip(1).collect();
            let files = Fingerprint::of(&files);
            (store.manifest(model, version).ok().map(|manifest| manifest.weights), files)
        }
    })
}

fn or_log(labels: Result<Labels, StoreError>) -> Option<Labels> {
    labels.inspect_err(|error| tracing::error!(%error, "cannot read model labels; serving the previous versions")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_store::{Canary, TrafficShare};

    #[test]
    fn each_version_is_desired_once() {
        let canary =
            |version: &str| Some(Canary { version: version.to_string(), share: TrafficShare::new(0.5).unwrap() });
        let shadow = |version: &str| Some(version.to_string());
        let desired = |labels: &Labels| {
            let desired = DesiredState::new(labels, "1", |version| (Some(version.repeat(2)), Fingerprint::default()));
            let versions = desired.versions();
            versions.map(|desired| (desired.spec.clone(), desired.labels.clone(), desired.share)).collect::<Vec<_>>()
        };
        let stable =
            |version: &str| (VersionSpec::required(version, Some(version.repeat(2))), vec![VersionLabel::Stable], 0.0);
        let optional = |version: &str, labels: &[VersionLabel], share| {
            (VersionSpec::optional(version, Some(version.repeat(2))), labels.to_vec(), share)
        };
        assert_eq!(desired(&Labels::default()), [stable("1")]);
        let both = Labels { canary: canary("3"), shadow: shadow("3"), ..Labels::default() };
        assert_eq!(desired(&both), [stable("1"), optional("3", &[VersionLabel::Canary, VersionLabel::Shadow], 0.5)]);
        let two = Labels { canary: canary("3"), shadow: shadow("4"), ..Labels::default() };
        let expected = [optional("3", &[VersionLabel::Canary], 0.5), optional("4", &[VersionLabel::Shadow], 0.0)];
        assert_eq!(desired(&two), [&[stable("1")], &expected[..]].concat());
        let other = Labels { stable: shadow("2"), canary: canary("2"), shadow: shadow("1"), previous: None };
        let all = desired(&other);
        assert_eq!((&all[0].0, &all[1..]), (&stable("2").0, &[optional("1", &[VersionLabel::Shadow], 0.0)][..]));
    }

    #[test]
    fn same_name_with_other_weights_is_another_version() {
        let spec = |weights: Option<&str>| VersionSpec::required("2", weights.map(String::from));
        assert!(spec(Some("a")).is_met_by(&spec(Some("a"))));
        assert!(!spec(Some("a")).is_met_by(&spec(Some("b"))));
        // Weights that cannot be read now were read when the version was loaded.
        assert!(spec(None).is_met_by(&spec(Some("b"))));
        assert!(!spec(None).is_met_by(&VersionSpec::optional("2", None)));
    }
}
