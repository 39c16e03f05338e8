//! The JSON of the answers.

use poem_openapi::Object;

use kiln_classifier::Placement;
use kiln_classifier::registry::Version;

/// A model that is served.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ModelBody {
    /// Name, as in the `model` parameter.
    name: String,
    /// The stable version.
    version: String,
    /// `sha256:` and the digest of the file that the model was made from, or of that and other weights.
    digest: String,
    /// One sentence for a person.
    description: String,
    /// Where the weights come from.
    source: String,
    /// Licence of the weights.
    licence: String,
    /// True for the model of requests that name none.
    default: bool,
    /// Width of the network's input, in pixels.
    width: u32,
    /// Height of the network's input, in pixels.
    height: u32,
    /// Number of classes.
    classes: u32,
    /// Where it runs; several share its queue.
    devices: Vec<DeviceBody>,
    /// The versions that are loaded, the stable one first.
    versions: Vec<VersionBody>,
    /// Class names in index order; only where a single model is asked for.
    labels: Option<Vec<String>>,
}

/// A version that is loaded.
#[derive(Debug, Object)]
struct VersionBody {
    /// As in the `version` parameter.
    version: String,
    /// What tells its graph and weights from all others.
    digest: String,
    /// What it is there for: `stable`, `canary`, `shadow`.
    labels: Vec<String>,
}

/// Where a model runs.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct DeviceBody {
    /// Product name, or `CPU`.
    name: String,
    /// Graphics API or runtime.
    api: String,
    /// Driver and version.
    driver: Option<String>,
    /// What compiles its kernels.
    compiler: String,
    /// `f32`, `f16` or `bf16`.
    precision: String,
    /// `fused` (Kiln's own) or `stock` (Burn's).
    kernels: String,
}

/// Every model that is served.
#[derive(Debug, Object)]
pub(super) struct ModelsBody {
    /// In the order of their names.
    pub(super) models: Vec<ModelBody>,
}

impl From<&Placement> for DeviceBody {
    fn from(placement: &Placement) -> Self {
        let Placement { device, precision, kernels } = placement.clone();
        Self {
            name: device.name,
            api: device.api,
            driver: device.driver,
            compiler: device.compiler.to_string(),
            precision,
            kernels,
        }
    }
}

impl From<&Version> for VersionBody {
    fn from(version: &Version) -> Self {
        let model = version.classifier.model();
        let labels = version.labels.iter().map(|label| label.word().to_string());
        Self { version: model.version().to_string(), digest: model.digest(), labels: labels.collect() }
    }
}

impl ModelBody {
    /// By its loaded versions, of which there is at least one.
    pub(super) fn new(versions: &[Version], default: Option<&str>, with_labels: bool) -> Self {
        let stable = &versions[0].classifier;
        let (model, spec) = (stable.model(), stable.model().spec());
        Self {
            name: spec.name.to_string(),
            version: model.version().to_string(),
            digest: model.digest(),
            description: spec.description.to_string(),
            source: spec.source.to_string(),
            licence: spec.licence.to_string(),
            default: default == Some(spec.name),
            width: spec.width,
            height: spec.height,
            classes: spec.labels.len() as u32,
            devices: stable.placements().iter().map(DeviceBody::from).collect(),
            versions: versions.iter().map(VersionBody::from).collect(),
            labels: with_labels.then(|| spec.labels.iter().map(ToString::to_string).collect()),
        }
    }
}
