//! The scopes of a token: which claim lists its words, and what they permit.
//!
//! A word permits something only if it is a scope with the prefix `kiln:`, or if the operator maps it to a scope. Providers have
//! words such as `admin` for their own purposes, and those must not grant access to Kiln.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::scope::{Scope, Scopes, TOKEN_PREFIX};

/// The claim that lists the scopes of a token (RFC 8693, section 4.2).
const DEFAULT_CLAIM: &str = "scope";
/// The claim that Microsoft and Okta use instead.
const ALTERNATIVE_CLAIM: &str = "scp";

/// The name of the claim that lists the scopes of a token. Dots lead into nested objects, as in `realm_access.roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeClaim(String);

/// The error for a claim that is neither text nor a list of texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidScopeClaim;

/// The scopes that the operator gives to words of the identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeMap(HashMap<String, Scopes>);

impl ScopeClaim {
    /// Returns the words of the claim. A text has words separated by spaces; in a list, each element is one word. A token
    /// without the claim has no words.
    ///
    /// # Errors
    ///
    /// Returns an error if the claim is neither text nor a list of texts.
    pub(super) fn words<'a>(&self, claims: &'a Map<String, Value>) -> Result<Vec<&'a str>, InvalidScopeClaim> {
        let alternative = (self.0 == DEFAULT_CLAIM).then(|| claims.get(ALTERNATIVE_CLAIM)).flatten();
        let mut words = Vec::new();
        for claim in find(claims, &self.0).into_iter().chain(alternative) {
            match claim {
                Value::Null => {}
                Value::String(text) => words.extend(text.split_ascii_whitespace()),
                Value::Array(list) => {
                    for element in list {
                        words.push(element.as_str().ok_or(InvalidScopeClaim)?);
                    }
                }
                _ => return Err(InvalidScopeClaim),
            }
        }
        Ok(words)
    }
}

/// Finds a claim. A name of a claim may itself contain dots (`https://id.example/roles`, or the name of a client below
/// `resource_access` of Keycloak), so a dot leads into an object only if no claim has the whole name.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let nested = |at: usize| find(claims.get(&name[..at])?.as_object()?, &name[at + 1..]);
    claims.get(name).or_else(|| name.match_indices('.').find_map(|(at, _)| nested(at)))
}

impl Default for ScopeClaim {
    fn default() -> Self {
        Self(DEFAULT_CLAIM.to_string())
    }
}

impl FromStr for ScopeClaim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
        if !text.split('.').all(is_name) {
            return Err("must be the name of a claim, such as scope, roles or realm_access.roles".to_string());
        }
        Ok(Self(text.to_string()))
    }
}

impl ScopeMap {
    /// Returns the scopes of the words of one token. Unknown words belong to other services and are ignored.
    pub(super) fn scopes<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Scopes {
        words.into_iter().flat_map(|word| self.scopes_of(word).iter()).collect()
    }

    fn scopes_of(&self, word: &str) -> Scopes {
        match word.strip_prefix(TOKEN_PREFIX) {
            Some(name) => name.parse::<Scope>().into_iter().collect(),
            None => self.0.get(word).copied().unwrap_or_default(),
        }
    }
}

impl FromStr for ScopeMap {
    type Err = String;

    /// Parses `WORD=SCOPE` with commas. Spaces around an element are ignored. A word that stands several times has several
    /// scopes.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for element in text.split(',') {
            // A word may contain `=`, a scope does not.
            let (word, scope) = element
                .rsplit_once('=')
                .map(|(word, scope)| (word.trim(), scope.trim()))
                .filter(|(word, _)| !word.is_empty())
                .ok_or("must be WORD=SCOPE, several with commas, such as image-users=predict,ml-ops=admin")?;
            if word.starts_with(TOKEN_PREFIX) {
                return Err(format!("maps '{word}', but a word with the prefix '{TOKEN_PREFIX}' is always a scope"));
            }
            let scope = scope.parse::<Scope>().map_err(|error| format!("is wrong: {error}"))?;
            map.0.entry(word.to_string()).or_default().insert(scope);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(claim: &str, claims: &Value) -> Result<String, InvalidScopeClaim> {
        let claim: ScopeClaim = claim.parse().unwrap();
        claim.words(claims.as_object().unwrap()).map(|words| words.join("|"))
    }

    #[test]
    fn claim_is_text_or_a_list_at_any_depth() {
        let claims = json!({
            "scope": "openid  kiln:predict", "scp": ["kiln:metrics"], "roles": ["Image Users", "b"], "groups": null,
            "realm_access": {"roles": ["offline_access", "kiln:admin"]},
            "resource_access": {"https://kiln.example": {"roles": ["nested"]}},
            "https://id.example/roles": "namespaced",
        });
        for (claim, expected) in [
            ("scope", "openid|kiln:predict|kiln:metrics"),
            ("scp", "kiln:metrics"),
            ("roles", "Image Users|b"),
            ("groups", ""),
            ("absent", ""),
            ("realm_access.roles", "offline_access|kiln:admin"),
            ("realm_access.absent", ""),
            ("scope.roles", ""),
            ("resource_access.https://kiln.example.roles", "nested"),
            ("https://id.example/roles", "namespaced"),
        ] {
            assert_eq!(words(claim, &claims).as_deref(), Ok(expected), "{claim}");
        }
        assert_eq!(ScopeClaim::default(), "scope".parse().unwrap());
    }

    #[test]
    fn claim_of_another_type_is_an_error() {
        for claim in [json!(7), json!(true), json!({"roles": []}), json!(["a", 7]), json!([["a"]])] {
            assert_eq!(words("roles", &json!({"roles": claim})), Err(InvalidScopeClaim), "{claim}");
        }
        assert_eq!(words("roles", &json!({"scope": 7, "scp": 7})).as_deref(), Ok(""), "another claim was read");
    }

    #[test]
    fn text_that_names_no_claim_is_refused() {
        for text in ["", ".", "realm_access.", ".roles", "a..b", "realm access", "a\n"] {
            assert!(text.parse::<ScopeClaim>().is_err(), "{text}");
        }
    }

    fn scopes(map: &str, words: &[&str]) -> String {
        map.parse::<ScopeMap>().unwrap().scopes(words.iter().copied()).to_string()
    }

    #[test]
    fn word_grants_nothing_without_the_prefix_or_a_mapping() {
        let unmapped = ScopeMap::default();
        for word in
            ["predict", "feedback", "metrics", "admin", "kiln:", "kiln:root", "kiln:kiln:admin", "Kiln:admin", ""]
        {
            assert!(unmapped.scopes([word]).is_empty(), "{word}");
        }
        assert_eq!(
            unmapped.scopes(["openid", "admin", "kiln:predict", "kiln:metrics"]).to_string(),
            "predict, metrics"
        );
    }

    #[test]
    fn mapped_word_has_exactly_its_scopes() {
        let map = "image-users=predict, ml-ops=admin,ml-ops=predict, cn=Image Team=metrics";
        assert_eq!(scopes(map, &["image-users", "admin"]), "predict");
        assert_eq!(scopes(map, &["ml-ops"]), "predict, admin");
        assert_eq!(scopes(map, &["cn=Image Team", "kiln:feedback"]), "feedback, metrics");
        assert_eq!(scopes(map, &["Image-Users", "image-users ", "ml-ops=admin"]), "");
        assert_eq!(scopes("predict=predict", &["predict", "admin"]), "predict");
    }

    #[test]
    fn invalid_mapping_is_refused_with_its_reason() {
        for (text, reason) in [
            ("image-users", "must be WORD=SCOPE"),
            ("=predict", "must be WORD=SCOPE"),
            ("a=predict,", "must be WORD=SCOPE"),
            ("a=root", "is wrong: 'root' is not a scope; the scopes are predict"),
            ("a=kiln:predict", "is wrong: 'kiln:predict' is not a scope"),
            ("kiln:predict=admin", "maps 'kiln:predict', but"),
        ] {
            let error = text.parse::<ScopeMap>().unwrap_err();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
