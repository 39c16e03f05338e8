//! Operations on the models: metadata, readiness, configuration and statistics, with and without a version.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::Tag;
use super::infer::max_rows;
use super::schema::{ModelConfig, ModelMetadata, ModelReady};
use super::statistics::{ModelStatistics, StatisticsBody};
use crate::State;
use crate::auth::{AnyScope, Authenticated};
use crate::error::{ApiError, ErrorCode};
use crate::openapi_errors::{ModelErrors, OperationError};
use kiln_classifier::Classifier;
use kiln_runtime::readiness;

/// `GET /v2/models/{name}` and the paths below it, except inference.
pub(crate) struct ModelOperations(pub(crate) State);

type ModelResult<T> = Result<Json<T>, OperationError<ModelErrors>>;

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2/models")]
impl ModelOperations {
    /// Describe a model
    #[oai(path = "/:name", method = "get", operation_id = "oip_model")]
    async fn metadata(&self, _caller: Authenticated<AnyScope>, name: Path<String>) -> ModelResult<ModelMetadata> {
        self.metadata_of(&name, None)
    }

    /// Describe a version of a model
    #[oai(path = "/:name/versions/:version", method = "get", operation_id = "oip_model_version")]
    async fn version_metadata(
        &self,
        _caller: Authenticated<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> ModelResult<ModelMetadata> {
        self.metadata_of(&name, Some(&version))
    }

    /// Check whether a model accepts requests
    #[oai(path = "/:name/ready", method = "get", operation_id = "oip_model_ready")]
    async fn ready(&self, _caller: Authenticated<AnyScope>, name: Path<String>) -> ModelResult<ModelReady> {
        self.readiness_of(&name, None)
    }

    /// Check whether a version of a model accepts requests
    #[oai(path = "/:name/versions/:version/ready", method = "get", operation_id = "oip_model_version_ready")]
    async fn version_ready(
        &self,
        _caller: Authenticated<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> ModelResult<ModelReady> {
        self.readiness_of(&name, Some(&version))
    }

    /// Get the configuration of a model
    #[oai(path = "/:name/config", method = "get", operation_id = "oip_model_config")]
    async fn config(&self, _caller: Authenticated<AnyScope>, name: Path<String>) -> ModelResult<ModelConfig> {
        self.config_of(&name, None)
    }

    /// Get the configuration of a version of a model
    #[oai(path = "/:name/versions/:version/config", method = "get", operation_id = "oip_model_version_config")]
    async fn version_config(
        &self,
        _caller: Authenticated<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> ModelResult<ModelConfig> {
        self.config_of(&name, Some(&version))
    }

    /// Get the statistics of all models
    #[oai(path = "/stats", method = "get", operation_id = "oip_stats")]
    async fn all_stats(&self, _caller: Authenticated<AnyScope>) -> ModelResult<StatisticsBody> {
        let all = self.0.registry.all()?.into_iter().flatten();
        Ok(Json(StatisticsBody { model_stats: all.map(|version| ModelStatistics::new(&version.classifier)).collect() }))
    }

    /// Get the statistics of a model, one entry per version
    #[oai(path = "/:name/stats", method = "get", operation_id = "oip_model_stats")]
    async fn stats(&self, _caller: Authenticated<AnyScope>, name: Path<String>) -> ModelResult<StatisticsBody> {
        self.statistics_of(&name, None)
    }

    /// Get the statistics of a version of a model
    #[oai(path = "/:name/versions/:version/stats", method = "get", operation_id = "oip_model_version_stats")]
    async fn version_stats(
        &self,
        _caller: Authenticated<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> ModelResult<StatisticsBody> {
        self.statistics_of(&name, Some(&version))
    }
}

impl ModelOperations {
    fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Classifier>, OperationError<ModelErrors>> {
        Ok(self.0.registry.find(Some(name), version)?)
    }

    fn metadata_of(&self, name: &str, version: Option<&str>) -> ModelResult<ModelMetadata> {
        let found = self.find(name, version)?;
        Ok(Json(ModelMetadata::new(found.model(), &self.0.registry.versions(name)?)))
    }

    fn statistics_of(&self, name: &str, version: Option<&str>) -> ModelResult<StatisticsBody> {
        let classifiers = match version {
            Some(_) => vec![self.find(name, version)?],
            None => self.0.registry.versions(name)?.into_iter().map(|version| version.classifier).collect(),
        };
        Ok(Json(StatisticsBody {
            model_stats: classifiers.iter().map(|classifier| ModelStatistics::new(classifier)).collect(),
        }))
    }

    fn config_of(&self, name: &str, version: Option<&str>) -> ModelResult<ModelConfig> {
        let classifier = self.find(name, version)?;
        Ok(Json(ModelConfig::new(classifier.model(), max_rows(&self.0.config, &classifier))))
    }

    /// Reports a model that is not ready as an error, because load balancers read the status.
    fn readiness_of(&self, name: &str, version: Option<&str>) -> ModelResult<ModelReady> {
        self.find(name, version)?;
        if self.0.readiness.state() != readiness::ReadinessState::Ready {
            return Err(ApiError::new(ErrorCode::Unavailable, "the server does not accept requests now").into());
        }
        Ok(Json(ModelReady { name: name.to_string(), ready: true }))
    }
}
