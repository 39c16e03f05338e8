//! Signatures: each key verifies the one algorithm that belongs to it, and a forged token is refused.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::{Provider, SECRET, TokenError, base64, claims, hs256, signed};

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

/// Returns an RSA key pair. ring cannot generate one, so openssl does. `None` if this machine has no openssl, which is a failure
/// in CI.
fn rsa_key() -> Option<RsaKeyPair> {
    let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet"];
    let Ok(made) = Command::new("openssl").args(arguments).output() else {
        assert!(std::env::var_os("CI").is_none(), "this machine needs openssl");
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = String::from_utf8(made.stdout).unwrap();
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Some(RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(text).unwrap()).unwrap())
}

fn rsa_encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        other => panic!("{other} is no RSA algorithm"),
    }
}

/// Asserts for each algorithm and each key that a token is valid if both belong together, and otherwise is refused. The id of
/// a key in `key_set` is its algorithm.
async fn assert_keys_verify_their_own_algorithm(
    provider: &Provider,
    key_set: Value,
    algorithms: &[&str],
    sign: impl Fn(&str, &[u8]) -> Vec<u8>,
) {
    std::fs::write(provider.published.path(), key_set.to_string()).unwrap();
    let verifier = provider.verifier(None);
    for algorithm in algorithms {
        for key in algorithms {
            let header = json!({"alg": algorithm, "kid": key});
            let token = signed(header, claims(json!({})), |message| sign(algorithm, message));
            let result = verifier.verify(token.as_bytes()).await.map(|principal| principal.id);
            let expected = if key == algorithm { Ok("token:alice".to_string()) } else { Err(TokenError::UnknownKey) };
            assert_eq!(result, expected, "a token with {algorithm} for the key of {key}");
            // The header names the algorithm of the key, but the signature has another one.
            let header = json!({"alg": key, "kid": key});
            let token = signed(header, claims(json!({})), |message| sign(algorithm, message));
            let result = verifier.verify(token.as_bytes()).await.map(|principal| principal.id);
            let expected = if key == algorithm { expected } else { Err(TokenError::Signature) };
            assert_eq!(result, expected, "a signature with {algorithm} for the key of {key}");
        }
    }
}

#[tokio::test]
async fn curve_of_a_key_determines_its_algorithm() {
    let (provider, random) = (Provider::new(), SystemRandom::new());
    let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let p384 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let p384 = EcdsaKeyPair::from_pkcs8(algorithm, p384.as_ref(), &random).unwrap();
    let ec = |kid: &str, curve: &str, key: &EcdsaKeyPair| {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "kid": kid, "x": base64(x), "y": base64(y)})
    };
    let mut mislabelled = ec("P-384 as ES256", "P-384", &p384);
    mislabelled["alg"] = json!("ES256");
    let key_set = json!({"keys": [
        ec("ES256", "P-256", &provider.p256),
        ec("ES384", "P-384", &p384),
        {"kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": base64(provider.ed25519.public_key())},
        mislabelled,
    ]});
    let sign = |algorithm: &str, message: &[u8]| match algorithm {
        "ES256" => provider.es256(message),
        "ES384" => p384.sign(&random, message).unwrap().as_ref().to_vec(),
        _ => provider.ed25519.sign(message).as_ref().to_vec(),
    };
    assert_keys_verify_their_own_algorithm(&provider, key_set, &["ES256", "ES384", "EdDSA"], sign).await;
    for alg in ["ES256", "ES384"] {
        let header = json!({"alg": alg, "kid": "P-384 as ES256"});
        let token = signed(header, claims(json!({})), |message| sign("ES384", message));
        assert_eq!(
            provider.verifier(None).verify(token.as_bytes()).await.unwrap_err(),
            TokenError::UnknownKey,
            "{alg}"
        );
    }
}

#[tokio::test]
async fn rsa_key_verifies_the_algorithm_that_it_declares() {
    let Some(rsa) = rsa_key() else { return };
    let provider = Provider::new();
    let components: RsaPublicKeyComponents<Vec<u8>> = rsa.public().into();
    let jwk = |kid: &str, alg: Option<&str>| json!({"kty": "RSA", "kid": kid, "alg": alg, "n": base64(&components.n), "e": base64(&components.e)});
    let sign = |algorithm: &str, message: &[u8]| {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(rsa_encoding(algorithm), &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let key_set = json!({"keys": algorithms.map(|algorithm| jwk(algorithm, Some(algorithm)))});
    assert_keys_verify_their_own_algorithm(&provider, key_set, &algorithms, sign).await;
    // A key that declares no algorithm is for RS256, and a key for encryption is for none.
    let key_set = json!({"keys": [jwk("silent", None), jwk("encryption", Some("RSA-OAEP"))]});
    std::fs::write(provider.published.path(), key_set.to_string()).unwrap();
    for (alg, kid, accepted) in [("RS256", "silent", true), ("PS256", "silent", false), ("RS256", "encryption", false)]
    {
        let token = signed(json!({"alg": alg, "kid": kid}), claims(json!({})), |message| sign(alg, message));
        let result = provider.verifier(None).verify(token.as_bytes()).await.map(|_| true);
        assert_eq!(result, if accepted { Ok(true) } else { Err(TokenError::UnknownKey) }, "{alg} {kid}");
    }
}
