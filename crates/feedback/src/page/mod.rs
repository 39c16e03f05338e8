//! `kiln feedback report`: one HTML page about the feedback on each model. Pure functions of what was read.
//!
//! | file | responsibility |
//! |---|---|
//! | `over_time.rs` | feedback by when it was given |
//! | `sections.rs` | a model's sections: a plot and the same numbers as a table |

mod over_time;
mod sections;

use super::judged::Judged;
use super::reader::Counted;
use super::summary::Summary;
use kiln_plots::{self as plots, escaped, facts, number};

/// What a page shows of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFeedback {
    /// Which one.
    pub model: Counted,
    /// Its judged predictions, oldest feedback first.
    pub judged: Vec<Judged>,
    /// How many of all its predictions have a probability in each tenth.
    pub confidence: [usize; 10],
}

/// The page. `created` is when, as text.
pub fn page(created: &str, models: &[ModelFeedback]) -> String {
    let created = escaped(created);
    let mut content =
        format!("<p>Made <time datetime=\"{created}\">{created}</time> with Kiln {}.</p>\n", env!("CARGO_PKG_VERSION"));
    if models.iter().all(|model| model.judged.is_empty()) {
        content += "<p class=\"finding\">There is no feedback yet.</p>\n";
    }
    for model in models {
        let (name, version) = (escaped(&model.model.name), escaped(&model.model.version));
        let summary = Summary::of(&model.judged, model.model.judged);
        content += &format!("<h2>{name}, version {version}</h2>\n");
        content += &finding(&summary);
        content += &format!("<div class=\"cards\">\n{}</div>\n", table(model, &summary));
        content += &sections::sections(model, &summary);
    }
    plots::page("Kiln feedback", &content)
}

/// What a reader in a hurry wants to know.
fn finding(summary: &Summary) -> String {
    let Some(accuracy) = summary.accuracy() else { return String::new() };
    let Summary { right, judged, .. } = summary;
    format!("<p class=\"finding\">{} % right: {right} of {judged} judged predictions.</p>\n", number(accuracy * 100.0))
}

fn table(model: &ModelFeedback, summary: &Summary) -> String {
    let percent =
        |part: Option<f64>| part.map_or(plots::UNKNOWN.to_string(), |part| format!("{} %", number(part * 100.0)));
    let [right, wrong, label] = summary.verdicts;
    let facts_of = [
        ("Predictions kept", model.model.predictions.to_string()),
        ("Judged", summary.judged.to_string()),
        ("Said to be right, wrong", format!("{right}, {wrong}")),
        ("True class named", label.to_string()),
        ("Accuracy", percent(summary.accuracy())),
        ("True class among those told", percent(summary.told)),
        ("Expected calibration error", summary.calibration.error.map_or(plots::UNKNOWN.to_string(), number)),
    ];
    facts("Feedback", &facts_of)
}

#[cfg(test)]
mod tests {
    use super::super::record::Verdict;
    use super::super::summary::tests::judged;
    use super::*;

    fn model(judged: Vec<Judged>) -> ModelFeedback {
        let model = Counted {
            row: 1,
            name: "<model>".to_string(),
            version: "1".to_string(),
            predictions: 10,
            judged: judged.len(),
        };
        ModelFeedback { model, judged, confidence: [0, 0, 0, 0, 0, 1, 2, 3, 4, 5] }
    }

    #[test]
    fn every_plot_is_there_with_its_numbers_and_nothing_is_fetched() {
        let rows = vec![
            judged(1, 0.95, Verdict::Right, Some(1)),
            judged(2, 0.85, Verdict::Label, Some(2)),
            judged(30, 0.75, Verdict::Wrong, None),
        ];
        let page = page("2026-01-31T12:00:00Z", &[model(rows)]);
        assert!(page.contains("33.3 % right: 1 of 3 judged predictions."), "{page}");
        for title in ["Accuracy over time", "Reliability", "What was taken for what", "Confidence"] {
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
    fn a_model_without_feedback_has_no_accuracy() {
        let page = page("2026-01-31T12:00:00Z", &[model(Vec::new())]);
        assert!(page.contains("There is no feedback yet.") && !page.contains("% right") && !page.contains("NaN"));
    }
}
