//! Which kernels were the quicker ones, kept in the cache folder from one start to the next.

use std::path::{Path, PathBuf};

use kiln_kernels::Kernels;

/// The file that holds the answers: a line each, the kernels and then what they were measured on.
const FILE: &str = "kernels.txt";

/// The answers of one cache folder; without a folder, none.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    folder: Option<PathBuf>,
    subject: String,
}

impl Remembered {
    /// Of what is measured: the device, the model and all else that the answer hangs on.
    pub(super) fn of(folder: Option<&Path>, subject: &[&str]) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        // A tab ends the kernels, a line ends the answer.
        let words = std::iter::once(version).chain(subject.iter().copied()).map(|word| word.replace(['\t', '\n'], " "));
        Self { folder: folder.map(Path::to_path_buf), subject: words.collect::<Vec<_>>().join(" | ") }
    }

    /// Whether the fused kernels were quicker, if that is known.
    pub(super) fn fused_is_quicker(&self) -> Option<bool> {
        let text = std::fs::read_to_string(self.folder.as_ref()?.join(FILE)).ok()?;
        let answers = text.lines().rev().filter_map(|line| line.split_once('\t'));
        let (kernels, _) = answers.into_iter().find(|(_, subject)| *subject == self.subject)?;
        match kernels {
            "fused" => Some(true),
            "stock" => Some(false),
            _ => None,
        }
    }

    /// Keeps an answer. If it cannot be kept, the next start measures again, which the log says.
    pub(super) fn keep(&self, kernels: Kernels) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(FILE);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let others = before.lines().filter(|line| line.split_once('\t').is_some_and(|(_, of)| of != self.subject));
        let text: String =
            others.chain([format!("{kernels}\t{}", self.subject).as_str()]).map(|line| format!("{line}\n")).collect();
        // Another process may be starting too: each writes a file of its own, and the last one stays.
        let own = folder.join(format!("{FILE}.{}", std::process::id()));
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&own, text))
            .and_then(|()| std::fs::rename(&own, &path));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the choice of kernels cannot be kept; the next start measures again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_kernels::Tiles;

    #[test]
    fn an_answer_is_found_again_by_its_subject_alone() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("not/there/yet");
        let (one, other) = (Remembered::of(Some(&here), &["gpu\t1", "a"]), Remembered::of(Some(&here), &["gpu", "b"]));
        assert_eq!(one.fused_is_quicker(), None);
        one.keep(Kernels::Fused(Tiles::Workgroup));
        other.keep(Kernels::Stock);
        assert_eq!((one.fused_is_quicker(), other.fused_is_quicker()), (Some(true), Some(false)));
        one.keep(Kernels::Stock);
        assert_eq!(one.fused_is_quicker(), Some(false));
        assert_eq!(std::fs::read_to_string(here.join(FILE)).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [0xff, 0xfe, b'\n']).unwrap();
        let answer = Remembered::of(Some(folder.path()), &["gpu"]);
        assert_eq!(answer.fused_is_quicker(), None);
        answer.keep(Kernels::Stock);
        assert_eq!(answer.fused_is_quicker(), Some(false));
        assert_eq!(Remembered::of(None, &["gpu"]).fused_is_quicker(), None);
    }
}
