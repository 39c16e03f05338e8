//! A model's sections: a plot and the same numbers as a table.

use std::time::SystemTime;

use super::super::calibration::Bin;
use super::super::summary::{Confusion, Summary};
use super::ModelFeedback;
use super::over_time::{Stretch, stretches};
use kiln_plots::{Bar, Bars, Grid, Lines, Segment, Series, Steps, number, section};

const JUDGED: [Segment; 2] = [Segment { name: "right", look: 4 }, Segment { name: "wrong", look: 1 }];
const ALL: [Segment; 1] = [Segment { name: "all predictions kept", look: 2 }];
const PAIRS: [Segment; 1] = [Segment { name: "true class, taken for", look: 1 }];
/// Characters of a pair of classes that stand before its bar.
const PAIR: usize = 30;

/// All that have numbers.
pub(super) fn sections(model: &ModelFeedback, summary: &Summary) -> String {
    let judged = &model.judged;
    [over_time(&stretches(judged)), reliability(summary), confusions(&summary.confusions), confidence(model)].concat()
}

fn over_time(stretches: &[Stretch]) -> String {
    let Some(first) = stretches.first() else { return String::new() };
    let (unit, seconds) = unit(stretches);
    let at = |stretch: &Stretch| hundredths(stretch.since.as_secs_f64() / seconds);
    let points = stretches.iter().map(|stretch| (at(stretch), accuracy(stretch) * 100.0)).collect();
    let series = vec![Series { name: "accuracy".to_string(), look: 0, dashed: false, points }];
    let x = format!("{unit} since {}", moment(first.begins));
    let plot = Lines { title: "Accuracy over time", x: &x, y: "% right", steps: Steps::Even, series };
    let row =
        |stretch: &Stretch| vec![moment(stretch.begins), stretch.judged.to_string(), number(accuracy(stretch) * 100.0)];
    let headings = &["Feedback from", "Judged", "Right, %"];
    let grid = Grid { caption: "By time".to_string(), headings, rows: stretches.iter().map(row).collect() };
    section("Accuracy over time", "By when feedback was given, in equal stretches of time.", &plot.html(), &grid)
}

fn reliability(summary: &Summary) -> String {
    let bins: Vec<&Bin> = summary.calibration.bins.iter().filter(|bin| bin.count > 0).collect();
    let line = |name: &str, look, dashed, points| Series { name: name.to_string(), look, dashed, points };
    let points = bins.iter().map(|bin| (hundredths(bin.confidence), bin.accuracy)).collect();
    let series =
        vec![line("as it is", 0, false, points), line("as it should be", 1, true, vec![(0.0, 0.0), (1.0, 1.0)])];
    let title = "Reliability";
    let plot =
        Lines { title, x: "mean probability of the most probable class", y: "part right", steps: Steps::Even, series };
    let row = |bin: &&Bin| {
        let bounds = format!("{:.1} to {:.1}", bin.low, bin.high);
        vec![bounds, bin.count.to_string(), number(bin.confidence), number(bin.accuracy)]
    };
    let headings = &["Probability", "Judged", "Mean probability", "Part right"];
    let grid = Grid { caption: "By probability".to_string(), headings, rows: bins.iter().map(row).collect() };
    let note = "Below the dashed line the model is surer than it should be, above it less sure. Expected calibration error: \
                Guo et al., On Calibration of Modern Neural Networks, 2017.";
    section(title, note, &plot.html(), &grid)
}

fn confusions(pairs: &[Confusion]) -> String {
    let name = |pair: &Confusion| format!("{}, {}", pair.truth.1, pair.predicted.1);
    let bars = pairs.iter().map(|pair| Bar { name: name(pair), amounts: vec![pair.count as f64] }).collect();
    let title = "What was taken for what";
    let plot = Bars { title, x: "how often", unit: "times", segments: &PAIRS, counts: true, names: PAIR, bars };
    let class = |(class_id, label): &(u32, String)| format!("{label} ({class_id})");
    let row = |pair: &Confusion| vec![class(&pair.truth), class(&pair.predicted), pair.count.to_string()];
    let headings = &["True class", "Taken for", "Times"];
    let grid = Grid { caption: "Pairs".to_string(), headings, rows: pairs.iter().map(row).collect() };
    section(title, "By feedback that names the true class; the most frequent pairs.", &plot.html(), &grid)
}

fn confidence(model: &ModelFeedback) -> String {
    let mut tenths = [(0, 0); 10];
    for one in &model.judged {
        // In f64, as the database reckons it for all of them: in f32 some would be in the tenth above.
        let (right, wrong) = &mut tenths[((f64::from(one.probability) * 10.0) as usize).min(9)];
        *if one.is_right() { right } else { wrong } += 1;
    }
    let name = |index: usize| format!("{:.1} to {:.1}", index as f64 / 10.0, (index + 1) as f64 / 10.0);
    let judged = tenths
        .iter()
        .enumerate()
        .map(|(index, (right, wrong))| Bar { name: name(index), amounts: vec![f64::from(*right), f64::from(*wrong)] });
    let all = model.confidence.iter().enumerate();
    let all = all.map(|(index, count)| Bar { name: name(index), amounts: vec![*count as f64] });
    let x = "predictions, by the probability of the most probable class";
    let chart = |title, segments, bars| Bars { title, x, unit: "", segments, counts: true, names: 10, bars }.html();
    let judged = chart("Confidence of judged predictions", &JUDGED[..], judged.collect());
    let all = chart("Confidence of all predictions", &ALL[..], all.collect());
    let row = |(index, (right, wrong)): (usize, &(u32, u32))| {
        vec![name(index), model.confidence[index].to_string(), right.to_string(), wrong.to_string()]
    };
    let rows = if model.model.predictions == 0 { Vec::new() } else { tenths.iter().enumerate().map(row).collect() };
    let headings = &["Probability", "All kept", "Right", "Wrong"];
    let grid = Grid { caption: "By probability".to_string(), headings, rows };
    section("Confidence", "How sure the model was: where it was judged, and in all.", &(judged + &all), &grid)
}

fn accuracy(stretch: &Stretch) -> f64 {
    stretch.right as f64 / stretch.judged.max(1) as f64
}

/// As fine as a plot can show.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The unit in which stretches of time are told, and its seconds.
fn unit(stretches: &[Stretch]) -> (&'static str, f64) {
    let whole = stretches.last().map_or(0, |last| last.since.as_secs());
    match whole / 3600 {
        0..=1 => ("minutes", 60.0),
        2..=71 => ("hours", 3600.0),
        _ => ("days", 24.0 * 3600.0),
    }
}

/// A moment (UTC), as a reader wants it.
fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
}
