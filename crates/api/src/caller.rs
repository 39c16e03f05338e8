//! Who is asking: key or token are judged before anything of the body is read, since the caller is the first argument.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body_limit::BodyLimit;
use super::cache_status::wants_fresh;
use super::error::Code;
use super::failure::Failure;
use super::notes::Notes;
use super::peer::Peers;
use kiln_classifier::{LookUp, Options, Priority};
use kiln_runtime::telemetry::PhaseTimings;
use kiln_server::auth::{Principal, Authenticator, Credential, Scope};

/// Names of the two security schemes; either suffices.
const API_KEY: &str = "ApiKey";
const BEARER: &str = "Bearer";
/// The header of the first.
const HEADER: &str = "X-API-Key";

/// What an operation asks of its callers.
pub(super) trait Needs: Send + Sync + 'static {
    /// The scope that they must have; every caller is welcome where there is none.
    const SCOPE: Option<Scope>;
}

/// Any caller will do.
pub(super) struct AnyScope;
/// Pictures are classified for those who may have that.
pub(super) struct ToPredict;
/// What pictures show is told by those who may.
pub(super) struct ToGiveFeedback;
/// Metrics are shown to those who may see them.
pub(super) struct ToSeeMetrics;
/// Something is changed by those who may.
pub(super) struct ToAdminister;

impl Needs for AnyScope {
    const SCOPE: Option<Scope> = None;
}

impl Needs for ToPredict {
    const SCOPE: Option<Scope> = Some(Scope::Predict);
}

impl Needs for ToGiveFeedback {
    const SCOPE: Option<Scope> = Some(Scope::Feedback);
}

impl Needs for ToSeeMetrics {
    const SCOPE: Option<Scope> = Some(Scope::Metrics);
}

impl Needs for ToAdminister {
    const SCOPE: Option<Scope> = Some(Scope::Admin);
}

/// A caller whose key or token was right, who may do what he asks for, and does not ask too often.
#[derive(Debug)]
pub(super) struct Caller<N> {
    account: Arc<Principal>,
    notes: Arc<Notes>,
    /// Whether he wants answers of his own.
    wants_fresh: bool,
    needs: PhantomData<fn() -> N>,
}

impl<N> Caller<N> {
    /// What he asks the classifier for: an answer within `patience`, counted from the request's head however long its body
    /// took to come; and of the priority that he asks for and the one that he was given, the lower.
    pub(super) fn options(&self, top_k: usize, patience: Duration, priority: Option<Priority>) -> Options {
        Options {
            top_k,
            deadline: Some(self.notes.arrived + patience),
            priority: self.account.priority.into_iter().chain(priority).max().unwrap_or_default(),
            share: self.account.queue_share.clone(),
            fresh: self.wants_fresh,
            arrived: Some(self.notes.arrived),
        }
    }

    /// His name in logs.
    pub(super) fn id(&self) -> &str {
        &self.account.id
    }

    /// His request's id.
    pub(super) fn request_id(&self) -> &str {
        &self.notes.id
    }

    /// The bounds of his request's body.
    pub(super) fn body(&self) -> &BodyLimit {
        &self.notes.body
    }

    /// His answer is there; where its time went.
    pub(super) fn answered(&self, timings: PhaseTimings) {
        let _ = self.notes.timings.set(timings);
    }

    /// What came of looking for kept answers to his pictures.
    pub(super) fn looked_up(&self, look_ups: impl IntoIterator<Item = LookUp>) {
        let _ = self.notes.look_ups.set(look_ups.into_iter().collect());
    }
}

impl<'a, N: Needs> ApiExtractor<'a> for Caller<N> {
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
        let header =
            MetaSecurityScheme { name: Some(HEADER), key_in: Some("header"), ..scheme("apiKey", "An API key.") };
        let bearer = MetaSecurityScheme {
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            ..scheme("http", "A token of the identity provider, where the server was told of one; or an API key.")
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
        let ((authority, peers), notes) = request
            .data::<Arc<Authenticator>>()
            .zip(request.data::<Arc<Peers>>())
            .zip(request.data::<Arc<Notes>>())
            .ok_or_else(|| Failure::new(Code::Internal, "the server knows no keys"))?;
        let shown = shown(request).ok_or_else(|| Failure::new(Code::KeyMissing, "this operation needs an API key"))?;
        let account = authority.authenticate(shown, peers.address(request)).await.map_err(Failure::from)?;
        // Before he may be refused, for those who log and count.
        let _ = notes.caller.set(Arc::clone(&account));
        admit(&account, N::SCOPE)?;
        Ok(Self { account, notes: Arc::clone(notes), wants_fresh: wants_fresh(request), needs: PhantomData })
    }
}

/// Whether the caller may do that, and as often as this.
fn admit(account: &Principal, scope: Option<Scope>) -> Result<(), Failure> {
    if let Some(scope) = scope.filter(|scope| !account.has_scope(*scope)) {
        let message = format!("your key or token lacks the scope '{}'", scope.as_str());
        return Err(Failure::new(Code::ScopeMissing, message));
    }
    account.check_rate().map_err(|wait| {
        Failure::new(Code::RateExceeded, "your key is used more often than it may be").retry_after(wait)
    })
}

/// The key in `X-API-Key`, or else what is in `Authorization: Bearer`.
fn shown(request: &Request) -> Option<Credential<'_>> {
    if let Some(key) = request.headers().get(HEADER) {
        return Some(Credential::Key(key.as_bytes()));
    }
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, word) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| Credential::Bearer(word.trim_ascii()))
}
