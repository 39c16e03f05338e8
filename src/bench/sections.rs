//! The page's sections: each a heading, a plot and the same numbers as a table.

use super::grids;
use super::{DeviceReport, LoadRun, Report};
use kiln_plots::{Bar, BarChart, LineChart, Segment, Series, XScale, escape_html, html_section};

const COSTS: [Segment; 4] = [
    Segment { name: "decode", style: 0 },
    Segment { name: "queue", style: 1 },
    Segment { name: "inference", style: 2 },
    Segment { name: "other", style: 3 },
];
const START_UP: [Segment; 2] = [Segment { name: "device and weights", style: 4 }, Segment { name: "warm-up", style: 5 }];

/// All sections that have measurements.
pub fn sections(report: &Report) -> String {
    [engine(report), latency(report), throughput(report), costs(report), start_up(report)].concat()
}

fn engine(report: &Report) -> String {
    let points = |device: &DeviceReport| {
        device.engine.iter().map(|run| (run.batch_size as f64, run.images_per_second)).collect()
    };
    let title = "Engine throughput by batch size";
    let plot =
        LineChart { title, x: "batch size", y: "images/s", x_scale: XScale::Steps, series: series(report, "", false, points) };
    let note = "The engine alone, with ready pixels: nothing is decoded, there is no HTTP. Times are for a batch.";
    html_section(title, note, &plot.html(), &grids::engine(report))
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
    let note = "The whole server, seen from the client. Solid: p50, dashed: p99.";
    html_section(title, note, &plot.html(), &grids::latency(report))
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
    html_section(title, "Answered images; requests that failed do not count.", &plot.html(), &grids::throughput(report))
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
    let note = "Means of all requests. Each device has a scale of its own.";
    html_section("Where a request's time goes", note, &plots, &grids::costs(report))
}

fn start_up(report: &Report) -> String {
    let bar = |(name, device): (String, &DeviceReport)| Bar {
        name,
        amounts: vec![device.start_seconds, device.warm_up_seconds],
    };
    let bars = report.labels().into_iter().zip(&report.devices).map(bar).collect();
    let title = "Start-up";
    let plot = BarChart { title, x: "time until ready", unit: "s", segments: &START_UP, whole_numbers: false, name_width: 10, bars };
    html_section(title, "From nothing to a device that is warm.", &plot.html(), &grids::start_up(report))
}

/// A line for each device that has points; a device looks the same in every plot.
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
