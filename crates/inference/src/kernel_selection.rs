//! Selects the faster kind of kernels by measurement, and caches the result from one start to the next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_kernels::Kernels;

use super::burn_engine::BurnEngine;
use super::engine::Engine;
use super::self_test::synthetic_image;

/// The shortest times of a batch with each kind of kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelTimes {
    pub(super) fused: Duration,
    pub(super) stock: Duration,
}

impl BurnEngine {
    /// Measures `fused` and the stock kernels in turns, and keeps the shortest time of each. Both run the same work: ranking
    /// and resizing on the device depend on the kernels, so they are not part of the comparison.
    pub(super) fn measure_kernels(&mut self, fused: Kernels) -> Result<KernelTimes, String> {
        let batch = vec![synthetic_image(&self.model); self.measured_batch_size()];
        let mut shortest = [Duration::MAX; 2];
        // The first round compiles the kernels and is not measured.
        for round in 0..4 {
            for (kernels, shortest) in [Kernels::Stock, fused].into_iter().zip(&mut shortest) {
                self.kernels = kernels;
                let started = Instant::now();
                self.catch_panic(|engine| engine.run(&batch))?;
                if round > 0 {
                    *shortest = started.elapsed().min(*shortest);
                }
            }
        }
        Ok(KernelTimes { fused: shortest[1], stock: shortest[0] })
    }

    /// Returns the cache entry for this device, model, precision and batch size.
    pub(super) fn kernel_selection_cache(&self) -> KernelSelectionCache {
        let (info, spec) = (&self.device.info, self.model.spec());
        let (size, precision) = (self.measured_batch_size().to_string(), self.options.precision.to_string());
        let driver = info.driver.as_deref().unwrap_or_default();
        let key = [&info.name, driver, info.compiler, &spec.name, &spec.sha256, &precision, &size];
        KernelSelectionCache::new(self.options.cache.as_deref(), &key)
    }

    /// A software adapter would need seconds for a large batch.
    fn measured_batch_size(&self) -> usize {
        if self.device.is_software { 1 } else { self.options.max_batch_size }
    }
}

/// The name of the cache file. It has one line per entry: the kernels, a tab, and the key.
const FILE: &str = "kernels.txt";

/// One entry of a cache folder. Without a folder, nothing is stored.
#[derive(Clone, Debug)]
pub(super) struct KernelSelectionCache {
    folder: Option<PathBuf>,
    key: String,
}

impl KernelSelectionCache {
    /// `key` lists everything that the result depends on: the device, the model and the options. The version of Kiln is
    /// added.
    pub(super) fn new(folder: Option<&Path>, key: &[&str]) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        // A tab separates the kernels from the key, and a newline ends the entry.
        let parts = std::iter::once(version).chain(key.iter().copied()).map(|part| part.replace(['\t', '\n'], " "));
        Self { folder: folder.map(Path::to_path_buf), key: parts.collect::<Vec<_>>().join(" | ") }
    }

    /// Returns true if the fused kernels were faster, `None` if the cache has no entry.
    pub(super) fn fused_is_faster(&self) -> Option<bool> {
        let text = std::fs::read_to_string(self.folder.as_ref()?.join(FILE)).ok()?;
        let mut entries = text.lines().rev().filter_map(|line| line.split_once('\t'));
        let (kernels, _) = entries.find(|(_, key)| *key == self.key)?;
        match kernels {
            "fused" => Some(true),
            "stock" => Some(false),
            _ => None,
        }
    }

    /// Stores the faster kernels. If this fails, it logs a warning, and the next start measures again.
    pub(super) fn store(&self, kernels: Kernels) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(FILE);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let others = before.lines().filter(|line| line.split_once('\t').is_some_and(|(_, key)| key != self.key));
        let text: String =
            others.chain([format!("{kernels}\t{}", self.key).as_str()]).map(|line| format!("{line}\n")).collect();
        // Several processes may start at once. Each writes its own temporary file, and the last rename wins.
        let temporary = folder.join(format!("{FILE}.{}", std::process::id()));
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&temporary, text))
            .and_then(|()| std::fs::rename(&temporary, &path));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "failed to store the kernel selection; the next start measures again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_kernels::Tiles;

    #[test]
    fn entries_are_found_by_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("not/there/yet");
        let one = KernelSelectionCache::new(Some(&here), &["gpu\t1", "a"]);
        let other = KernelSelectionCache::new(Some(&here), &["gpu", "b"]);
        assert_eq!(one.fused_is_faster(), None);
        one.store(Kernels::Fused(Tiles::Workgroup));
        other.store(Kernels::Stock);
        assert_eq!((one.fused_is_faster(), other.fused_is_faster()), (Some(true), Some(false)));
        one.store(Kernels::Stock);
        assert_eq!(one.fused_is_faster(), Some(false));
        assert_eq!(std::fs::read_to_string(here.join(FILE)).unwrap().lines().count(), 2);
    }

    #[test]
    fn damaged_file_is_ignored_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [0xff, 0xfe, b'\n']).unwrap();
        let cache = KernelSelectionCache::new(Some(folder.path()), &["gpu"]);
        assert_eq!(cache.fused_is_faster(), None);
        cache.store(Kernels::Stock);
        assert_eq!(cache.fused_is_faster(), Some(false));
        assert_eq!(KernelSelectionCache::new(None, &["gpu"]).fused_is_faster(), None);
    }
}
