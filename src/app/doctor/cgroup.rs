//! The limits of the control groups that this process is in, of version 1 and of version 2 (cgroups(7)). The limits of the
//! groups above apply too.

use std::path::{Component, Path, PathBuf};

/// A limit of at least this size means unlimited: the kernel reports a number near 2^63 in version 1.
const UNLIMITED: u64 = 1 << 60;

/// The control groups of this process.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// Where the file systems of the groups are mounted.
    root: PathBuf,
    /// The content of `/proc/self/cgroup`.
    membership: String,
}

/// A limit on a resource, and how much of it the group uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) limit: u64,
    pub(super) used: u64,
}

impl Usage {
    /// Returns how much of the resource is left.
    pub(super) fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Cgroups {
    /// Finds the groups of this process. Without control groups there is no limit.
    pub(super) fn of_this_process() -> Self {
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { root: PathBuf::from("/sys/fs/cgroup"), membership }
    }

    /// Returns the number of CPUs whose time the process may use, if it is limited.
    pub(super) fn cpus(&self) -> Option<f64> {
        let quota = |folder: PathBuf| {
            let read = |file: &str| read(&folder, file);
            let v2 = read("cpu.max").and_then(|text| cpu_max(&text));
            v2.or_else(|| cfs_quota(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?))
        };
        self.folders("cpu").into_iter().filter_map(quota).min_by(f64::total_cmp)
    }

    /// Returns the memory limit that leaves the least. The cache of files that the kernel can drop does not count as used.
    pub(super) fn memory(&self) -> Option<Usage> {
        let usage = |folder: PathBuf| {
            let read = |files: [&str; 2]| files.into_iter().find_map(|file| read(&folder, file));
            let limit = amount(&read(["memory.max", "memory.limit_in_bytes"])?)?;
            let used = amount(&read(["memory.current", "memory.usage_in_bytes"])?)?;
            let stat = read(["memory.stat", "memory.stat"]).unwrap_or_default();
            let cache = counter(&stat, "total_inactive_file").or_else(|| counter(&stat, "inactive_file")).unwrap_or(0);
            Some(Usage { limit, used: used.saturating_sub(cache) })
        };
        self.folders("memory").into_iter().filter_map(usage).min_by_key(|usage| usage.left())
    }

    /// Returns the limit on processes and threads that leaves the least.
    pub(super) fn tasks(&self) -> Option<Usage> {
        let usage = |folder: PathBuf| {
            let read = |file: &str| read(&folder, file).and_then(|text| amount(&text));
            Some(Usage { limit: read("pids.max")?, used: read("pids.current")? })
        };
        self.folders("pids").into_iter().filter_map(usage).min_by_key(|usage| usage.left())
    }

    /// Returns the folders of the groups that a controller limits, the group of this process first.
    fn folders(&self, controller: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for line in self.membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let bases = match controllers {
                // Version 2. Beside version 1, it is mounted below.
                "" => vec![self.root.clone(), self.root.join("unified")],
                _ if controllers.split(',').any(|name| name == controller) => vec![self.root.join(controller)],
                _ => Vec::new(),
            };
            // In a container the path may be that of the host and not exist; the root always does.
            let path: PathBuf =
                Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
            for base in bases {
                folders.extend(path.ancestors().map(|group| base.join(group)));
            }
        }
        folders
    }
}

fn read(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

/// Parses `cpu.max`: a quota and a period in microseconds; the quota may be `max`.
fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    cfs_quota(quota, period)
}

/// Divides a quota by its period, both in microseconds. A quota of -1 is none.
fn cfs_quota(quota: &str, period: &str) -> Option<f64> {
    let [quota, period] = [quota, period].map(|text| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0));
    Some(quota? / period?)
}

/// Parses a number of bytes or tasks; `None` if it is `max` or so high that it is no limit.
fn amount(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|amount| *amount < UNLIMITED)
}

/// Returns a counter of `memory.stat`.
fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of a folder with these files.
    fn groups(membership: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroups) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let cgroups = Cgroups { root: root.path().to_path_buf(), membership: membership.to_string() };
        (root, cgroups)
    }

    #[test]
    fn quotas_and_amounts_are_parsed() {
        assert_eq!((cpu_max("150000 100000\n"), cpu_max("max 100000\n"), cpu_max("")), (Some(1.5), None, None));
        assert_eq!((cfs_quota("50000\n", "100000\n"), cfs_quota("-1\n", "100000\n")), (Some(0.5), None));
        assert_eq!((amount("536870912\n"), amount("max\n")), (Some(536_870_912), None));
        assert_eq!(amount("9223372036854771712\n"), None);
        let stat = "cache 9\ninactive_file 4096\ntotal_inactive_file 8192\n";
        assert_eq!((counter(stat, "inactive_file"), counter(stat, "active_file")), (Some(4096), None));
    }

    #[test]
    fn lowest_limit_of_the_group_and_those_above_it_applies() {
        let (_root, cgroups) = groups(
            "0::/kubepods/pod1/kiln\n",
            &[
                ("kubepods/pod1/kiln/cpu.max", "max 100000"),
                ("kubepods/pod1/cpu.max", "200000 100000"),
                ("kubepods/cpu.max", "400000 100000"),
                ("kubepods/pod1/kiln/memory.max", "max"),
                ("kubepods/pod1/memory.max", "1073741824"),
                ("kubepods/pod1/memory.current", "73741824"),
                ("kubepods/pod1/memory.stat", "inactive_file 3741824\n"),
                ("kubepods/pod1/kiln/pids.max", "100"),
                ("kubepods/pod1/kiln/pids.current", "7"),
            ],
        );
        assert_eq!(cgroups.cpus(), Some(2.0));
        assert_eq!(cgroups.memory(), Some(Usage { limit: 1 << 30, used: 70_000_000 }));
        assert_eq!(cgroups.tasks().map(Usage::left), Some(93));
    }

    #[test]
    fn version_1_has_a_folder_for_each_controller() {
        let (_root, cgroups) = groups(
            "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
            &[
                ("cpu/cpu.cfs_quota_us", "150000"),
                ("cpu/cpu.cfs_period_us", "100000"),
                ("memory/docker/abc/memory.limit_in_bytes", "9223372036854771712"),
                ("memory/docker/abc/memory.usage_in_bytes", "1"),
            ],
        );
        assert_eq!((cgroups.cpus(), cgroups.memory()), (Some(1.5), None));
        let (_root, nothing) = groups("", &[]);
        assert_eq!((nothing.cpus(), nothing.memory(), nothing.tasks()), (None, None, None));
    }
}
