//! The findings of one `kiln bench`, as plain data. Who measured them, and how, is not known here.

use serde::Serialize;

/// Everything that one run of `kiln bench` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// When the run began, RFC 3339.
    pub created: String,
    /// Version of Kiln.
    pub kiln: String,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran.
    pub model: Model,
    /// The devices, in the order they were measured.
    pub devices: Vec<DeviceReport>,
}

/// The machine that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Logical cores that Kiln may use.
    pub cores: usize,
    /// Memory in bytes, where it is known.
    pub memory_bytes: Option<u64>,
    /// Operating system.
    pub os: String,
}

/// The model that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of the weights.
    pub digest: String,
}

/// What was found on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceReport {
    /// What `--device` was given: `cpu`, `vulkan:0`.
    pub flag: String,
    /// The device's own name.
    pub name: String,
    /// What it is driven through.
    pub api: String,
    /// Name and version of the driver, where there is one.
    pub driver: Option<String>,
    /// The compiler of its kernels, where there is one.
    pub compiler: Option<String>,
    /// What it multiplies in.
    pub precision: String,
    /// The kernels that it runs.
    pub kernels: String,
    /// Seconds until the device was open and held the weights.
    pub start_seconds: f64,
    /// Seconds of warm-up after that.
    pub warm_up_seconds: f64,
    /// The engine alone, a run for each batch size.
    pub engine: Vec<EngineRun>,
    /// The whole server, a run for each concurrency; empty where it was not measured.
    pub server: Vec<LoadRun>,
}

/// The engine alone at one batch size: nothing is decoded, and there is no HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineRun {
    /// Images in a batch.
    pub batch_size: usize,
    /// Batches that were timed.
    pub runs: usize,
    /// Images a second.
    pub images_per_second: f64,
    /// Milliseconds for a batch.
    pub latency_ms: Latency,
    /// Memory of the process in bytes, where it is known.
    pub resident_bytes: Option<u64>,
    /// Memory on the device in bytes, where it is known.
    pub device_bytes: Option<u64>,
}

/// The whole server under one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadRun {
    /// Requests that were kept in flight.
    pub concurrency: usize,
    /// Requests that were sent, with those that failed.
    pub requests: usize,
    /// Requests that failed.
    pub errors: usize,
    /// Answered images a second.
    pub images_per_second: f64,
    /// Milliseconds for a request, seen from the client.
    pub latency_ms: Latency,
    /// Mean milliseconds of decoding for a request.
    pub decode_ms: f64,
    /// Mean milliseconds in the queue for a request.
    pub queue_ms: f64,
    /// Mean milliseconds of inference for a request.
    pub inference_ms: f64,
    /// Mean milliseconds of everything else for a request.
    pub other_ms: f64,
}

/// Many latencies in four numbers, all in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half are no longer than this.
    pub p50: f64,
    /// 90 % are no longer than this.
    pub p90: f64,
    /// 99 % are no longer than this.
    pub p99: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Report {
    /// Indented JSON with all that is in the report; numbers that are not finite are null.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data is always JSON")
    }

    /// What each device is called in tables and plots: its flag, with the precision where two have the same flag.
    pub(super) fn labels(&self) -> Vec<String> {
        let twice = |flag: &str| self.devices.iter().filter(|device| device.flag == flag).count() > 1;
        let label = |device: &DeviceReport| match twice(&device.flag) {
            true => format!("{} {}", device.flag, device.precision),
            false => device.flag.clone(),
        };
        self.devices.iter().map(label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn json_keeps_the_numbers_and_turns_those_that_are_not_finite_into_null() {
        let mut report = sample::report();
        report.devices[1].start_seconds = f64::NAN;
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["devices"][0]["engine"][1]["images_per_second"], 251.37);
        assert_eq!(json["devices"][1]["start_seconds"], serde_json::Value::Null);
    }

    #[test]
    fn devices_with_the_same_flag_are_told_apart() {
        let mut report = sample::report();
        assert_eq!(report.labels(), ["cpu", "vulkan:0"]);
        report.devices[1].flag = "cpu".to_string();
        assert_eq!(report.labels(), ["cpu int8", "cpu f32"]);
    }
}
