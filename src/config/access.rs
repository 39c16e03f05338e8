//! Who may call: keys, tokens, proxies and the way to the metrics. Each is told by several settings.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::values::Reader;
use kiln_api::{MetricsAccess, TrustedProxies};
use kiln_server::auth::{Config, ApiKey, TokenConfig, TokenSecret};

pub(super) fn keys(read: &Reader<'_>) -> Result<Config, ConfigError> {
    let most = read.between("max-auth-failures", 1, 1_000_000)?;
    Ok(Config {
        api_key: api_key(read)?,
        key_file: read.text("keys").map(PathBuf::from),
        tokens: tokens(read)?,
        max_auth_failures: u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
    })
}

/// The key itself, or what the file that `api-key-file` names holds.
fn api_key(read: &Reader<'_>) -> Result<Option<ApiKey>, ConfigError> {
    let (setting, text) = match (read.text("api-key"), read.text("api-key-file")) {
        (Some(_), Some(_)) => {
            return Err(read.refuse_secret("api-key", "and api-key-file are both set; which one holds? Take one out."));
        }
        (Some(key), None) => ("api-key", key.to_string()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(Path::new(path));
            ("api-key-file", text.map_err(|e| read.refuse("api-key-file", &format!("cannot be read: {e}")))?)
        }
        (None, None) => return Ok(None),
    };
    ApiKey::parse(text.trim()).map(Some).map_err(|reason| read.refuse_secret(setting, &reason))
}

/// Tokens are judged by all of these together; a part alone would let in more than was meant.
fn tokens(read: &Reader<'_>) -> Result<Option<TokenConfig>, ConfigError> {
    let jwks =
        read.text("jwt-jwks").map(|text| text.parse().map_err(|reason: String| read.refuse("jwt-jwks", &reason)));
    let jwks = jwks.transpose()?;
    let secret = read.text("jwt-secret").map(TokenSecret::parse).transpose();
    let secret = secret.map_err(|reason| read.refuse_secret("jwt-secret", &reason))?;
    let needs = |of: &str| {
        let why = "needs jwt-issuer and jwt-audience beside it: whose tokens are accepted, and for whom they must be";
        Err(read.refuse_secret(of, why))
    };
    match (read.text("jwt-issuer"), read.text("jwt-audience")) {
        (Some(issuer), Some(audience)) if jwks.is_some() || secret.is_some() => {
            let (issuer, audience) = (issuer.to_string(), audience.to_string());
            Ok(Some(TokenConfig { jwks, secret, issuer, audience }))
        }
        _ if jwks.is_some() => needs("jwt-jwks"),
        _ if secret.is_some() => needs("jwt-secret"),
        (None, None) => Ok(None),
        (issuer, _) => {
            let setting = if issuer.is_some() { "jwt-issuer" } else { "jwt-audience" };
            Err(read.refuse(setting, "needs jwt-jwks or jwt-secret beside it: what tokens are verified with"))
        }
    }
}

pub(super) fn trusted_proxies(read: &Reader<'_>) -> Result<TrustedProxies, ConfigError> {
    let networks =
        read.text("trusted-proxy").unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty());
    let networks = networks.map(|text| text.parse().or_else(|_| text.parse().map(single)));
    let networks: Result<Vec<_>, std::net::AddrParseError> = networks.collect();
    Ok(TrustedProxies {
        networks: networks
            .map_err(|_| read.refuse("trusted-proxy", "must be networks with commas, such as 10.0.0.0/8,192.0.2.7"))?,
        header: read.parsed("forwarded-header", "x-forwarded-for or forwarded")?,
    })
}

/// A network of one address.
fn single(address: std::net::IpAddr) -> ipnet::IpNet {
    address.into()
}

pub(super) fn metrics(read: &Reader<'_>) -> Result<MetricsAccess, ConfigError> {
    let guarded: bool = read.parsed("metrics-auth", "true or false")?;
    if !read.parsed("metrics", "true or false")? {
        return match read.text("metrics-listen") {
            Some(_) => Err(read.refuse("metrics-listen", "shows the metrics, but 'metrics' says that there are none")),
            None => Ok(MetricsAccess::Off),
        };
    }
    match (guarded, read.text("metrics-listen")) {
        (true, Some(_)) => {
            Err(read.refuse("metrics-listen", "shows the metrics without a key; take out that or metrics-auth"))
        }
        (true, None) => Ok(MetricsAccess::Guarded),
        (false, Some(_)) => Ok(MetricsAccess::Elsewhere),
        (false, None) => Ok(MetricsAccess::Open),
    }
}

pub(super) fn metrics_listen(read: &Reader<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let address = read
        .text("metrics-listen")
        .map(|_| read.parsed("metrics-listen", "an address and a port, such as 127.0.0.1:9090"));
    address.transpose()
}
