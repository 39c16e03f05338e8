//! The principal of a valid token: its subject and scopes, and the claims that make a token invalid.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::{Provider, SECRET, claims, hs256, now, signed};
use super::{Scope, ScopeMap, TokenConfig, TokenError, TokenVerifier};
use crate::auth::principal::RateLimit;

#[tokio::test]
async fn valid_token_yields_its_subject_and_scopes() {
    let provider = Provider::new();
    let verifier = provider.verifier(Some(SECRET));
    let ed25519 = |message: &[u8]| provider.ed25519.sign(message).as_ref().to_vec();
    let valid = [
        provider.token(json!({})),
        signed(json!({"alg": "ES256"}), claims(json!({})), |message| provider.es256(message)),
        signed(json!({"alg": "EdDSA", "kid": "ed"}), claims(json!({})), ed25519),
        signed(json!({"alg": "HS256"}), claims(json!({})), |message| hs256(SECRET.as_bytes(), message)),
    ];
    for token in valid {
        let principal = verifier.verify(token.as_bytes()).await.unwrap();
        assert_eq!((principal.id.as_str(), principal.metric_label.as_str()), ("token:alice", "token"));
        assert!(principal.has_scope(Scope::Predict) && !principal.has_scope(Scope::Admin));
    }
    let other_claims =
        json!({"scope": null, "scp": ["kiln:metrics", "kiln:unknown"], "sub": "two\nlines", "aud": ["a", "kiln"]});
    let principal = verifier.verify(provider.token(other_claims).as_bytes()).await.unwrap();
    assert!(principal.has_scope(Scope::Metrics) && !principal.has_scope(Scope::Predict));
    assert_eq!(principal.id, "token:", "the subject has a line break");
    let mut claims = claims(json!({}));
    claims["scope"] = Value::Null;
    let header = json!({"alg": "ES256", "kid": "ec"});
    let token = signed(header, claims, |message| provider.es256(message));
    assert!(!verifier.verify(token.as_bytes()).await.unwrap().has_scope(Scope::Predict));
}

#[tokio::test]
async fn words_of_the_provider_grant_nothing_unless_they_are_mapped() {
    let provider = Provider::new();
    let scopes = async |map: &str, words: &str| {
        let scope_map = if map.is_empty() { ScopeMap::default() } else { map.parse().unwrap() };
        let verifier = TokenVerifier::load(&TokenConfig { scope_map, ..provider.config() }).unwrap();
        let token = provider.token(json!({"scope": words, "scp": words.split(' ').collect::<Vec<_>>()}));
        verifier.verify(token.as_bytes()).await.unwrap().scopes.to_string()
    };
    assert_eq!(scopes("", "predict feedback metrics admin").await, "");
    assert_eq!(scopes("", "admin kiln:predict").await, "predict");
    assert_eq!(scopes("image-users=predict", "image-users admin kiln:metrics").await, "predict, metrics");
}

#[tokio::test]
async fn only_the_configured_claim_lists_scopes() {
    let provider = Provider::new();
    let scope_claim = "realm_access.roles".parse().unwrap();
    let verifier = TokenVerifier::load(&TokenConfig { scope_claim, ..provider.config() }).unwrap();
    let scopes = async |changes: Value| {
        let principal = verifier.verify(provider.token(changes).as_bytes()).await?;
        Ok::<_, TokenError>(principal.scopes.to_string())
    };
    let roles = |roles: Value| json!({"scope": "kiln:admin", "scp": "kiln:admin", "realm_access": {"roles": roles}});
    assert_eq!(scopes(roles(json!(["offline_access", "kiln:predict"]))).await.as_deref(), Ok("predict"));
    assert_eq!(scopes(roles(json!("kiln:metrics kiln:predict"))).await.as_deref(), Ok("predict, metrics"));
    assert_eq!(scopes(json!({"scope": "kiln:admin"})).await.as_deref(), Ok(""));
    assert_eq!(scopes(roles(json!([7]))).await, Err(TokenError::Malformed));
}

#[tokio::test]
async fn each_invalid_claim_has_its_error() {
    let provider = Provider::new();
    let verifier = provider.verifier(None);
    for (changes, expected) in [
        (json!({"exp": now() - 60}), TokenError::Expired),
        (json!({"nbf": now() + 60}), TokenError::NotYet),
        (json!({"iss": "https://evil.example"}), TokenError::Issuer),
        (json!({"aud": "another"}), TokenError::Audience),
        (json!({"aud": ["a", "b"]}), TokenError::Audience),
        (json!({"exp": null}), TokenError::Incomplete),
        (json!({"iss": null}), TokenError::Incomplete),
        (json!({"aud": null}), TokenError::Incomplete),
        (json!({"scope": 7}), TokenError::Malformed),
    ] {
        let error = verifier.verify(provider.token(changes.clone()).as_bytes()).await.unwrap_err();
        assert_eq!(error, expected, "{changes}");
    }
}

#[tokio::test]
async fn tokens_of_a_subject_share_its_rate() {
    let provider = Provider::new();
    let rate_limit = RateLimit::from_settings(Some(0.01), NonZeroU32::new(2)).unwrap();
    let verifier = TokenVerifier::load(&TokenConfig { rate_limit, ..provider.config() }).unwrap();
    let request = async |changes: Value| {
        let token = provider.token(changes);
        verifier.verify(token.as_bytes()).await.unwrap().check_rate()
    };
    request(json!({})).await.unwrap();
    request(json!({"jti": "another token", "scope": "kiln:admin"})).await.unwrap();
    let wait = request(json!({})).await.unwrap_err();
    assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
    request(json!({"sub": "bob"})).await.unwrap();
    // The subjects differ although neither is shown in the log.
    for subject in ["two\nlines", "three\nlines"] {
        request(json!({"sub": subject})).await.unwrap();
        request(json!({"sub": subject})).await.unwrap();
        request(json!({"sub": subject})).await.unwrap_err();
    }
    for _ in 0..2 {
        request(json!({"sub": null})).await.unwrap();
    }
    request(json!({"sub": null})).await.unwrap_err();
    let unlimited = provider.verifier(None).verify(provider.token(json!({})).as_bytes()).await.unwrap();
    assert!((0..100).all(|_| unlimited.check_rate().is_ok()));
}
