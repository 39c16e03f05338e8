//! One HTML page with all that was found.

use super::comparison::Comparison;
use super::sections::sections;
use super::{DeviceReport, Report};
use kiln_plots::{self as plots, escape_html, format_gibibytes, format_number, key_value_table};

impl Report {
    /// The page; sections without measurements are left out.
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
        plots::html_page(&title, &content)
    }

    /// What a reader in a hurry wants to know.
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
    rows.extend(peaks.into_iter().filter_map(|(name, best)| Some((name, format!("{} images/s", format_number(best?))))));
    key_value_table(&format!("Device {label}"), &rows)
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    /// No figure that is not one, in a page where "inference" may stand.
    fn is_clean(page: &str) -> bool {
        let page = page.replace("inference", "");
        !page.contains("NaN") && !page.contains("inf")
    }

    #[test]
    fn every_throughput_is_in_a_table_and_every_plot_is_named() {
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
    fn a_hostile_name_is_only_text() {
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
    fn figures_that_are_nothing_leave_no_trace_in_the_page() {
        for value in [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX, f64::MIN_POSITIVE] {
            assert!(is_clean(&sample::filled_with(value).page()), "{value}");
        }
        assert!(is_clean(&sample::empty().page()));
    }

    #[test]
    fn sections_without_measurements_are_left_out() {
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
    fn nothing_is_fetched_and_nothing_runs() {
        let page = sample::report().page();
        assert!(
            ["http:", "https:", "url(", "@import", "<script", "<link", "<img", " src="]
                .iter()
                .all(|part| !page.contains(part))
        );
    }
}
