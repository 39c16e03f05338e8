//! The plan and the results of one `kiln bench` as plain data, and the summary of latencies.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// What `kiln bench` measures, in addition to the settings that it shares with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Batch sizes. Each one is a run of the engine.
    pub batch_sizes: Vec<usize>,
    /// Numbers of concurrent connections. Each one is a run of the server; an empty list skips the server.
    pub concurrencies: Vec<usize>,
    /// Duration of each run.
    pub time: Duration,
    /// Folder of images. `None` uses a built-in photo.
    pub images: Option<PathBuf>,
    /// Folder of the report.
    pub out: PathBuf,
}

/// The results of one `kiln bench`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Start of the measurement, RFC 3339.
    pub created: String,
    /// Version of Kiln.
    pub kiln: String,
    /// The machine.
    pub machine: Machine,
    /// The model.
    pub model: Model,
    /// Results per device, in the order of measurement.
    pub devices: Vec<DeviceReport>,
}

/// Description of the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Number of logical cores that Kiln may use.
    pub cores: usize,
    /// Memory in bytes, if known.
    pub memory_bytes: Option<u64>,
    /// Operating system.
    pub os: String,
}

/// Description of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of the weights.
    pub digest: String,
}

/// Results of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceReport {
    /// Name in `--device`: `cpu`, `vulkan:0`.
    pub flag: String,
    /// Name that the device reports.
    pub name: String,
    /// Compute API.
    pub api: String,
    /// Name and version of the driver, if there is one.
    pub driver: Option<String>,
    /// Compiler of the kernels, if there is one.
    pub compiler: Option<String>,
    /// Number format of the computation.
    pub precision: String,
    /// Kernels that the device runs.
    pub kernels: String,
    /// Seconds until the weights were on the device.
    pub start_seconds: f64,
    /// Seconds of warm-up after that.
    pub warm_up_seconds: f64,
    /// Runs of the engine alone, one per batch size.
    pub engine: Vec<EngineRun>,
    /// Runs of the whole server, one per concurrency. Empty if the server was not measured.
    pub server: Vec<LoadRun>,
}

/// A run of the engine alone at one batch size, without decoding and HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineRun {
    /// Number of images per batch.
    pub batch_size: usize,
    /// Number of measured batches.
    pub runs: usize,
    /// Images per second.
    pub images_per_second: f64,
    /// Latency of a batch in milliseconds.
    pub latency_ms: Latency,
    /// Resident memory of the process in bytes, if known.
    pub resident_bytes: Option<u64>,
    /// Memory on the device in bytes, if known.
    pub device_bytes: Option<u64>,
}

/// A run of the whole server at one concurrency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadRun {
    /// Number of requests in flight.
    pub concurrency: usize,
    /// Number of sent requests, including failed ones.
    pub requests: usize,
    /// Number of failed requests.
    pub errors: usize,
    /// Successful images per second.
    pub images_per_second: f64,
    /// Latency of a request in milliseconds, measured by the client.
    pub latency_ms: Latency,
    /// Mean decode time of a request in milliseconds.
    pub decode_ms: f64,
    /// Mean queue time of a request in milliseconds.
    pub queue_ms: f64,
    /// Mean inference time of a request in milliseconds.
    pub inference_ms: f64,
    /// Mean time of everything else in milliseconds.
    pub other_ms: f64,
}

/// A latency distribution: percentiles and mean in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Report {
    /// Returns the report as indented JSON. Numbers that are not finite become null.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data is always valid JSON")
    }

    /// Returns the label of each device in tables and plots: its flag, with the precision if two devices have the same
    /// flag.
    pub(super) fn labels(&self) -> Vec<String> {
        let twice = |flag: &str| self.devices.iter().filter(|device| device.flag == flag).count() > 1;
        let label = |device: &DeviceReport| match twice(&device.flag) {
            true => format!("{} {}", device.flag, device.precision),
            false => device.flag.clone(),
        };
        self.devices.iter().map(label).collect()
    }
}

impl Latency {
    /// Summarises `times`. Returns zeros if there are none.
    pub fn from_durations(times: &[Duration]) -> Self {
        Self::from_ms(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
    }

    /// Summarises `times` in milliseconds, without values that are not finite. Returns zeros if there are none.
    pub fn from_ms(mut times: Vec<f64>) -> Self {
        times.retain(|time| time.is_finite());
        if times.is_empty() {
            return Self::default();
        }
        times.sort_unstable_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let percentile = |percent| times[nearest_rank(percent, times.len())];
        Self { p50: percentile(50), p90: percentile(90), p99: percentile(99), mean }
    }
}

/// Returns the index of a percentile in `count` sorted values by the nearest-rank method: the smallest value that at
/// least `percent` % of the values do not exceed.
fn nearest_rank(percent: usize, count: usize) -> usize {
    (count * percent).div_ceil(100).max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn json_has_null_for_numbers_that_are_not_finite() {
        let mut report = sample::report();
        report.devices[1].start_seconds = f64::NAN;
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["devices"][0]["engine"][1]["images_per_second"], 251.37);
        assert_eq!(json["devices"][1]["start_seconds"], serde_json::Value::Null);
    }

    #[test]
    fn devices_with_the_same_flag_have_different_labels() {
        let mut report = sample::report();
        assert_eq!(report.labels(), ["cpu", "vulkan:0"]);
        report.devices[1].flag = "cpu".to_string();
        assert_eq!(report.labels(), ["cpu int8", "cpu f32"]);
    }

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let times = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Latency::from_ms(times), Latency { p50: 50.0, p90: 90.0, p99: 99.0, mean: 50.5 });
        let few = Latency::from_ms(vec![50.0, 15.0, 35.0, 20.0, 40.0]);
        assert_eq!(few, Latency { p50: 35.0, p90: 50.0, p99: 50.0, mean: 32.0 });
    }

    #[test]
    fn single_time_is_every_percentile_and_no_times_are_zero() {
        let one = Latency::from_durations(&[Duration::from_micros(2500)]);
        assert_eq!(one, Latency { p50: 2.5, p90: 2.5, p99: 2.5, mean: 2.5 });
        assert_eq!(Latency::from_durations(&[]), Latency::default());
        assert_eq!(Latency::from_ms(vec![f64::NAN, f64::INFINITY, 4.0]).mean, 4.0);
    }
}
