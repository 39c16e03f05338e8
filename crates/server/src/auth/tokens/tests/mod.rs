//! Valid tokens of an identity provider, and forged ones. This file has the provider.

mod algorithms;
mod key_set;
mod principal;

use std::time::{SystemTime, UNIX_EPOCH};

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
            rate_limit: None,
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
