//! Tokens as an identity provider signs them, and as an attacker does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{Config, TokenError, TokenSecret, Tokens};
use crate::auth::Scope;

const SECRET: &str = "a secret that is shared by two parties alone";

/// A provider with a key of each kind that ring can make, and the file that it publishes.
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

/// Claims of a token that holds, with some of them exchanged; `null` takes one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "kiln", "sub": "alice", "exp": now() + 60, "scope": "openid predict",
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

    fn tokens(&self, secret: Option<&str>) -> Tokens {
        let jwks = Some(self.published.path().to_str().unwrap().parse().unwrap());
        let secret = secret.map(|text| TokenSecret::parse(text).unwrap());
        let config = Config { jwks, secret, issuer: "https://id.example".into(), audience: "kiln".into() };
        Tokens::load(&config).unwrap()
    }

    fn es256(&self, message: &[u8]) -> Vec<u8> {
        self.p256.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn token(&self, changes: Value) -> String {
        signed(json!({"alg": "ES256", "kid": "ec"}), claims(changes), |message| self.es256(message))
    }
}

#[tokio::test]
async fn a_token_that_holds_names_its_bearer_and_what_he_may_do() {
    let provider = Provider::new();
    let tokens = provider.tokens(Some(SECRET));
    let ed25519 = |message: &[u8]| provider.ed25519.sign(message).as_ref().to_vec();
    let all = [
        provider.token(json!({})),
        signed(json!({"alg": "ES256"}), claims(json!({})), |message| provider.es256(message)),
        signed(json!({"alg": "EdDSA", "kid": "ed"}), claims(json!({})), ed25519),
        signed(json!({"alg": "HS256"}), claims(json!({})), |message| hs256(SECRET.as_bytes(), message)),
    ];
    for token in all {
        let account = tokens.verify(token.as_bytes()).await.unwrap();
        assert_eq!((account.id.as_str(), account.label.as_str()), ("token:alice", "token"));
        assert!(account.may(Scope::Predict) && !account.may(Scope::Admin));
    }
    let other_words =
        json!({"scope": null, "scp": ["kiln:metrics", "kiln:unheard-of"], "sub": "two\nlines", "aud": ["a", "kiln"]});
    let account = tokens.verify(provider.token(other_words).as_bytes()).await.unwrap();
    assert!(account.may(Scope::Metrics) && !account.may(Scope::Predict));
    assert_eq!(account.id, "token:", "a name that is fit for no log");
    let mut claims = claims(json!({}));
    claims["scope"] = Value::Null;
    let header = json!({"alg": "ES256", "kid": "ec"});
    let token = signed(header, claims, |message| provider.es256(message));
    assert!(!tokens.verify(token.as_bytes()).await.unwrap().may(Scope::Predict));
}

#[tokio::test]
async fn each_claim_that_is_wrong_is_told() {
    let provider = Provider::new();
    let tokens = provider.tokens(None);
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
        let refusal = tokens.verify(provider.token(changes.clone()).as_bytes()).await.unwrap_err();
        assert_eq!(refusal, expected, "{changes}");
    }
}

#[tokio::test]
async fn nobody_gets_in_by_another_algorithm() {
    let provider = Provider::new();
    let public = provider.p256.public_key().as_ref();
    let by = |header, secret: &[u8]| signed(header, claims(json!({})), |message| hs256(secret, message));
    let es256 = |header| signed(header, claims(json!({})), |message| provider.es256(message));
    let none = |alg| signed(json!({"alg": alg}), claims(json!({})), |_| Vec::new());
    let stranger = Provider::new();
    for (token, expected) in [
        (none("none"), TokenError::Malformed),
        (none("None"), TokenError::Malformed),
        // The public key, which everybody has, as the secret.
        (by(json!({"alg": "HS256", "kid": "ec"}), public), TokenError::UnknownKey),
        // A symmetric key of a set that is published.
        (by(json!({"alg": "HS256", "kid": "shared"}), SECRET.as_bytes()), TokenError::UnknownKey),
        // One key's name with another's algorithm.
        (es256(json!({"alg": "EdDSA", "kid": "ec"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "ed"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "for-encryption"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES384", "kid": "ec"})), TokenError::UnknownKey),
        (es256(json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false})), TokenError::Malformed),
        (stranger.token(json!({})), TokenError::Signature),
        (format!("{}x", provider.token(json!({}))), TokenError::Malformed),
        ("a.b.c".to_string(), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
    ] {
        let refusal = provider.tokens(None).verify(token.as_bytes()).await.unwrap_err();
        assert!(
            refusal == expected || (refusal, expected) == (TokenError::Signature, TokenError::Malformed),
            "{token}: {refusal:?}"
        );
    }
    let with_secret = provider.tokens(Some(SECRET));
    let forged = by(json!({"alg": "HS256"}), public);
    assert_eq!(with_secret.verify(forged.as_bytes()).await.unwrap_err(), TokenError::Signature);
}

#[tokio::test]
async fn a_token_that_was_changed_anywhere_does_not_hold() {
    let provider = Provider::new();
    let tokens = provider.tokens(None);
    let token = provider.token(json!({})).into_bytes();
    tokens.verify(&token).await.unwrap();
    for place in 0..token.len() {
        let mut changed = token.clone();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        // The last letter of a part may carry bits that mean nothing.
        let same = |text: &[u8]| {
            text.split(|byte| *byte == b'.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).collect::<Vec<_>>()
        };
        if same(&changed) != same(&token) {
            assert!(tokens.verify(&changed).await.is_err(), "letter {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_set_that_was_exchanged_before_anybody_looked_is_taken_too() {
    let (before, after) = (Provider::new(), Provider::new());
    let tokens = before.tokens(None);
    let token = after.token(json!({}));
    assert_eq!(tokens.verify(token.as_bytes()).await.unwrap_err(), TokenError::Signature);
    std::fs::rename(after.published.path(), before.published.path()).unwrap();
    let taken = async {
        while tokens.verify(token.as_bytes()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = tokens.keep_up() => panic!("nobody follows the file any more"),
        taken = tokio::time::timeout(Duration::from_secs(60), taken) => taken.expect("the exchange was missed"),
    }
}

#[test]
fn a_key_set_of_no_use_is_refused_with_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let load = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        let jwks = Some(file.path().to_str().unwrap().parse().unwrap());
        let config = Config { jwks, secret: None, issuer: "i".into(), audience: "a".into() };
        Tokens::load(&config).unwrap_err().to_string()
    };
    for (text, reason) in [
        ("[]", "it is no JSON Web Key Set"),
        ("{\"keys\": []}", "it has no key for RS256"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\"}]}", "it has no key for RS256"),
    ] {
        let refusal = load(text);
        assert!(refusal.contains(reason) && refusal.contains(file.path().to_str().unwrap()), "{refusal}");
    }
}

#[test]
fn addresses_without_encryption_and_secrets_too_short_are_refused() {
    let source = |text: &str| text.parse::<super::Source>();
    assert!(source("https://id.example/jwks.json").is_ok());
    assert!(source("http://127.0.0.1:8000/jwks.json").is_ok());
    for wrong in [
        "http://localhost:80@192.0.2.2/jwks.json",
        "https://user:word@id.example/",
        "http://id.example/jwks.json",
        "http://localhost.evil.example/",
        "ftp://id.example/",
    ] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
    assert!(TokenSecret::parse("short").is_err());
    assert_eq!(format!("{:?}", TokenSecret::parse(SECRET).unwrap()), "TokenSecret(..)");
}
