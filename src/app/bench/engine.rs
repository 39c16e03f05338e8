//! Batches through an engine alone, one after the other.

use std::time::{Duration, Instant};

use super::machine;
use crate::bench::{EngineRun, Latency};
use kiln_inference::{BurnEngine, Engine, EngineError, Sample};

/// Runs batches of `size` for `time`, at least one after the first, which does not count.
pub(super) fn run(
    mut engine: BurnEngine,
    pictures: &[Sample],
    size: usize,
    time: Duration,
) -> Result<EngineRun, EngineError> {
    let mut next = pictures.iter().cycle().cloned();
    let mut batch = || next.by_ref().take(size).collect::<Vec<_>>();
    engine.run_ranked(&batch(), 5)?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begun.elapsed() < time {
        let batch = batch();
        let started = Instant::now();
        engine.run_ranked(&batch, 5)?;
        times.push(started.elapsed());
    }
    let busy: Duration = times.iter().sum();
    Ok(EngineRun {
        batch_size: size,
        runs: times.len(),
        images_per_second: (times.len() * size) as f64 / busy.as_secs_f64(),
        latency_ms: Latency::from_durations(&times),
        resident_bytes: machine::resident_bytes(),
        device_bytes: engine.device_bytes(),
    })
}
