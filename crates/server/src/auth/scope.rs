//! What a caller may do: a small set of words.

use std::fmt;
use std::str::FromStr;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To have pictures classified.
    Predict,
    /// To tell what a picture truly shows.
    Feedback,
    /// To read the metrics, where they are not open to all.
    Metrics,
    /// To change something: to have keys read again, to promote a model.
    Admin,
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no scope; there are {all}", all = Scopes::all())]
pub struct UnknownScope(String);

impl Scope {
    const ALL: [Self; 4] = [Self::Predict, Self::Feedback, Self::Metrics, Self::Admin];

    /// The word for it in key files and tokens.
    pub fn word(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Feedback => "feedback",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.word() == word).ok_or_else(|| UnknownScope(word.to_string()))
    }
}

impl Scopes {
    /// Every right.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is one of them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
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
        f.write_str(&self.iter().map(Scope::word).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_sets_agree() {
        let some: Scopes = ["predict", "admin"].map(|word| word.parse::<Scope>().unwrap()).into_iter().collect();
        assert_eq!(some.to_string(), "predict, admin");
        assert!(some.contains(Scope::Admin) && !some.contains(Scope::Metrics));
        assert_eq!(
            "root".parse::<Scope>().unwrap_err().to_string(),
            "'root' is no scope; there are predict, feedback, metrics, admin"
        );
    }
}
