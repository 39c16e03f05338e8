//! What a version of a model is there for.

/// What a version of a model is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// It answers.
    Stable,
    /// It answers a part of the requests that name no version.
    Canary,
    /// It sees pictures that the stable version answers, and its own answers are only compared.
    Shadow,
}

impl Label {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Canary, Self::Shadow];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}
