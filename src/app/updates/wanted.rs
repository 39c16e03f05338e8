//! Which versions the labels ask for.

use crate::store::Labels;

/// A version that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) version: String,
    /// The server can do without it: what befalls it is not the server's end. A stable version is no such one.
    pub(super) aside: bool,
}

impl Wanted {
    pub(super) fn stable(version: &str) -> Self {
        Self { version: version.to_string(), aside: false }
    }

    pub(super) fn aside(version: &str) -> Self {
        Self { version: version.to_string(), aside: true }
    }
}

/// All versions of a model that was built in as `built_in`, the stable one first. One that is canary and shadow is loaded once.
pub(super) fn wanted(labels: &Labels, built_in: &str) -> Vec<Wanted> {
    let stable = labels.stable_or(built_in);
    let mut all = vec![Wanted::stable(stable)];
    let canary = labels.canary.as_ref().map(|canary| canary.version.as_str());
    for version in canary.into_iter().chain(labels.shadow.as_deref()) {
        let wanted = Wanted::aside(version);
        if version != stable && !all.contains(&wanted) {
            all.push(wanted);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Canary;

    #[test]
    fn each_version_is_asked_for_once() {
        let canary = |version: &str| Some(Canary { version: version.to_string(), share: 0.5 });
        let shadow = |version: &str| Some(version.to_string());
        let [one, two] = ["1", "2"].map(Wanted::stable);
        assert_eq!(wanted(&Labels::default(), "1"), ["1"].map(Wanted::stable));
        let both = Labels { canary: canary("3"), shadow: shadow("3"), ..Labels::default() };
        assert_eq!(wanted(&both, "1"), [one, Wanted::aside("3")]);
        let stable = Labels { stable: shadow("2"), canary: canary("2"), shadow: shadow("1"), previous: None };
        assert_eq!(wanted(&stable, "1"), [two, Wanted::aside("1")]);
    }
}
