//! Triton's model repository extension (`extension_model_repository.md`): lists, loads and unloads the models of `--models`.

use poem::{Request, RequestBody};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{Any, ParseFromJSON};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use serde_json::Value;

use super::Tag;
use super::schema::RepositoryEntry;
use crate::State;
use crate::auth::{AdminScope, AnyScope, Authenticated};
use crate::body_limit::{UnreadBody, has_no_body};
use crate::error::{ApiError, ErrorCode};
use crate::model_repository::{RepositoryAction, VersionState};
use crate::openapi_errors::{OperationError, RepositoryErrors};

/// Maximum size of a request body in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// `POST /v2/repository/*`.
pub(crate) struct RepositoryOperations(pub(crate) State);

/// Which models to list.
#[derive(Debug, Object)]
#[oai(rename = "OipRepositoryIndexRequest")]
struct IndexRequest {
    /// True lists only the versions that serve requests.
    #[oai(default)]
    ready: bool,
}

/// How to load or unload a model.
#[derive(Debug, Object)]
#[oai(rename = "OipRepositoryModelRequest")]
struct ModelRequest {
    /// `unload_dependents` is accepted and has no effect. Kiln supports no other parameter.
    #[oai(default)]
    parameters: Option<Any<Value>>,
}

#[derive(ApiResponse)]
enum Done {
    /// The model is loaded, or it is removed from serving
    #[oai(status = 200)]
    Done,
}

type RepositoryResult<T> = Result<T, OperationError<RepositoryErrors>>;

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2/repository")]
impl RepositoryOperations {
    /// List the models and their versions
    #[oai(path = "/index", method = "post", operation_id = "oip_repository_index")]
    async fn index(
        &self,
        _caller: Authenticated<AnyScope>,
        request: OptionalJson<IndexRequest>,
    ) -> RepositoryResult<Json<Vec<RepositoryEntry>>> {
        let in_repository = self.0.repository.as_ref().map(|repository| repository.status()).unwrap_or_default();
        let served = self.0.registry.all()?.into_iter().flatten().map(|version| {
            let model = version.classifier.model();
            (model.name().to_string(), model.version().to_string())
        });
        let mut entries: Vec<RepositoryEntry> = served
            .map(|(name, version)| RepositoryEntry {
                name,
                version: Some(version),
                state: VersionState::Ready.to_string(),
                reason: String::new(),
            })
            .collect();
        let unserved = in_repository.iter().filter(|status| status.state != VersionState::Ready);
        entries.extend(unserved.map(|status| RepositoryEntry {
            name: status.model.clone(),
            version: status.version.clone(),
            state: status.state.to_string(),
            reason: status.reason.clone(),
        }));
        if request.0.is_some_and(|request| request.ready) {
            entries.retain(|entry| entry.state == VersionState::Ready.to_string());
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Json(entries))
    }

    /// Load a model of the model repository
    ///
    /// Reads the model's folder now, and returns when its versions are loaded. Files that were modified in the last two seconds are
    /// read when they no longer change. If the versions are loaded already and their files are the same, nothing changes. Requires
    /// the scope `admin`.
    #[oai(path = "/models/:name/load", method = "post", operation_id = "oip_repository_load")]
    async fn load(
        &self,
        _caller: Authenticated<AdminScope>,
        /// The model's name.
        name: Path<String>,
        request: OptionalJson<ModelRequest>,
    ) -> RepositoryResult<Done> {
        self.run(RepositoryAction::Load, &name, request.0).await
    }

    /// Unload a model of the model repository
    ///
    /// The model answers the requests that it has accepted, and no more until it is loaded or the server restarts. Requires the
    /// scope `admin`.
    #[oai(path = "/models/:name/unload", method = "post", operation_id = "oip_repository_unload")]
    async fn unload(
        &self,
        _caller: Authenticated<AdminScope>,
        /// The model's name.
        name: Path<String>,
        request: OptionalJson<ModelRequest>,
    ) -> RepositoryResult<Done> {
        self.run(RepositoryAction::Unload, &name, request.0).await
    }
}

impl RepositoryOperations {
    async fn run(&self, action: RepositoryAction, name: &str, request: Option<ModelRequest>) -> RepositoryResult<Done> {
        check_parameters(request.and_then(|request| request.parameters))?;
        let repository = self.0.repository.as_ref().ok_or_else(|| {
            let message = "the server has no model repository: it was started without --models";
            ApiError::new(ErrorCode::NoModelRepository, message)
        })?;
        // While the models of the start are being loaded, no command is executed.
        self.0.registry.all()?;
        repository.run(action, name).await?;
        Ok(Done::Done)
    }
}

/// Rejects parameters that would change how a model is loaded: the files of the repository decide that.
fn check_parameters(parameters: Option<Any<Value>>) -> Result<(), ApiError> {
    let Some(Any(parameters)) = parameters else { return Ok(()) };
    let parameters = parameters.as_object().ok_or_else(|| ApiError::malformed("'parameters' must be an object"))?;
    match parameters.keys().find(|key| *key != "unload_dependents") {
        Some(key) => {
            let key: String = key.chars().take(100).collect();
            let reason = format!("the parameter '{key}' is not supported; change the files of the repository instead");
            Err(ApiError::malformed(reason))
        }
        None => Ok(()),
    }
}

/// A JSON body that may be absent or empty, whatever its content type.
struct OptionalJson<T>(Option<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for OptionalJson<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: Some("May be empty."), content, required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        if has_no_body(request) {
            return Ok(Self(None));
        }
        let body = UnreadBody::take(request, body)?;
        let bytes = body.read_up_to(MAX_BODY_BYTES, ErrorCode::BodyTooLarge).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        let invalid =
            |reason: String| ApiError::malformed_quoting(&format!("invalid JSON in the request body: {reason}"));
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        // A field may be left out, but the document has none that may be null.
        if let Some((key, _)) = value.as_object().into_iter().flatten().find(|(_, value)| value.is_null()) {
            return Err(invalid(format!("'{key}' is null")).into());
        }
        let parsed = T::parse_from_json(Some(value)).map_err(|error| invalid(error.into_message()))?;
        Ok(Self(Some(parsed)))
    }
}
