//! Key sets: replaced files, and files that cannot be used.

use std::time::Duration;

use serde_json::json;

use super::{Provider, TokenConfig, TokenError, TokenVerifier};

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
