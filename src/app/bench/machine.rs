//! Where it runs, as far as the system tells: figures without that mean nothing.

use crate::bench::Machine;

/// This machine.
pub(super) fn machine() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let processor = name.unwrap_or(std::env::consts::ARCH).to_string();
    let os = format!("{} ({})", std::env::consts::OS, std::env::consts::ARCH);
    Machine { processor, cores, memory_bytes: kibibytes("/proc/meminfo", "MemTotal:"), os }
}

/// Bytes of this process that are in memory now, where the system tells.
pub(super) fn resident_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// A line `name: N kB`, in bytes.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|number| number * 1024)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    #[test]
    fn linux_tells_of_memory() {
        let (all, ours) = (super::machine().memory_bytes.unwrap(), super::resident_bytes().unwrap());
        assert!(ours > 1 << 20 && ours < all, "{ours} of {all}");
    }
}
