//! The small tools: `kiln devices`, `kiln healthcheck` and `kiln keygen --id NAME`.

use std::fmt::Write as _;
use std::time::SystemTime;

use kiln_inference::adapters::{self, Adapter, Api};
use kiln_inference::{has_bf16, select_auto};
use kiln_runtime::http_client::{CertificateVerification, agent_config};
use kiln_server::auth::{ApiKey, KeyEntry, KeyPolicy};
use ureq::Agent;

use crate::config::Healthcheck;

/// Returns the table of `kiln devices`: every device of this machine, with a mark at the one that `auto` selects.
pub fn devices() -> String {
    let adapters = adapters::enumerate();
    let chosen = select_auto(&adapters);
    let mut table = String::from("  DEVICE      KIND            API          COMPILER  PRECISION  NAME AND DRIVER\n");
    let mut row = |is_chosen: bool, [flag, kind, api, compiler, precision, name]: [&str; 6]| {
        let mark = if is_chosen { '*' } else { ' ' };
        let _ = writeln!(table, "{mark} {flag:<11} {kind:<15} {api:<12} {compiler:<9} {precision:<10} {name}");
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu_name = format!("{threads} threads, {}", std::env::consts::ARCH);
    let cpu_precisions = if has_bf16() { "f32, bf16" } else { "f32" };
    row(chosen.is_err(), ["cpu", "CPU", "flex", "Rust", cpu_precisions, &cpu_name]);
    for (adapter, flag) in adapters.iter().zip(device_flags(&adapters)) {
        let is_chosen = chosen.as_ref().is_ok_and(|picked| std::ptr::eq(*picked, adapter));
        let (kind, api) = (adapter.kind.to_string(), adapter.api.to_string());
        let buffers = bytesize::ByteSize(adapter.max_buffer_bytes);
        let name = format!("{} ({}), buffers up to {buffers}", adapter.name, adapter.driver);
        row(is_chosen, [&flag, &kind, &api, adapter.compiler(), adapter.precisions(), &name]);
    }
    let reason = match &chosen {
        Ok(adapter) => &adapter.name,
        Err(reason) => reason,
    };
    let _ = writeln!(table, "\n* is what '--device auto' takes: {reason}.");
    table.push_str("The graphics APIs do not report the memory size of a device.\n");
    table.push_str(if cfg!(feature = "cuda") {
        "This build supports CUDA, but CUDA devices are not listed. Select one with '--device cuda:N'.\n"
    } else {
        "This build does not support CUDA; build with '--features cuda' to add it.\n"
    });
    table
}

/// Returns the value of `--device` that selects each adapter.
pub(super) fn device_flags(adapters: &[Adapter]) -> Vec<String> {
    let mut vulkan = 0;
    let flag = |adapter: &Adapter| match adapter.api {
        Api::Vulkan => {
            vulkan += 1;
            format!("vulkan:{}", vulkan - 1)
        }
        Api::Metal => "metal".to_string(),
        Api::Dx12 => "auto".to_string(),
    };
    adapters.iter().map(flag).collect()
}

/// The error of [`healthcheck`].
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The address has port 0.
    #[error("--listen has port 0, so the port of the server is unknown; set --listen to the actual port")]
    UnknownPort,
    /// There is no response.
    #[error("{url} does not answer: {reason}")]
    NoResponse {
        /// The URL of the request.
        url: String,
        /// The error of the connection.
        reason: String,
    },
    /// The server reports that it is not healthy.
    #[error("{url} answers {status}: {body}")]
    Unhealthy {
        /// The URL of the request.
        url: String,
        /// The status code of the response.
        status: u16,
        /// The start of the response body.
        body: String,
    },
}

/// Sends one health request to the server of this machine, without a key. Containers use it, since their image has no
/// curl.
///
/// # Errors
///
/// Returns an error if the response is not 200 or does not arrive in time.
pub fn healthcheck(request: Healthcheck) -> Result<(), HealthcheckError> {
    let url = health_url(&request)?;
    // A certificate never names the loopback address, and the request contains no secret.
    let config = agent_config(CertificateVerification::Disabled)
        .timeout_global(Some(request.timeout))
        .http_status_as_error(false)
        .proxy(None);
    let agent: Agent = config.build().into();
    let no_response = |error: ureq::Error| HealthcheckError::NoResponse { url: url.clone(), reason: error.to_string() };
    let mut response = agent.get(&url).header("Connection", "close").call().map_err(no_response)?;
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(());
    }
    // The error is one line.
    let body = response.body_mut().with_config().limit(1 << 10).read_to_string().unwrap_or_default();
    Err(HealthcheckError::Unhealthy { url, status, body: body.trim().to_string() })
}

fn health_url(request: &Healthcheck) -> Result<String, HealthcheckError> {
    let address = kiln_server::connectable_address(request.listen);
    let scheme = if request.tls { "https" } else { "http" };
    let path = if request.live { "/health/live" } else { "/health/ready" };
    match address.port() {
        0 => Err(HealthcheckError::UnknownPort),
        _ => Ok(format!("{scheme}://{address}{path}")),
    }
}

/// Generates an API key. Returns a message with the key for its owner, and the entry for a key file, which contains
/// only the digest. The message begins with a warning if the key has expired already.
pub fn keygen(policy: KeyPolicy) -> (String, String) {
    let key = ApiKey::generate();
    let expired = policy.expires.filter(|expires| *expires <= SystemTime::now());
    let warning = expired.map_or_else(String::new, |expires| {
        let expires = humantime::format_rfc3339_seconds(expires);
        format!(
            "warning: --expires {expires} is in the past, so no server accepts this key; choose a later time, such as \
             90d\n"
        )
    });
    let message = format!("{warning}The key of '{}', shown once: {}", policy.id, key.expose());
    (message, KeyEntry { digest: key.digest(), policy }.to_toml())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::{Duration, UNIX_EPOCH};

    use kiln_server::auth::{Authenticator, Config, Credential, Priority, Scope};

    use super::*;

    #[test]
    fn healthcheck_of_an_unspecified_address_uses_the_loopback_address() {
        let url = |listen: &str, tls, live| {
            let timeout = Duration::from_secs(1);
            health_url(&Healthcheck { listen: listen.parse().unwrap(), tls, live, timeout }).map_err(|e| e.to_string())
        };
        assert_eq!(url("0.0.0.0:80", false, false).unwrap(), "http://127.0.0.1:80/health/ready");
        assert_eq!(url("[::]:80", true, true).unwrap(), "https://[::1]:80/health/live");
        assert_eq!(url("10.0.0.7:8080", false, true).unwrap(), "http://10.0.0.7:8080/health/live");
        assert!(url("127.0.0.1:0", false, false).unwrap_err().contains("--listen has port 0"));
    }

    fn policy(expires: Option<SystemTime>) -> KeyPolicy {
        let scopes = [Scope::Metrics].into_iter().collect();
        let (id, priority) = ("prometheus".to_string(), Priority::Normal);
        KeyPolicy { id, scopes, expires, rate_limit: None, queue_share: None, priority }
    }

    #[test]
    fn key_that_has_expired_already_is_printed_with_a_warning() {
        let (message, _) = keygen(policy(Some(UNIX_EPOCH + Duration::from_secs(1_577_836_800))));
        assert!(message.starts_with("warning: --expires 2020-01-01T00:00:00Z is in the past"), "{message}");
        // Scripts take the last word.
        assert!(message.split_whitespace().last().unwrap().starts_with("kiln_"), "{message}");
        for expires in [None, Some(SystemTime::now() + Duration::from_secs(60))] {
            assert!(keygen(policy(expires)).0.starts_with("The key of 'prometheus'"), "{expires:?}");
        }
    }

    #[tokio::test]
    async fn printed_key_authenticates_with_the_printed_entry() {
        let (message, entry) = keygen(policy(None));
        let key = message.split_whitespace().last().unwrap();
        assert!(!entry.contains(key), "the entry contains the key");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), entry).unwrap();
        let max_auth_failures = NonZeroU32::MIN;
        let config = Config { api_key: None, key_file: Some(file.path().into()), tokens: None, max_auth_failures };
        let authenticator = Authenticator::load(&config, None).unwrap();
        let principal = authenticator.authenticate(Credential::Key(key.as_bytes()), None).await.unwrap();
        assert_eq!(principal.id, "prometheus");
        assert!(principal.has_scope(Scope::Metrics) && !principal.has_scope(Scope::Predict));
    }
}
