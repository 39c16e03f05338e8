//! Authentication of callers. [`Authenticated`] is the first argument of a handler, so the key or token is checked before anything
//! of the body is read.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body_limit::BodyLimit;
use super::cache_headers::bypasses_cache;
use super::client_ip::TrustedProxies;
use super::error::{ApiError, ErrorCode};
use super::request_context::RequestContext;
use kiln_classifier::{CacheStatus, Priority, RequestOptions};
use kiln_runtime::telemetry::PhaseTimings;
use kiln_server::auth::{Authenticator, Credential, Principal, Scope};

/// Names of the two security schemes in the OpenAPI document; either suffices.
const API_KEY: &str = "ApiKey";
const BEARER: &str = "Bearer";
/// The header of the first scheme.
const API_KEY_HEADER: &str = "X-API-Key";

/// The scope that an operation requires.
pub(super) trait RequiredScope: Send + Sync + 'static {
    /// `None` admits every authenticated caller.
    const SCOPE: Option<Scope>;
}

/// Declares types that implement [`RequiredScope`].
macro_rules! required_scopes {
    ($($(#[$doc:meta])* $name:ident = $scope:expr;)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl RequiredScope for $name {
                const SCOPE: Option<Scope> = $scope;
            }
        )*
    };
}

required_scopes! {
    /// Requires a valid key, with any scope.
    AnyScope = None;
    /// Required to classify images.
    PredictScope = Some(Scope::Predict);
    /// Required to give and read feedback.
    FeedbackScope = Some(Scope::Feedback);
    /// Required to read the metrics.
    MetricsScope = Some(Scope::Metrics);
    /// Required to change the server.
    AdminScope = Some(Scope::Admin);
}

/// A caller with a valid key or token that has the required scope and is within its rate limit.
#[derive(Debug)]
pub(super) struct Authenticated<S> {
    principal: Arc<Principal>,
    context: Arc<RequestContext>,
    bypasses_cache: bool,
    scope: PhantomData<fn() -> S>,
}

impl<S> Authenticated<S> {
    /// Returns the classifier options of this request.
    ///
    /// The timeout counts from the arrival of the request's head, however long its body takes to arrive. The priority is the lower
    /// one of `priority` and the key's own.
    pub(super) fn options(
        &self,
        top_k: Option<usize>,
        timeout: Duration,
        priority: Option<Priority>,
    ) -> RequestOptions {
        RequestOptions {
            top_k,
            threshold: None,
            deadline: Some((self.context.arrived + timeout).into()),
            priority: self.principal.priority.into_iter().chain(priority).max().unwrap_or_default(),
            share: self.principal.queue_share.clone(),
            bypass_cache: self.bypasses_cache,
            arrived: Some(self.context.arrived),
        }
    }

    /// Returns the name of the key or token in logs.
    pub(super) fn id(&self) -> &str {
        &self.principal.id
    }

    /// Returns the request id.
    pub(super) fn request_id(&self) -> &str {
        &self.context.id
    }

    /// Returns the bounds of the request's body.
    pub(super) fn body_limit(&self) -> &BodyLimit {
        &self.context.body_limit
    }

    /// Reports the phases of the classified image to the middleware.
    pub(super) fn report_timings(&self, timings: PhaseTimings) {
        let _ = self.context.timings.set(timings);
    }

    /// Reports the outcomes of the response cache, one per image, to the middleware.
    pub(super) fn report_cache_lookups(&self, lookups: impl IntoIterator<Item = CacheStatus>) {
        let _ = self.context.cache_lookups.set(lookups.into_iter().collect());
    }
}

impl<'a, S: RequiredScope> ApiExtractor<'a> for Authenticated<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = |ty, description| MetaSecurityScheme {
            ty,
            description: Some(description),
            name: None,
            key_in: None,
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let header = MetaSecurityScheme {
            name: Some(API_KEY_HEADER),
            key_in: Some("header"),
            ..scheme("apiKey", "An API key.")
        };
        let bearer = MetaSecurityScheme {
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            ..scheme("http", "An API key, or a token of the identity provider if the server is configured for one.")
        };
        registry.create_security_scheme(API_KEY, header);
        registry.create_security_scheme(BEARER, bearer);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![API_KEY, BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let ((authenticator, proxies), context) = request
            .data::<Arc<Authenticator>>()
            .zip(request.data::<Arc<TrustedProxies>>())
            .zip(request.data::<Arc<RequestContext>>())
            .ok_or_else(|| ApiError::new(ErrorCode::Internal, "authentication is not configured"))?;
        let credential = credential_of(request)
            .ok_or_else(|| ApiError::new(ErrorCode::KeyMissing, "this operation requires an API key or a token"))?;
        let principal =
            authenticator.authenticate(credential, proxies.client_ip(request)).await.map_err(ApiError::from)?;
        // Set before the caller can be refused, so that logs and metrics of refused requests name the key.
        let _ = context.principal.set(Arc::clone(&principal));
        authorize(&principal, S::SCOPE)?;
        Ok(Self {
            principal,
            context: Arc::clone(context),
            bypasses_cache: bypasses_cache(request),
            scope: PhantomData,
        })
    }
}

/// Checks the scope and the rate limit of a caller.
fn authorize(principal: &Principal, scope: Option<Scope>) -> Result<(), ApiError> {
    if let Some(scope) = scope.filter(|scope| !principal.has_scope(*scope)) {
        let (key, token) = (scope.as_str(), scope.name_in_tokens());
        let message = format!("the key or token lacks the scope '{key}', which tokens name '{token}'");
        return Err(ApiError::new(ErrorCode::ScopeMissing, message));
    }
    principal.check_rate().map_err(|wait| {
        ApiError::new(ErrorCode::RateExceeded, "the rate limit of the key, or of the subject of the token, is exceeded")
            .with_retry_after(wait)
    })
}

/// Returns the key in `X-API-Key`, or else the key or token in `Authorization: Bearer`.
fn credential_of(request: &Request) -> Option<Credential<'_>> {
    if let Some(key) = request.headers().get(API_KEY_HEADER) {
        return Some(Credential::Key(key.as_bytes()));
    }
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, credential) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| Credential::Bearer(credential.trim_ascii()))
}
