//! Valid tokens of an identity provider, and forged ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{TokenError, TokenVerifier};
use crate::auth::config::{TokenConfig, TokenSecret};
use crate::auth::scope::Scope;
use crate::auth::token_scopes::{ScopeClaim, ScopeMap};

const SECRET: &str = "a secret that is shared by two parties alone";

/// An identity provider with a key of each type that ring can generate, and its published key set.
struct Provider {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    published: tempfile::NamedTempFile,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns the claims of a valid token with changes. `null` removes a claim.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "kiln", "sub": "alice", "exp": now() + 60, "scope": "openid kiln:predict",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn signed(header: Value, claims: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let signature = base64(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

impl Provider {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(algorithm, p256.as_ref(), &random).unwrap();
        let ed25519 = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let published = tempfile::NamedTempFile::new().unwrap();
        let provider = Self { p256, ed25519, published };
        std::fs::write(provider.published.path(), provider.key_set().to_string()).unwrap();
        provider
    }

    fn key_set(&self) -> Value {
        let (x, y) = self.p256.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": base64(x), "y": base64(y)},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": base64(self.ed25519.public_key())},
            {"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64(SECRET)},
            {"kty": "EC", "crv": "P-256", "kid": "for-encryption", "use": "enc", "x": base64(x), "y": base64(y)},
        ]})
    }

    /// Returns the configuration of a server that trusts this provider.
    fn config(&self) -> TokenConfig {
        TokenConfig {
            jwks: Some(self.published.path().to_str().unwrap().parse().unwrap()),
            secret: None,
            issuer: "https://id.example".into(),
            audience: "kiln".into(),
            scope_claim: ScopeClaim::default(),
            scope_map: ScopeMap::default(),
        }
    }

    fn verifier(&self, secret: Option<&str>) -> TokenVerifier {
        let secret = secret.map(|text| TokenSecret::parse(text).unwrap());
        TokenVerifier::load(&TokenConfig { secret, ..self.config() }).unwrap()
    }

    fn es256(&self, message: &[u8]) -> Vec<u8> {
        self.p256.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn token(&self, changes: Value) -> String {
        signed(json!({"alg": "ES256", "kid": "ec"}), claims(changes), |message| self.es256(message))
    }
}

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
async fn words_of_the_provider_open_nothing_unless_they_are_mapped() {
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
async fn token_cannot_choose_another_algorithm() {
    let provider = Provider::new();
    let public = provider.p256.public_key().as_ref();
    let hmac = |header, secret: &[u8]| signed(header, claims(json!({})), |message| hs256(secret, message));
    let es256 = |header| signed(header, claims(json!({})), |message| provider.es256(message));
    let none = |alg| signed(json!({"alg": alg}), claims(json!({})), |_| Vec::new());
    let other_provider = Provider::new();
    for (token, expected) in [
        (none("none"), TokenError::Malformed),
        (none("None"), TokenError::Malformed),
        // The public key used as the HMAC secret.
        (hmac(json!({"alg": "HS256", "kid": "ec"}), public), TokenError::UnknownKey),
        // A symmetric key from the published key set.
        (hmac(json!({"alg": "HS256", "kid": "shared"}), SECRET.as_bytes()), TokenError::UnknownKey),
        // The id of one key with the algorithm of another.
        (es256(json!({"alg": "EdDSA", "kid": "ec"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "ed"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "for-encryption"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES384", "kid": "ec"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false})), TokenError::Malformed),
        (other_provider.token(json!({})), TokenError::Signature),
        (format!("{}x", provider.token(json!({}))), TokenError::Malformed),
        ("a.b.c".to_string(), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
    ] {
        let error = provider.verifier(None).verify(token.as_bytes()).await.unwrap_err();
        assert!(
            error == expected || (error, expected) == (TokenError::Signature, TokenError::Malformed),
            "{token}: {error:?}"
        );
    }
    let with_secret = provider.verifier(Some(SECRET));
    let forged = hmac(json!({"alg": "HS256"}), public);
    assert_eq!(with_secret.verify(forged.as_bytes()).await.unwrap_err(), TokenError::Signature);
}

#[tokio::test]
async fn token_with_one_changed_character_is_refused() {
    let provider = Provider::new();
    let verifier = provider.verifier(None);
    let token = provider.token(json!({})).into_bytes();
    verifier.verify(&token).await.unwrap();
    for position in 0..token.len() {
        let mut changed = token.clone();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        // The last character of a part may have unused bits.
        let same = |text: &[u8]| {
            text.split(|byte| *byte == b'.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).collect::<Vec<_>>()
        };
        if same(&changed) != same(&token) {
            assert!(verifier.verify(&changed).await.is_err(), "character {position}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_set_replaced_before_the_first_check_is_loaded() {
    let (before, after) = (Provider::new(), Provider::new());
    let verifier = before.verifier(None);
    let token = after.token(json!({}));
    assert_eq!(verifier.verify(token.as_bytes()).await.unwrap_err(), TokenError::Signature);
    std::fs::rename(after.published.path(), before.published.path()).unwrap();
    let accepted = async {
        while verifier.verify(token.as_bytes()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = verifier.watch_keys() => panic!("the file is not watched any more"),
        result = tokio::time::timeout(Duration::from_secs(60), accepted) => result.expect("the new file was missed"),
    }
}

#[test]
fn unusable_key_set_is_refused_with_its_path() {
    let provider = Provider::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let load = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        let jwks = Some(file.path().to_str().unwrap().parse().unwrap());
        TokenVerifier::load(&TokenConfig { jwks, ..provider.config() }).unwrap_err().to_string()
    };
    for (text, reason) in [
        ("[]", "it is not a JSON Web Key Set"),
        ("{\"keys\": []}", "it has no key for RS256"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\"}]}", "it has no key for RS256"),
    ] {
        let error = load(text);
        assert!(error.contains(reason) && error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
