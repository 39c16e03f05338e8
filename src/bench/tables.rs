//! The results as tables: the same rows for the terminal and the HTML report, and the text for the terminal.

use std::fmt::Write as _;

use kiln_plots::{DataTable, format_gibibytes, format_mebibytes, format_number};

use super::comparison::Comparison;
use super::{DeviceReport, EngineRun, LoadRun, Report};

impl Report {
    /// Returns the report as text for a terminal, without colours. Tables without rows are omitted.
    pub fn table(&self) -> String {
        let (machine, model) = (&self.machine, &self.model);
        let mut text = format!("Kiln {}, {}\n", self.kiln, self.created);
        let memory = format_gibibytes(machine.memory_bytes);
        let _ = writeln!(text, "Machine: {}, {} cores, {memory}, {}", machine.processor, machine.cores, machine.os);
        let _ = writeln!(text, "Model: {} {} ({})", model.name, model.version, model.digest);
        for (label, device) in self.labels().iter().zip(&self.devices) {
            let _ = write!(text, "Device {label}: {}, {}", device.name, device.api);
            for extra in [&device.driver, &device.compiler].into_iter().flatten() {
                let _ = write!(text, ", {extra}");
            }
            let _ = writeln!(text, ", {}, {}", device.precision, device.kernels);
        }
        let all = [start_up, engine, throughput, latency, costs];
        for table in all.map(|table| table(self)).iter().filter(|table| !table.rows.is_empty()) {
            let _ = write!(text, "\n{}\n{}", table.caption, aligned(table));
        }
        if let Some(comparison) = Comparison::of(self) {
            let _ = writeln!(text, "\n{}", comparison.sentence(self));
        }
        // The name of a driver may contain control characters, which a terminal would execute.
        text.replace(|c: char| c.is_control() && c != '\n', " ")
    }
}

/// Aligns the first column to the left and all others to the right.
fn aligned(table: &DataTable) -> String {
    let headings: Vec<String> = table.headings.iter().map(ToString::to_string).collect();
    let lines = || std::iter::once(&headings).chain(&table.rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let _ = write!(text, "{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// Returns the results of the engine alone, by batch size.
pub(super) fn engine(report: &Report) -> DataTable {
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

/// Returns the latency of the server, by concurrency.
pub(super) fn latency(report: &Report) -> DataTable {
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

/// Returns the throughput of the server, by concurrency.
pub(super) fn throughput(report: &Report) -> DataTable {
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

/// Returns the mean duration of each part of a request, by concurrency.
pub(super) fn costs(report: &Report) -> DataTable {
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

/// Returns the seconds until each device is ready.
pub(super) fn start_up(report: &Report) -> DataTable {
    let row = |device: &DeviceReport| vec![format_number(device.start_seconds), format_number(device.warm_up_seconds)];
    DataTable {
        caption: "Start-up".to_string(),
        headings: &["Device", "Start s", "Warm-up s"],
        rows: rows(report, |device| vec![row(device)]),
    }
}

/// Returns the rows of every device, each with the label of the device as its first cell.
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
    /// Returns the mean milliseconds of decode, queue, inference and other.
    pub(super) fn parts(&self) -> [f64; 4] {
        [self.decode_ms, self.queue_ms, self.inference_ms, self.other_ms]
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn terminal_table_has_aligned_columns_and_a_row_per_measurement() {
        let text = sample::report().table();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.iter().position(|line| *line == "Engine alone").unwrap() + 1;
        let rows = &lines[start..start + 5];
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        assert_eq!(rows[2].split_whitespace().take(3).collect::<Vec<_>>(), ["cpu", "4", "251.4"]);
        assert!(text.ends_with("25.0 times as fast.\n"));
    }

    #[test]
    fn empty_tables_and_control_characters_are_omitted() {
        let mut report = sample::report();
        report.devices.truncate(1);
        report.devices[0].server.clear();
        report.devices[0].name = "\u{1b}[31mred".to_string();
        let text = report.table();
        assert!(text.contains("Engine alone") && !text.contains("Server") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let report = sample::report();
        for table in [engine(&report), latency(&report), throughput(&report), costs(&report), start_up(&report)] {
            assert!(!table.rows.is_empty());
            assert!(table.rows.iter().all(|row| row.len() == table.headings.len()), "{}", table.caption);
        }
    }

    #[test]
    fn rows_start_with_the_label_of_their_device() {
        let table = throughput(&sample::report());
        assert_eq!(table.rows[1], ["cpu", "16", "203.6", "400", "0"]);
        assert_eq!(table.rows[3], ["vulkan:0", "16", "9.44", "400", "0"]);
    }
}
