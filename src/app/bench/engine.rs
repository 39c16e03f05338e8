//! Measures an engine alone, and describes the machine.

use std::time::{Duration, Instant};

use kiln_inference::{BurnEngine, Engine, EngineError, Sample};

use crate::bench::{EngineRun, Latency, Machine};

/// Number of classes that the engine returns per image, as in a default request.
const TOP_K: usize = 5;

/// Runs batches of `size` images one after the other for `time`, at least one. The first batch is not measured.
pub(super) fn measure(
    mut engine: BurnEngine,
    images: &[Sample],
    size: usize,
    time: Duration,
) -> Result<EngineRun, EngineError> {
    let mut next = images.iter().cycle().cloned();
    let mut batch = || next.by_ref().take(size).collect::<Vec<_>>();
    engine.run_top_k(&batch(), TOP_K)?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begun.elapsed() < time {
        let batch = batch();
        let started = Instant::now();
        engine.run_top_k(&batch, TOP_K)?;
        times.push(started.elapsed());
    }
    let busy: Duration = times.iter().sum();
    Ok(EngineRun {
        batch_size: size,
        runs: times.len(),
        images_per_second: (times.len() * size) as f64 / busy.as_secs_f64(),
        latency_ms: Latency::from_durations(&times),
        resident_bytes: resident_bytes(),
        device_bytes: engine.device_bytes(),
    })
}

/// Describes this machine. Without it, the measurements of two reports cannot be compared.
pub(super) fn machine() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let processor = name.unwrap_or(std::env::consts::ARCH).to_string();
    let os = format!("{} ({})", std::env::consts::OS, std::env::consts::ARCH);
    Machine { processor, cores, memory_bytes: read_kib("/proc/meminfo", "MemTotal:"), os }
}

/// Returns the resident memory of this process in bytes, on Linux.
fn resident_bytes() -> Option<u64> {
    read_kib("/proc/self/status", "VmRSS:")
}

/// Returns the value of a line `name: N kB` in bytes.
fn read_kib(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|number| number * 1024)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    #[test]
    fn memory_sizes_are_read_on_linux() {
        let (total, resident) = (super::machine().memory_bytes.unwrap(), super::resident_bytes().unwrap());
        assert!(resident > 1 << 20 && resident < total, "{resident} of {total}");
    }
}
