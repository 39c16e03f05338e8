//! Sample reports for the tests of this module.

use super::{DeviceReport, EngineRun, Latency, LoadRun, Machine, Model, Report};

/// Returns a report of two devices with two runs of the engine and two of the server each.
pub fn report() -> Report {
    let cpu = device("cpu", "int8", &[(1, 120.5), (4, 251.37)], &[(1, 98.4), (16, 203.6)]);
    let vulkan = device("vulkan:0", "f32", &[(1, 8.021), (4, 10.05)], &[(1, 7.77), (16, 9.444)]);
    Report { devices: vec![cpu, vulkan], ..empty() }
}

/// Returns a report without devices.
pub fn empty() -> Report {
    Report {
        created: "2026-01-02T03:04:05Z".to_string(),
        kiln: "0.1.0".to_string(),
        machine: Machine {
            processor: "Example, 16 cores".to_string(),
            cores: 16,
            memory_bytes: Some(64 << 30),
            os: "Linux".to_string(),
        },
        model: Model { name: "resnet50".to_string(), version: "1".to_string(), digest: "sha256:00ff".to_string() },
        devices: Vec::new(),
    }
}

/// Returns a report in which every measured number is `value`.
pub fn filled_with(value: f64) -> Report {
    let mut report = report();
    let latency = Latency { p50: value, p90: value, p99: value, mean: value };
    for device in &mut report.devices {
        (device.start_seconds, device.warm_up_seconds) = (value, value);
        for run in &mut device.engine {
            (run.images_per_second, run.latency_ms) = (value, latency);
        }
        for run in &mut device.server {
            (run.images_per_second, run.latency_ms) = (value, latency);
            (run.decode_ms, run.queue_ms, run.inference_ms, run.other_ms) = (value, value, value, value);
        }
    }
    report
}

/// Returns the results of a device from `(batch size, images per second)` and `(concurrency, images per second)`.
fn device(flag: &str, precision: &str, engine: &[(usize, f64)], server: &[(usize, f64)]) -> DeviceReport {
    let latency = |ms: f64| Latency { p50: ms, p90: ms * 1.2, p99: ms * 1.5, mean: ms * 1.1 };
    let batch = |&(batch_size, images_per_second): &(usize, f64)| EngineRun {
        batch_size,
        runs: 50,
        images_per_second,
        latency_ms: latency(1e3 * batch_size as f64 / images_per_second),
        resident_bytes: Some(300 << 20),
        device_bytes: None,
    };
    let load = |&(concurrency, images_per_second): &(usize, f64)| {
        let ms = 1e3 * concurrency as f64 / images_per_second;
        LoadRun {
            concurrency,
            requests: 400,
            errors: 0,
            images_per_second,
            latency_ms: latency(ms),
            decode_ms: 2.5,
            queue_ms: ms * 0.5,
            inference_ms: ms * 0.4,
            other_ms: ms * 0.05,
        }
    };
    DeviceReport {
        flag: flag.to_string(),
        name: format!("{flag} of the example"),
        api: "none".to_string(),
        driver: None,
        compiler: None,
        precision: precision.to_string(),
        kernels: "fused".to_string(),
        start_seconds: 0.35,
        warm_up_seconds: 1.25,
        engine: engine.iter().map(batch).collect(),
        server: server.iter().map(load).collect(),
    }
}
