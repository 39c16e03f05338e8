//! The results as one HTML page, with a chart and a table per section.

use kiln_plots::{
    Bar, BarChart, LineChart, Segment, Series, XScale, escape_html, format_gibibytes, format_number, html_page,
    html_section, key_value_table,
};

use super::comparison::Comparison;
use super::{DeviceReport, LoadRun, Report, tables};

impl Report {
    /// Returns the HTML page. Sections without measurements are omitted.
    pub fn page(&self) -> String {
        let title = format!("Kiln benchmark: {} {}", self.model.name, self.model.version);
        let created = escape_html(&self.created);
        let content = format!(
            "<p>Measured <time datetime=\"{created}\">{created}</time> with Kiln {}.</p>\n{}{}{}",
            escape_html(&self.kiln),
            self.findings(),
            self.facts(),
            sections(self),
        );
        html_page(&title, &content)
    }

    /// Returns the main results as sentences.
    fn findings(&self) -> String {
        let mut sentences = Vec::new();
        sentences.extend(Comparison::of(self).map(|comparison| comparison.sentence(self)));
        let runs = || self.devices.iter().flat_map(|device| &device.server);
        let errors: usize = runs().map(|run| run.errors).sum();
        if errors > 0 {
            let requests: usize = runs().map(|run| run.requests).sum();
            sentences.push(format!("{errors} of {requests} requests failed."));
        }
        sentences.iter().map(|sentence| format!("<p class=\"finding\">{}</p>\n", escape_html(sentence))).collect()
    }

    fn facts(&self) -> String {
        let (machine, model) = (&self.machine, &self.model);
        let machine = key_value_table(
            "Machine",
            &[
                ("Processor", machine.processor.clone()),
                ("Cores", machine.cores.to_string()),
                ("Memory", format_gibibytes(machine.memory_bytes)),
                ("System", machine.os.clone()),
            ],
        );
        let model = key_value_table(
            "Model",
            &[("Name", model.name.clone()), ("Version", model.version.clone()), ("Digest", model.digest.clone())],
        );
        let devices = self.labels().into_iter().zip(&self.devices);
        let devices: String = devices.map(|(label, device)| device_facts(&label, device)).collect();
        format!("<div class=\"cards\">\n{machine}{model}{devices}</div>\n")
    }
}

fn device_facts(label: &str, device: &DeviceReport) -> String {
    let mut rows = vec![("Name", device.name.clone()), ("API", device.api.clone())];
    let extras = [("Driver", &device.driver), ("Compiler", &device.compiler)];
    rows.extend(extras.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    rows.extend([("Precision", device.precision.clone()), ("Kernels", device.kernels.clone())]);
    let best = |speeds: Vec<f64>| speeds.into_iter().filter(|speed| speed.is_finite()).max_by(f64::total_cmp);
    let engine = best(device.engine.iter().map(|run| run.images_per_second).collect());
    let server = best(device.server.iter().map(|run| run.images_per_second).collect());
    let peaks = [("Engine, at best", engine), ("Server, at best", server)];
    rows.extend(
        peaks.into_iter().filter_map(|(name, best)| Some((name, format!("{} images/s", format_number(best?))))),
    );
    key_value_table(&format!("Device {label}"), &rows)
}

const COSTS: [Segment; 4] = [
    Segment { name: "decode", style: 0 },
    Segment { name: "queue", style: 1 },
    Segment { name: "inference", style: 2 },
    Segment { name: "other", style: 3 },
];
const START_UP: [Segment; 2] =
    [Segment { name: "device and weights", style: 4 }, Segment { name: "warm-up", style: 5 }];

/// Returns all sections that have measurements.
fn sections(report: &Report) -> String {
    [engine(report), latency(report), throughput(report), costs(report), start_up(report)].concat()
}

fn engine(report: &Report) -> String {
    let points = |device: &DeviceReport| {
        device.engine.iter().map(|run| (run.batch_size as f64, run.images_per_second)).collect()
    };
    let title = "Engine throughput by batch size";
    let plot = LineChart {
        title,
        x: "batch size",
        y: "images/s",
        x_scale: XScale::Steps,
        series: series(report, "", false, points),
    };
    let note = "The engine alone, with decoded images and without HTTP. Times are for a batch.";
    html_section(title, note, &plot.html(), &tables::engine(report))
}

fn latency(report: &Report) -> String {
    let of = |name: &str, dashed, percentile: fn(&LoadRun) -> f64| {
        series(report, name, dashed, |device| {
            device.server.iter().map(|run| (run.concurrency as f64, percentile(run))).collect()
        })
    };
    let mut lines = of(" p50", false, |run| run.latency_ms.p50);
    lines.extend(of(" p99", true, |run| run.latency_ms.p99));
    let title = "Server latency by concurrency";
    let plot = LineChart { title, x: "requests in flight", y: "ms", x_scale: XScale::Steps, series: lines };
    let note = "The whole server, measured by the client. Solid: p50, dashed: p99.";
    html_section(title, note, &plot.html(), &tables::latency(report))
}

fn throughput(report: &Report) -> String {
    let points = |device: &DeviceReport| {
        device.server.iter().map(|run| (run.concurrency as f64, run.images_per_second)).collect()
    };
    let title = "Server throughput by concurrency";
    let plot = LineChart {
        title,
        x: "requests in flight",
        y: "images/s",
        x_scale: XScale::Steps,
        series: series(report, "", false, points),
    };
    html_section(title, "Successful images; failed requests do not count.", &plot.html(), &tables::throughput(report))
}

fn costs(report: &Report) -> String {
    let mut plots = String::new();
    for (label, device) in report.labels().iter().zip(&report.devices).filter(|(_, device)| !device.server.is_empty()) {
        let bar = |run: &LoadRun| Bar { name: format!("{} at once", run.concurrency), amounts: run.parts().to_vec() };
        let title = format!("Mean cost of a request on {label}");
        let bars = device.server.iter().map(bar).collect();
        let plot = BarChart {
            title: &title,
            x: "mean of a request",
            unit: "ms",
            segments: &COSTS,
            whole_numbers: false,
            name_width: 10,
            bars,
        };
        plots += &format!("<h3>{}</h3>\n{}", escape_html(label), plot.html());
    }
    let note = "Means of all requests. Each device has its own scale.";
    html_section("Where a request's time goes", note, &plots, &tables::costs(report))
}

fn start_up(report: &Report) -> String {
    let bar = |(name, device): (String, &DeviceReport)| Bar {
        name,
        amounts: vec![device.start_seconds, device.warm_up_seconds],
    };
    let bars = report.labels().into_iter().zip(&report.devices).map(bar).collect();
    let title = "Start-up";
    let plot = BarChart {
        title,
        x: "time until ready",
        unit: "s",
        segments: &START_UP,
        whole_numbers: false,
        name_width: 10,
        bars,
    };
    html_section(title, "From the start of the process to a warm device.", &plot.html(), &tables::start_up(report))
}

/// Returns a line for each device that has points. A device has the same style in every plot.
fn series(
    report: &Report,
    suffix: &str,
    dashed: bool,
    points: impl Fn(&DeviceReport) -> Vec<(f64, f64)>,
) -> Vec<Series> {
    let labels = report.labels();
    let devices = report.devices.iter().enumerate();
    let line =
        |(style, device)| Series { name: format!("{}{suffix}", labels[style]), style, dashed, points: points(device) };
    devices.map(line).filter(|series| !series.points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    /// Reports whether the page contains no NaN and no infinity. The word "inference" is allowed.
    fn is_clean(page: &str) -> bool {
        let page = page.replace("inference", "");
        !page.contains("NaN") && !page.contains("inf")
    }

    #[test]
    fn every_throughput_is_in_a_table_and_every_plot_has_a_label() {
        let page = sample::report().page();
        for speed in ["120.5", "251.4", "8.02", "10.1", "98.4", "203.6", "7.77", "9.44"] {
            assert!(page.contains(&format!("<td>{speed}</td>")), "{speed}");
        }
        assert_eq!(page.matches("<svg class=\"plot\"").count(), 6);
        assert_eq!(page.matches("role=\"img\" aria-label=\"").count(), 6);
        assert!(page.contains("cpu is 25.0 times as fast."));
        assert!(is_clean(&page));
    }

    #[test]
    fn html_in_names_is_escaped() {
        let mut report = sample::report();
        let hostile = "\"><script>alert('1')</script>&";
        let device = &mut report.devices[1];
        (device.flag, device.name, device.driver) = (hostile.into(), hostile.into(), Some(hostile.into()));
        (report.created, report.kiln, report.machine.processor) = (hostile.into(), hostile.into(), hostile.into());
        report.model.name = hostile.into();
        let page = report.page();
        assert!(!page.contains("<script") && !page.contains("\"><s"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_not_in_the_page() {
        for value in [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX, f64::MIN_POSITIVE] {
            assert!(is_clean(&sample::filled_with(value).page()), "{value}");
        }
        assert!(is_clean(&sample::empty().page()));
    }

    #[test]
    fn sections_without_measurements_are_omitted() {
        let mut report = sample::report();
        report.devices.truncate(1);
        report.devices[0].engine.truncate(1);
        report.devices[0].server.clear();
        let page = report.page();
        assert!(page.contains("Engine throughput") && page.contains("Start-up"));
        assert!(!page.contains("Server") && !page.contains("times as fast"));
        assert!(!sample::empty().page().contains("<h2>"));
    }

    #[test]
    fn page_loads_nothing_and_runs_no_script() {
        let page = sample::report().page();
        assert!(
            ["http:", "https:", "url(", "@import", "<script", "<link", "<img", " src="]
                .iter()
                .all(|part| !page.contains(part))
        );
    }
}
