//! The operations that tell what is served. `schema.rs` has the JSON of their answers.

mod schema;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, Tags};

use super::State;
use super::caller::{AnyScope, Caller};
use super::refused::{OfLookups, Refused};
use schema::{ModelBody, ModelsBody};

/// `GET /models` and `GET /models/{name}`.
pub(super) struct Models(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// What is served, and where it runs.
    Models,
}

#[OpenApi(tag = "Tag::Models")]
impl Models {
    /// List the models
    #[oai(path = "/models", method = "get", operation_id = "list_models")]
    async fn list(&self, _caller: Caller<AnyScope>) -> Result<Json<ModelsBody>, Refused<OfLookups>> {
        let default = self.0.registry.default_model();
        let all = self.0.registry.all()?;
        let bodies = all.iter().map(|versions| ModelBody::new(versions, default.as_deref(), false));
        Ok(Json(ModelsBody { models: bodies.collect() }))
    }

    /// Describe one model, with the names of its classes
    #[oai(path = "/models/:name", method = "get", operation_id = "get_model")]
    async fn get(
        &self,
        _caller: Caller<AnyScope>,
        /// The model's name.
        name: Path<String>,
    ) -> Result<Json<ModelBody>, Refused<OfLookups>> {
        let default = self.0.registry.default_model();
        Ok(Json(ModelBody::new(&self.0.registry.versions(&name)?, default.as_deref(), true)))
    }
}
