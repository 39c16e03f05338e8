//! Operations that describe the served models.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::State;
use super::auth::{AnyScope, Authenticated};
use super::model_repository::{LoadFailure, VersionStatus};
use super::openapi_errors::{ModelErrors, OperationError};
use kiln_classifier::DeviceAssignment;
use kiln_classifier::registry::Version;

/// `GET /models` and `GET /models/{name}`.
pub(super) struct Models(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// The served models, and the devices that run them.
    Models,
}

#[OpenApi(tag = "Tag::Models")]
impl Models {
    /// List the models
    #[oai(path = "/models", method = "get", operation_id = "list_models")]
    async fn list(&self, _caller: Authenticated<AnyScope>) -> Result<Json<ModelsBody>, OperationError<ModelErrors>> {
        let default = self.0.registry.default_model();
        let all = self.0.registry.all()?;
        let status = self.repository_status();
        let bodies = all.iter().map(|versions| ModelBody::new(versions, default.as_deref(), false, &status));
        let models: Vec<ModelBody> = bodies.collect();
        let is_served = |name: &str| models.iter().any(|model| model.name == name);
        let errors = status.iter().filter(|status| !is_served(&status.model));
        let errors = errors.filter_map(|status| {
            Some(UnservedModelBody { name: status.model.clone(), load_error: LoadErrorBody::new(status)? })
        });
        let not_loaded = errors.collect();
        Ok(Json(ModelsBody { models, not_loaded }))
    }

    /// Describe one model, with the names of its classes
    #[oai(path = "/models/:name", method = "get", operation_id = "get_model")]
    async fn get(
        &self,
        _caller: Authenticated<AnyScope>,
        /// The model's name.
        name: Path<String>,
    ) -> Result<Json<ModelBody>, OperationError<ModelErrors>> {
        let default = self.0.registry.default_model();
        let versions = self.0.registry.versions(&name)?;
        Ok(Json(ModelBody::new(&versions, default.as_deref(), true, &self.repository_status())))
    }
}

impl Models {
    fn repository_status(&self) -> Arc<[VersionStatus]> {
        self.0.repository.as_ref().map(|repository| repository.status()).unwrap_or_default()
    }
}

/// All served models.
#[derive(Debug, Object)]
struct ModelsBody {
    /// The models, sorted by name.
    models: Vec<ModelBody>,
    /// Models in the folder of --models that are not served, because no version can be loaded.
    not_loaded: Vec<UnservedModelBody>,
}

/// A model that is not served.
#[derive(Debug, Object)]
struct UnservedModelBody {
    /// Name of the model's folder.
    name: String,
    /// A version that cannot be loaded.
    load_error: LoadErrorBody,
}

/// A file in the folder of --models that cannot be loaded.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LoadErrorBody {
    /// The version; absent if the model's folder has none.
    version: Option<String>,
    /// The file or folder, relative to that of --models.
    file: String,
    /// The cause.
    reason: String,
}

/// A served model.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ModelBody {
    /// Name, as in the `model` parameter.
    name: String,
    /// The stable version.
    version: String,
    /// `sha256:` and the digest of the model file, or of the model file and replaced weights.
    digest: String,
    /// Description in one sentence.
    description: String,
    /// Origin of the weights.
    source: String,
    /// Licence of the weights.
    licence: String,
    /// True if this model serves requests without the `model` parameter.
    default: bool,
    /// Width of the network's input in pixels.
    width: u32,
    /// Height of the network's input in pixels.
    height: u32,
    /// `single-label` (a softmax of the classes), `multi-label` (independent classes) or `embedding` (no classes).
    task: String,
    /// Number of classes; 0 for an embedding.
    classes: u32,
    /// Number of values of the output: classes, or dimensions of the embedding.
    outputs: u32,
    /// The devices that run the model; they share one queue.
    devices: Vec<DeviceBody>,
    /// The loaded versions, the stable one first.
    versions: Vec<VersionBody>,
    /// The newest version whose file cannot be loaded, if there is one. What was loaded before is still served.
    load_error: Option<LoadErrorBody>,
    /// Class names in index order; only present for a single model.
    labels: Option<Vec<String>>,
}

/// A loaded version.
#[derive(Debug, Object)]
struct VersionBody {
    /// Version, as in the `version` parameter.
    version: String,
    /// Digest that identifies the graph and the weights.
    digest: String,
    /// Version labels: `stable`, `canary`, `shadow`. A version without a label serves only the requests that name it.
    labels: Vec<String>,
}

/// A device that runs a model.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct DeviceBody {
    /// Product name, or `CPU`.
    name: String,
    /// Graphics API or runtime.
    api: String,
    /// Driver name and version.
    driver: Option<String>,
    /// Compiler of the kernels.
    compiler: String,
    /// `f32`, `f16` or `bf16`.
    precision: String,
    /// `fused` (Kiln's own) or `stock` (Burn's).
    kernels: String,
}

impl ModelBody {
    /// Describes a model by its loaded versions. There is at least one, and the stable version comes first.
    fn new(versions: &[Version], default: Option<&str>, with_labels: bool, status: &[VersionStatus]) -> Self {
        let stable = &versions[0].classifier;
        let (model, spec) = (stable.model(), stable.model().spec());
        Self {
            name: spec.name.to_string(),
            version: model.version().to_string(),
            digest: model.digest(),
            description: spec.description.to_string(),
            source: spec.source.to_string(),
            licence: spec.licence.to_string(),
            default: default == Some(spec.name.as_str()),
            width: spec.width,
            height: spec.height,
            task: spec.task.as_str().to_string(),
            classes: spec.labels.len() as u32,
            outputs: spec.outputs as u32,
            devices: stable.placements().iter().map(DeviceBody::from).collect(),
            versions: versions.iter().map(VersionBody::from).collect(),
            load_error: status.iter().filter(|each| each.model == spec.name).find_map(LoadErrorBody::new),
            labels: with_labels.then(|| spec.labels.iter().map(ToString::to_string).collect()),
        }
    }
}

impl LoadErrorBody {
    fn new(status: &VersionStatus) -> Option<Self> {
        let LoadFailure { file, reason } = status.load_error.clone()?;
        Some(Self { version: status.version.clone(), file, reason })
    }
}

impl From<&Version> for VersionBody {
    fn from(version: &Version) -> Self {
        let model = version.classifier.model();
        let labels = version.labels.iter().map(|label| label.as_str().to_string());
        Self { version: model.version().to_string(), digest: model.digest(), labels: labels.collect() }
    }
}

impl From<&DeviceAssignment> for DeviceBody {
    fn from(placement: &DeviceAssignment) -> Self {
        let DeviceAssignment { device, precision, kernels } = placement.clone();
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
