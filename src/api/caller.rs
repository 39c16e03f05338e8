//! Who is asking: the key is checked before anything of the body is read, since the caller is the first argument.

use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::error::Code;
use super::failure::Failure;
use crate::keys::Secret;

/// Names of the two security schemes; either suffices.
const API_KEY: &str = "ApiKey";
const BEARER: &str = "Bearer";
/// The header of the first.
const HEADER: &str = "X-API-Key";

/// A caller whose key was right.
#[derive(Debug)]
pub(super) struct Caller;

impl<'a> ApiExtractor<'a> for Caller {
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
            name: Some(HEADER),
            key_in: Some("header"),
            ..scheme("apiKey", "The server's key (`KILN_API_KEY`).")
        };
        let bearer = MetaSecurityScheme { scheme: Some("bearer"), ..scheme("http", "The same key as a bearer token.") };
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
        let expected =
            request.data::<Arc<Secret>>().ok_or_else(|| Failure::new(Code::Internal, "the server has no key"))?;
        let given = given(request).ok_or_else(|| Failure::new(Code::KeyMissing, "this operation needs an API key"))?;
        if expected.matches(given) {
            return Ok(Self);
        }
        Err(Failure::new(Code::KeyInvalid, "the API key is not valid").into())
    }
}

/// The key in `X-API-Key`, or else in `Authorization: Bearer`.
fn given(request: &Request) -> Option<&[u8]> {
    if let Some(key) = request.headers().get(HEADER) {
        return Some(key.as_bytes());
    }
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}
