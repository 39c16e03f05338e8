//! The findings as rows of text, the same for the terminal and the page. How rows are drawn is decided there.

use super::{DeviceReport, EngineRun, LoadRun, Report};
use kiln_plots::{DataTable, format_mebibytes, format_number};

/// The engine alone, by batch size.
pub fn engine(report: &Report) -> DataTable {
    let row = |run: &EngineRun| {
        let times = run.latency_ms;
        let mut row = vec![run.batch_size.to_string(), format_number(run.images_per_second)];
        row.extend([times.p50, times.p90, times.p99, times.mean].map(format_number));
        row.extend([run.runs.to_string(), format_mebibytes(run.resident_bytes), format_mebibytes(run.device_bytes)]);
        row
    };
    DataTable {
        caption: "Engine alone".to_string(),
        headings: &[
            "Device",
            "Batch",
            "Images/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "Mean ms",
            "Runs",
            "Process MiB",
            "Device MiB",
        ],
        rows: rows(report, |device| device.engine.iter().map(row).collect()),
    }
}

/// The server's latency, by concurrency.
pub fn latency(report: &Report) -> DataTable {
    let row = |run: &LoadRun| {
        let times = run.latency_ms;
        let mut row = vec![run.concurrency.to_string()];
        row.extend([times.p50, times.p90, times.p99, times.mean].map(format_number));
        row
    };
    DataTable {
        caption: "Server, latency of a request".to_string(),
        headings: &["Device", "Concurrency", "p50 ms", "p90 ms", "p99 ms", "Mean ms"],
        rows: rows(report, |device| device.server.iter().map(row).collect()),
    }
}

/// The server's throughput, by concurrency.
pub fn throughput(report: &Report) -> DataTable {
    let row = |run: &LoadRun| {
        let counts = [run.requests, run.errors].map(|count| count.to_string());
        let mut row = vec![run.concurrency.to_string(), format_number(run.images_per_second)];
        row.extend(counts);
        row
    };
    DataTable {
        caption: "Server, throughput".to_string(),
        headings: &["Device", "Concurrency", "Images/s", "Requests", "Errors"],
        rows: rows(report, |device| device.server.iter().map(row).collect()),
    }
}

/// Where a request's time goes, by concurrency.
pub fn costs(report: &Report) -> DataTable {
    let row = |run: &LoadRun| {
        let parts = run.parts();
        let mut row = vec![run.concurrency.to_string()];
        row.extend(parts.map(format_number));
        row.push(format_number(parts.iter().sum()));
        row
    };
    DataTable {
        caption: "Server, mean cost of a request".to_string(),
        headings: &["Device", "Concurrency", "Decode ms", "Queue ms", "Inference ms", "Other ms", "Sum ms"],
        rows: rows(report, |device| device.server.iter().map(row).collect()),
    }
}

/// Seconds until a device is ready.
pub fn start_up(report: &Report) -> DataTable {
    let row = |device: &DeviceReport| vec![format_number(device.start_seconds), format_number(device.warm_up_seconds)];
    DataTable {
        caption: "Start-up".to_string(),
        headings: &["Device", "Start s", "Warm-up s"],
        rows: rows(report, |device| vec![row(device)]),
    }
}

/// The rows of every device, each behind the device's label.
fn rows(report: &Report, of: impl Fn(&DeviceReport) -> Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (label, device) in report.labels().into_iter().zip(&report.devices) {
        for mut row in of(device) {
            row.insert(0, label.clone());
            rows.push(row);
        }
    }
    rows
}

impl LoadRun {
    /// Decode, queue, inference, other: mean milliseconds.
    pub(super) fn parts(&self) -> [f64; 4] {
        [self.decode_ms, self.queue_ms, self.inference_ms, self.other_ms]
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let report = sample::report();
        for grid in [engine(&report), latency(&report), throughput(&report), costs(&report), start_up(&report)] {
            assert!(!grid.rows.is_empty());
            assert!(grid.rows.iter().all(|row| row.len() == grid.headings.len()), "{}", grid.caption);
        }
    }

    #[test]
    fn rows_are_named_by_their_device_and_hold_its_figures() {
        let grid = throughput(&sample::report());
        assert_eq!(grid.rows[1], ["cpu", "16", "203.6", "400", "0"]);
        assert_eq!(grid.rows[3], ["vulkan:0", "16", "9.44", "400", "0"]);
    }
}
