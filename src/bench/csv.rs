//! The results as comma-separated values (RFC 4180, but lines end with `\n`), one row per run.

use super::{DeviceReport, EngineRun, Latency, LoadRun, Report};

/// One run, of the engine or of the server.
struct Row<'a> {
    report: &'a Report,
    device: &'a DeviceReport,
    engine: Option<&'a EngineRun>,
    server: Option<&'a LoadRun>,
}

/// The heading of a column, and the function that returns its cell. A cell that does not apply to the run is empty.
type Column = (&'static str, fn(&Row) -> String);

/// New columns go to the end, since programs may read columns by position.
const COLUMNS: [Column; 31] = [
    ("created", |row| row.report.created.clone()),
    ("kiln", |row| row.report.kiln.clone()),
    ("processor", |row| row.report.machine.processor.clone()),
    ("cores", |row| row.report.machine.cores.to_string()),
    ("model", |row| row.report.model.name.clone()),
    ("model_version", |row| row.report.model.version.clone()),
    ("device", |row| row.device.flag.clone()),
    ("device_name", |row| row.device.name.clone()),
    ("api", |row| row.device.api.clone()),
    ("driver", |row| text(row.device.driver.clone())),
    ("compiler", |row| text(row.device.compiler.clone())),
    ("precision", |row| row.device.precision.clone()),
    ("kernels", |row| row.device.kernels.clone()),
    ("start_seconds", |row| number(Some(row.device.start_seconds))),
    ("warm_up_seconds", |row| number(Some(row.device.warm_up_seconds))),
    ("kind", |row| if row.engine.is_some() { "engine" } else { "server" }.to_string()),
    ("batch_size", |row| text(row.engine.map(|run| run.batch_size))),
    ("concurrency", |row| text(row.server.map(|run| run.concurrency))),
    // Number of batches of the engine, or of requests to the server.
    ("count", |row| text(row.engine.map(|run| run.runs).or(row.server.map(|run| run.requests)))),
    ("errors", |row| text(row.server.map(|run| run.errors))),
    ("images_per_second", |row| {
        number(row.engine.map(|run| run.images_per_second).or(row.server.map(|run| run.images_per_second)))
    }),
    ("p50_ms", |row| number(row.latency().map(|times| times.p50))),
    ("p90_ms", |row| number(row.latency().map(|times| times.p90))),
    ("p99_ms", |row| number(row.latency().map(|times| times.p99))),
    ("mean_ms", |row| number(row.latency().map(|times| times.mean))),
    ("decode_ms", |row| number(row.server.map(|run| run.decode_ms))),
    ("queue_ms", |row| number(row.server.map(|run| run.queue_ms))),
    ("inference_ms", |row| number(row.server.map(|run| run.inference_ms))),
    ("other_ms", |row| number(row.server.map(|run| run.other_ms))),
    ("resident_bytes", |row| text(row.engine.and_then(|run| run.resident_bytes))),
    ("device_bytes", |row| text(row.engine.and_then(|run| run.device_bytes))),
];

impl Row<'_> {
    fn latency(&self) -> Option<Latency> {
        self.engine.map(|run| run.latency_ms).or(self.server.map(|run| run.latency_ms))
    }
}

impl Report {
    /// Returns the heading and a row for each run. A value that does not apply, is unknown or is not finite is an empty
    /// cell. Numbers are not rounded.
    pub fn csv(&self) -> String {
        let headings = COLUMNS.map(|(heading, _)| heading.to_string());
        let mut csv = line(&headings);
        for device in &self.devices {
            let row = Row { report: self, device, engine: None, server: None };
            let engine = device.engine.iter().map(|run| Row { engine: Some(run), ..row });
            let server = device.server.iter().map(|run| Row { server: Some(run), ..row });
            for row in engine.chain(server) {
                csv += &line(&COLUMNS.map(|(_, cell)| cell(&row)));
            }
        }
        csv
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn number(value: Option<f64>) -> String {
    text(value.filter(|value| value.is_finite()))
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    cells.join(",") + "\n"
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn every_run_is_a_row_with_all_columns() {
        let mut report = sample::report();
        report.machine.processor = "plain".to_string();
        let csv = report.csv();
        let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 1 + 2 * (2 + 2));
        assert!(rows.iter().all(|row| row.len() == super::COLUMNS.len()));
        let column = |name| rows[0].iter().position(|heading| *heading == name).unwrap();
        let cells = |name| rows[1..5].iter().map(|row| row[column(name)]).collect::<Vec<_>>();
        assert_eq!(cells("kind"), ["engine", "engine", "server", "server"]);
        assert_eq!(cells("batch_size"), ["1", "4", "", ""]);
        assert_eq!(cells("concurrency"), ["", "", "1", "16"]);
        assert_eq!(cells("images_per_second"), ["120.5", "251.37", "98.4", "203.6"]);
    }

    #[test]
    fn cells_with_special_characters_are_quoted() {
        let mut report = sample::report();
        report.devices.truncate(1);
        report.devices[0].name = "a \"b\"\nc".to_string();
        let csv = report.csv();
        assert!(csv.contains(",\"Example, 16 cores\",16,resnet50,"), "{csv}");
        assert!(csv.contains(",cpu,\"a \"\"b\"\"\nc\",none,"), "{csv}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_empty() {
        let csv = sample::filled_with(f64::NAN).csv();
        assert!(!csv.contains("NaN"));
        assert!(csv.lines().nth(1).unwrap().contains(",engine,1,,50,,,,,,"), "{csv}");
    }
}
