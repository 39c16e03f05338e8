//! Renders the page of `kiln feedback report`: for each model, charts of its feedback and the same numbers as tables. Pure
//! functions.

use std::time::{Duration, SystemTime};

use kiln_plots::{
    self as plots, Bar, BarChart, DataTable, LineChart, Segment, Series, XScale, escape_html, format_number, html_page,
    html_section, key_value_table,
};

use crate::reader::RecordedModel;
use crate::record::LabelledPrediction;
use crate::summary::{CalibrationBin, Confusion, Summary};

const RIGHT_OR_WRONG: [Segment; 2] = [Segment { name: "right", style: 4 }, Segment { name: "wrong", style: 1 }];
const ALL_PREDICTIONS: [Segment; 1] = [Segment { name: "all stored predictions", style: 2 }];
const CONFUSIONS: [Segment; 1] = [Segment { name: "true class, predicted class", style: 1 }];
/// Maximum number of characters of a pair of classes before its bar.
const CONFUSION_NAME_WIDTH: usize = 30;
/// Maximum number of time buckets.
const MAX_BUCKETS: usize = 24;
/// Average number of predictions in a time bucket; with little feedback there are fewer buckets.
const PREDICTIONS_PER_BUCKET: usize = 10;

/// The data of one model on the page.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFeedback {
    /// The model.
    pub model: RecordedModel,
    /// Its predictions with feedback, oldest feedback first.
    pub labelled: Vec<LabelledPrediction>,
    /// Histogram of the top-1 probabilities of all its predictions, in tenths.
    pub confidence_histogram: [usize; 10],
}

/// Renders the page. `created` is the time of its creation, as text.
pub fn report_page(created: &str, models: &[ModelFeedback]) -> String {
    let created = escape_html(created);
    let version = env!("CARGO_PKG_VERSION");
    let mut content = format!("<p>Created <time datetime=\"{created}\">{created}</time> with Kiln {version}.</p>\n");
    if models.iter().all(|model| model.labelled.is_empty()) {
        content += "<p class=\"finding\">There is no feedback yet.</p>\n";
    }
    for model in models {
        let (name, version) = (escape_html(&model.model.name), escape_html(&model.model.version));
        let summary = Summary::new(&model.labelled, model.model.labelled);
        content += &format!("<h2>{name}, version {version}</h2>\n");
        content += &accuracy_sentence(&summary);
        content += &format!("<div class=\"cards\">\n{}</div>\n", facts(model, &summary));
        content += &accuracy_over_time(&time_buckets(&model.labelled));
        content += &reliability(&summary);
        content += &confusions(&summary.confusions);
        content += &confidence(model);
    }
    html_page("Kiln feedback", &content)
}

fn accuracy_sentence(summary: &Summary) -> String {
    let Some(accuracy) = summary.accuracy() else { return String::new() };
    let (Summary { right, count, .. }, percent) = (summary, format_number(accuracy * 100.0));
    format!("<p class=\"finding\">{percent} % right: {right} of {count} predictions with feedback.</p>\n")
}

fn facts(model: &ModelFeedback, summary: &Summary) -> String {
    let or_not_available = |text: Option<String>| text.unwrap_or_else(|| plots::NOT_AVAILABLE.to_string());
    let percent = |fraction: Option<f64>| {
        or_not_available(fraction.map(|fraction| format!("{} %", format_number(fraction * 100.0))))
    };
    let [confirmed, rejected, with_class] = summary.kind_counts;
    let entries = [
        ("Stored predictions", model.model.predictions.to_string()),
        ("With feedback", summary.count.to_string()),
        ("Confirmed, rejected", format!("{confirmed}, {rejected}")),
        ("True class given", with_class.to_string()),
        ("Accuracy", percent(summary.accuracy())),
        ("True class among those returned", percent(summary.top_k_accuracy)),
        ("Expected calibration error", or_not_available(summary.calibration.expected_error.map(format_number))),
    ];
    key_value_table("Feedback", &entries)
}

fn accuracy_over_time(buckets: &[TimeBucket]) -> String {
    let Some(first) = buckets.first() else { return String::new() };
    let (unit, seconds) = time_unit(buckets);
    let x = |bucket: &TimeBucket| round_to_hundredths(bucket.offset.as_secs_f64() / seconds);
    let points = buckets.iter().map(|bucket| (x(bucket), bucket.accuracy() * 100.0)).collect();
    let series = vec![Series { name: "accuracy".to_string(), style: 0, dashed: false, points }];
    let label = format!("{unit} since {}", format_time(first.start));
    let plot = LineChart { title: "Accuracy over time", x: &label, y: "% right", x_scale: XScale::FromZero, series };
    let row = |bucket: &TimeBucket| {
        vec![format_time(bucket.start), bucket.count.to_string(), format_number(bucket.accuracy() * 100.0)]
    };
    let headings = &["Feedback from", "Predictions", "Right, %"];
    let table = DataTable { caption: "By time".to_string(), headings, rows: buckets.iter().map(row).collect() };
    html_section("Accuracy over time", "By the time of the feedback, in equal intervals.", &plot.html(), &table)
}

fn reliability(summary: &Summary) -> String {
    let bins: Vec<&CalibrationBin> = summary.calibration.bins.iter().filter(|bin| bin.count > 0).collect();
    let line = |name: &str, style, dashed, points| Series { name: name.to_string(), style, dashed, points };
    let points = bins.iter().map(|bin| (round_to_hundredths(bin.confidence), bin.accuracy)).collect();
    let series =
        vec![line("measured", 0, false, points), line("perfect calibration", 1, true, vec![(0.0, 0.0), (1.0, 1.0)])];
    let title = "Reliability";
    let x = "mean probability of the most probable class";
    let plot = LineChart { title, x, y: "fraction right", x_scale: XScale::FromZero, series };
    let row = |bin: &&CalibrationBin| {
        let bounds = format!("{:.1} to {:.1}", bin.low, bin.high);
        vec![bounds, bin.count.to_string(), format_number(bin.confidence), format_number(bin.accuracy)]
    };
    let headings = &["Probability", "Predictions", "Mean probability", "Fraction right"];
    let table = DataTable { caption: "By probability".to_string(), headings, rows: bins.iter().map(row).collect() };
    let note = "Below the dashed line the model is overconfident, above it underconfident. Expected calibration error: \
                Guo et al., On Calibration of Modern Neural Networks, 2017.";
    html_section(title, note, &plot.html(), &table)
}

fn confusions(pairs: &[Confusion]) -> String {
    let name = |pair: &Confusion| format!("{}, {}", pair.true_class.1, pair.predicted.1);
    let bars = pairs.iter().map(|pair| Bar { name: name(pair), amounts: vec![pair.count as f64] }).collect();
    let title = "Confusions";
    let plot = BarChart {
        title,
        x: "predictions",
        unit: "",
        segments: &CONFUSIONS,
        whole_numbers: true,
        name_width: CONFUSION_NAME_WIDTH,
        bars,
    };
    let class = |(class_id, label): &(u32, String)| format!("{label} ({class_id})");
    let row = |pair: &Confusion| vec![class(&pair.true_class), class(&pair.predicted), pair.count.to_string()];
    let headings = &["True class", "Predicted class", "Predictions"];
    let table = DataTable { caption: "Pairs".to_string(), headings, rows: pairs.iter().map(row).collect() };
    html_section(title, "From feedback that gives the true class; the most frequent pairs.", &plot.html(), &table)
}

fn confidence(model: &ModelFeedback) -> String {
    let mut tenths = [(0, 0); 10];
    for one in &model.labelled {
        // In f64, as in the database: in f32 some probabilities would be in the tenth above.
        let (right, wrong) = &mut tenths[((f64::from(one.probability) * 10.0) as usize).min(9)];
        *if one.is_right() { right } else { wrong } += 1;
    }
    let name = |index: usize| format!("{:.1} to {:.1}", index as f64 / 10.0, (index + 1) as f64 / 10.0);
    let bar = |index, amounts| Bar { name: name(index), amounts };
    let labelled = tenths.iter().enumerate();
    let labelled = labelled.map(|(index, (right, wrong))| bar(index, vec![f64::from(*right), f64::from(*wrong)]));
    let all = model.confidence_histogram.iter().enumerate().map(|(index, count)| bar(index, vec![*count as f64]));
    let x = "predictions, by the probability of the most probable class";
    let chart = |title, segments, bars| {
        BarChart { title, x, unit: "", segments, whole_numbers: true, name_width: 10, bars }.html()
    };
    let labelled = chart("Confidence of predictions with feedback", &RIGHT_OR_WRONG[..], labelled.collect());
    let all = chart("Confidence of all predictions", &ALL_PREDICTIONS[..], all.collect());
    let row = |(index, (right, wrong)): (usize, &(u32, u32))| {
        vec![name(index), model.confidence_histogram[index].to_string(), right.to_string(), wrong.to_string()]
    };
    let rows = if model.model.predictions == 0 { Vec::new() } else { tenths.iter().enumerate().map(row).collect() };
    let headings = &["Probability", "All stored", "Right", "Wrong"];
    let table = DataTable { caption: "By probability".to_string(), headings, rows };
    let note = "Probability of the most probable class: of predictions with feedback, and of all predictions.";
    html_section("Confidence", note, &(labelled + &all), &table)
}

/// Predictions whose feedback was given in one interval of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TimeBucket {
    start: SystemTime,
    /// Time from the first feedback to the start.
    offset: Duration,
    count: usize,
    right: usize,
}

impl TimeBucket {
    fn accuracy(&self) -> f64 {
        self.right as f64 / self.count.max(1) as f64
    }
}

/// Divides the time between the first and the last feedback into equal buckets. Empty buckets are left out.
fn time_buckets(predictions: &[LabelledPrediction]) -> Vec<TimeBucket> {
    let times = || predictions.iter().map(|one| one.time);
    let Some((first, last)) = times().min().zip(times().max()) else { return Vec::new() };
    let span = last.duration_since(first).unwrap_or_default();
    let count = (predictions.len() / PREDICTIONS_PER_BUCKET).clamp(1, MAX_BUCKETS);
    let length = span / count as u32;
    let empty = |index: usize| {
        let offset = length * index as u32;
        TimeBucket { start: first + offset, offset, count: 0, right: 0 }
    };
    let mut buckets: Vec<TimeBucket> = (0..count).map(empty).collect();
    for one in predictions {
        let offset = one.time.duration_since(first).unwrap_or_default();
        let index = if length.is_zero() { 0.0 } else { offset.as_secs_f64() / length.as_secs_f64() };
        let bucket = &mut buckets[(index as usize).min(count - 1)];
        bucket.count += 1;
        bucket.right += usize::from(one.is_right());
    }
    buckets.retain(|bucket| bucket.count > 0);
    buckets
}

/// Returns the unit of the time axis, and the number of seconds in it.
fn time_unit(buckets: &[TimeBucket]) -> (&'static str, f64) {
    let span = buckets.last().map_or(0, |last| last.offset.as_secs());
    match span / 3600 {
        0..=1 => ("minutes", 60.0),
        2..=71 => ("hours", 3600.0),
        _ => ("days", 24.0 * 3600.0),
    }
}

/// Rounds to the resolution of a chart.
fn round_to_hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Formats a time in UTC.
fn format_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FeedbackKind;
    use crate::tests::labelled;

    fn model(labelled: Vec<LabelledPrediction>) -> ModelFeedback {
        let model = RecordedModel {
            row: 1,
            name: "<model>".to_string(),
            version: "1".to_string(),
            predictions: 10,
            labelled: labelled.len(),
        };
        ModelFeedback { model, labelled, confidence_histogram: [0, 0, 0, 0, 0, 1, 2, 3, 4, 5] }
    }

    #[test]
    fn page_has_every_chart_and_no_external_resources() {
        let rows = vec![
            labelled(1, 0.95, FeedbackKind::Right, Some(1)),
            labelled(2, 0.85, FeedbackKind::Label, Some(2)),
            labelled(30, 0.75, FeedbackKind::Wrong, None),
        ];
        let page = report_page("2026-01-31T12:00:00Z", &[model(rows)]);
        assert!(page.contains("33.3 % right: 1 of 3 predictions with feedback."), "{page}");
        for title in ["Accuracy over time", "Reliability", "Confusions", "Confidence"] {
            assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
        }
        assert!(page.matches("<svg class=\"plot\"").count() >= 4, "{page}");
        assert!(page.contains("prefers-color-scheme: dark"));
        for part in ["http:", "https:", "url(", "@import", "<script", "<link", "<img", " src=", "<model>", "NaN"] {
            assert!(!page.contains(part), "{part}");
        }
        assert!(page.contains("&lt;model&gt;, version 1"));
    }

    #[test]
    fn model_without_feedback_has_no_accuracy() {
        let page = report_page("2026-01-31T12:00:00Z", &[model(Vec::new())]);
        assert!(page.contains("There is no feedback yet.") && !page.contains("% right") && !page.contains("NaN"));
    }

    #[test]
    fn time_buckets_include_all_feedback() {
        // One hour apart; the last tenth is wrong.
        let true_id = |number| if number < 90 { 1 } else { 2 };
        let rows: Vec<LabelledPrediction> =
            (0..100).map(|number| labelled(number, 0.9, FeedbackKind::Label, Some(true_id(number)))).collect();
        let all = time_buckets(&rows);
        assert_eq!((all.len(), all.iter().map(|bucket| bucket.count).sum::<usize>()), (10, 100));
        assert_eq!((all[0].offset, all[0].right == all[0].count), (Duration::ZERO, true));
        assert_eq!(all[9].right, 0);
        assert!(all.is_sorted_by(|a, b| a.offset < b.offset));
    }

    #[test]
    fn one_prediction_is_one_time_bucket() {
        assert_eq!(time_buckets(&[labelled(1, 0.9, FeedbackKind::Wrong, None)]).len(), 1);
        assert!(time_buckets(&[]).is_empty());
    }
}
