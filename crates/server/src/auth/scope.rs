//! Scopes: the permissions of a caller.

use std::fmt;
use std::str::FromStr;

/// Prefix of a scope in tokens. It separates the scopes of Kiln from the words that an identity provider uses for other services.
pub(super) const TOKEN_PREFIX: &str = "kiln:";

/// One permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Permits classification of images.
    Predict,
    /// Permits feedback: reporting the true label of an image.
    Feedback,
    /// Permits reading the metrics, if they require authentication.
    Metrics,
    /// Permits changes, such as reloading the key file or promoting a model version.
    Admin,
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// The error for a text that is not the name of a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a scope; the scopes are {all}", all = Scopes::all())]
pub struct UnknownScope(String);

impl Scope {
    const ALL: [Self; 4] = [Self::Predict, Self::Feedback, Self::Metrics, Self::Admin];

    /// Returns the name of the scope in key files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Feedback => "feedback",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// Returns the name of the scope in tokens.
    pub fn name_in_tokens(self) -> String {
        format!("{TOKEN_PREFIX}{}", self.as_str())
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_string()))
    }
}

impl Scopes {
    /// Returns the set of all scopes.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Returns whether the set contains `scope`.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Adds a scope to the set.
    pub(super) fn insert(&mut self, scope: Scope) {
        self.0 |= scope.bit();
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the scopes of the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_names_parse_and_sets_print_them() {
        let some: Scopes = ["predict", "admin"].map(|name| name.parse::<Scope>().unwrap()).into_iter().collect();
        assert_eq!(some.to_string(), "predict, admin");
        assert!(some.contains(Scope::Admin) && !some.contains(Scope::Metrics));
        assert_eq!(
            "root".parse::<Scope>().unwrap_err().to_string(),
            "'root' is not a scope; the scopes are predict, feedback, metrics, admin"
        );
    }
}
