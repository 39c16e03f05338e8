//! The findings as aligned text for a terminal.

use std::fmt::Write as _;

use super::Report;
use super::comparison::Comparison;
use super::grids;
use kiln_plots::{DataTable, format_gibibytes};

impl Report {
    /// Facts and tables as text, without colours; tables without rows are left out.
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
        let all = [grids::start_up, grids::engine, grids::throughput, grids::latency, grids::costs];
        for grid in all.map(|grid| grid(self)).iter().filter(|grid| !grid.rows.is_empty()) {
            let _ = write!(text, "\n{}\n{}", grid.caption, aligned(grid));
        }
        if let Some(comparison) = Comparison::of(self) {
            let _ = writeln!(text, "\n{}", comparison.sentence(self));
        }
        // A driver's text must not steer the terminal.
        text.replace(|c: char| c.is_control() && c != '\n', " ")
    }
}

/// The first column to the left, figures to the right.
fn aligned(grid: &DataTable) -> String {
    let headings: Vec<String> = grid.headings.iter().map(ToString::to_string).collect();
    let lines = || std::iter::once(&headings).chain(&grid.rows);
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

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn columns_are_aligned_and_every_measurement_has_a_row() {
        let text = sample::report().table();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.iter().position(|line| *line == "Engine alone").unwrap() + 1;
        let rows = &lines[start..start + 5];
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        assert_eq!(rows[2].split_whitespace().take(3).collect::<Vec<_>>(), ["cpu", "4", "251.4"]);
        assert!(text.ends_with("25.0 times as fast.\n"));
    }

    #[test]
    fn tables_without_rows_are_left_out_and_control_characters_with_them() {
        let mut report = sample::report();
        report.devices.truncate(1);
        report.devices[0].server.clear();
        report.devices[0].name = "\u{1b}[31mred".to_string();
        let text = report.table();
        assert!(text.contains("Engine alone") && !text.contains("Server") && !text.contains('\u{1b}'), "{text}");
    }
}
