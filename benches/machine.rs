//! The machine that a benchmark runs on, printed with its results.
#![forbid(unsafe_code)]

/// Returns the processor model and the number of hardware threads available to the benchmark.
pub fn machine() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    format!("{}, {threads} threads ({})", name.unwrap_or("unknown processor"), std::env::consts::ARCH)
}
