//! `kiln keygen --id NAME`: a key, and the entry of a key file that knows it.

use kiln_server::auth::{ApiKey, KeyEntry, KeyPolicy};

/// What to tell the key's owner, and the entry. The key stands in the first alone.
pub fn keygen(policy: KeyPolicy) -> (String, String) {
    let key = ApiKey::generate();
    let told = format!("The key of '{}', shown once: {}", policy.id, key.expose());
    (told, KeyEntry { digest: key.digest(), policy }.to_toml())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_server::auth::{Authenticator, Config, Credential, Priority, Scope};

    #[tokio::test]
    async fn the_key_that_is_told_is_the_one_that_the_entry_lets_in() {
        let scopes = [Scope::Metrics].into_iter().collect();
        let (id, priority) = ("prometheus".to_string(), Priority::Normal);
        let (told, entry) = keygen(KeyPolicy { id, scopes, expires: None, rate_limit: None, queue_share: None, priority });
        let key = told.split_whitespace().last().unwrap();
        assert!(!entry.contains(key), "the entry holds the key");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), entry).unwrap();
        let max_auth_failures = std::num::NonZeroU32::MIN;
        let config = Config { api_key: None, key_file: Some(file.path().into()), tokens: None, max_auth_failures };
        let authority = Authenticator::load(&config, None).unwrap();
        let account = authority.authenticate(Credential::Key(key.as_bytes()), None).await.unwrap();
        assert_eq!(account.id, "prometheus");
        assert!(account.has_scope(Scope::Metrics) && !account.has_scope(Scope::Predict));
    }
}
