//! What the models are and have done, with a version or without.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::Tag;
use super::config::ModelConfig;
use super::rows::most_rows;
use super::schema::{ModelMetadata, ModelReady};
use super::statistics::{ModelStatistics, StatisticsBody};
use crate::State;
use crate::caller::{AnyScope, Caller};
use crate::error::Code;
use crate::failure::Failure;
use crate::refused::{OfLookups, Refused};
use kiln_classifier::Classifier;
use kiln_runtime::readiness;

/// `GET /v2/models/{name}` and what lies below it.
pub(in crate) struct ModelOperations(pub(in crate) State);

type Answer<T> = Result<Json<T>, Refused<OfLookups>>;

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2/models")]
impl ModelOperations {
    /// Describe a model
    #[oai(path = "/:name", method = "get", operation_id = "oip_model")]
    async fn metadata(&self, _caller: Caller<AnyScope>, name: Path<String>) -> Answer<ModelMetadata> {
        self.description(&name, None)
    }

    /// Describe a version of a model
    #[oai(path = "/:name/versions/:version", method = "get", operation_id = "oip_model_version")]
    async fn version_metadata(
        &self,
        _caller: Caller<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> Answer<ModelMetadata> {
        self.description(&name, Some(&version))
    }

    /// Does a model want requests?
    #[oai(path = "/:name/ready", method = "get", operation_id = "oip_model_ready")]
    async fn ready(&self, _caller: Caller<AnyScope>, name: Path<String>) -> Answer<ModelReady> {
        self.readiness(&name, None)
    }

    /// Does a version of a model want requests?
    #[oai(path = "/:name/versions/:version/ready", method = "get", operation_id = "oip_model_version_ready")]
    async fn version_ready(
        &self,
        _caller: Caller<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> Answer<ModelReady> {
        self.readiness(&name, Some(&version))
    }

    /// Tell a model's configuration
    #[oai(path = "/:name/config", method = "get", operation_id = "oip_model_config")]
    async fn config(&self, _caller: Caller<AnyScope>, name: Path<String>) -> Answer<ModelConfig> {
        self.configuration(&name, None)
    }

    /// Tell the configuration of a version of a model
    #[oai(path = "/:name/versions/:version/config", method = "get", operation_id = "oip_model_version_config")]
    async fn version_config(
        &self,
        _caller: Caller<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> Answer<ModelConfig> {
        self.configuration(&name, Some(&version))
    }

    /// Tell what all models have done
    #[oai(path = "/stats", method = "get", operation_id = "oip_stats")]
    async fn all_stats(&self, _caller: Caller<AnyScope>) -> Answer<StatisticsBody> {
        let all = self.0.registry.all()?.into_iter().flatten();
        Ok(Json(StatisticsBody { model_stats: all.map(|version| ModelStatistics::new(&version.classifier)).collect() }))
    }

    /// Tell what a model has done, each of its versions by itself
    #[oai(path = "/:name/stats", method = "get", operation_id = "oip_model_stats")]
    async fn stats(&self, _caller: Caller<AnyScope>, name: Path<String>) -> Answer<StatisticsBody> {
        self.statistics(&name, None)
    }

    /// Tell what a version of a model has done
    #[oai(path = "/:name/versions/:version/stats", method = "get", operation_id = "oip_model_version_stats")]
    async fn version_stats(
        &self,
        _caller: Caller<AnyScope>,
        name: Path<String>,
        version: Path<String>,
    ) -> Answer<StatisticsBody> {
        self.statistics(&name, Some(&version))
    }
}

impl ModelOperations {
    fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Classifier>, Refused<OfLookups>> {
        Ok(self.0.registry.find(Some(name), version)?)
    }

    fn description(&self, name: &str, version: Option<&str>) -> Answer<ModelMetadata> {
        let found = self.find(name, version)?;
        Ok(Json(ModelMetadata::new(found.model(), &self.0.registry.versions(name)?)))
    }

    fn statistics(&self, name: &str, version: Option<&str>) -> Answer<StatisticsBody> {
        let meant = match version {
            Some(_) => vec![self.find(name, version)?],
            None => self.0.registry.versions(name)?.into_iter().map(|version| version.classifier).collect(),
        };
        Ok(Json(StatisticsBody { model_stats: meant.iter().map(|each| ModelStatistics::new(each)).collect() }))
    }

    fn configuration(&self, name: &str, version: Option<&str>) -> Answer<ModelConfig> {
        let classifier = self.find(name, version)?;
        Ok(Json(ModelConfig::new(classifier.model(), most_rows(&self.0.config, &classifier))))
    }

    /// A model that is not ready is one that its clients must not be sent to, which they read from the status.
    fn readiness(&self, name: &str, version: Option<&str>) -> Answer<ModelReady> {
        self.find(name, version)?;
        if self.0.readiness.state() != readiness::State::Ready {
            return Err(Failure::new(Code::Unavailable, "the server takes no requests now").into());
        }
        Ok(Json(ModelReady { name: name.to_string(), ready: true }))
    }
}
