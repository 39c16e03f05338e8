//! The functions of the page that compute figures from metrics, on known metrics.

use serde_json::{Value, json};

use super::open;
use crate::driver::Browser;

fn quantile(browser: &Browser, q: f64, buckets: &Value) -> Value {
    // JSON has no infinity.
    let script = "return kiln.quantile(arguments[0], arguments[1].map(([bound, count]) => [bound ?? Infinity, count]))";
    browser.evaluate(script, &json!([q, buckets]))
}

fn assert_near(found: &Value, expected: f64) {
    assert!(found.as_f64().is_some_and(|found| (found - expected).abs() < 1e-9), "{found} for {expected}");
}

/// The expected values follow the definition of `histogram_quantile` in the Prometheus documentation.
#[test]
fn quantiles_match_histogram_quantile() {
    let Some((browser, _server)) = open(&[]) else { return };
    let buckets = json!([[0.01, 10], [0.025, 10], [0.05, 30], [0.1, 39], [null, 40]]);
    // The 20th of 40 values: the tenth of the 20 between 25 and 50 ms.
    assert_near(&quantile(&browser, 0.5, &buckets), 0.0375);
    // The 4th value: the first bucket begins at 0.
    assert_near(&quantile(&browser, 0.1, &buckets), 0.004);
    // Value 35.1 of 40: 5.1 of the 9 between 50 and 100 ms.
    assert_near(&quantile(&browser, 0.8775, &buckets), 0.05 + 0.05 * 5.1 / 9.0);
    // Above the last bound, the result is that bound.
    assert_near(&quantile(&browser, 0.99, &buckets), 0.1);
    assert_near(&quantile(&browser, 1.0, &json!([[0.1, 3], [0.25, 4], [null, 4]])), 0.25);
    for empty in [json!([]), json!([[0.1, 0], [null, 0]])] {
        assert_eq!(quantile(&browser, 0.5, &empty), Value::Null);
    }
}

const PAGE: &str = r#"# HELP kiln_requests_total Requests.
kiln_requests_total{operation="predict",status="200",outcome="ok"} A
kiln_requests_total{operation="oip_infer",status="429",outcome="overloaded"} B
kiln_requests_total{operation="metrics",status="200",outcome="ok"} 1000
kiln_request_duration_seconds_bucket{operation="predict",le="0.1"} A
kiln_request_duration_seconds_bucket{operation="predict",le="+Inf"} A
kiln_request_duration_seconds_bucket{operation="oip_infer",le="0.1"} 0
kiln_request_duration_seconds_bucket{operation="oip_infer",le="+Inf"} B
kiln_request_duration_seconds_bucket{operation="metrics",le="0.1"} 1000
kiln_request_duration_seconds_bucket{operation="metrics",le="+Inf"} 1000
kiln_batch_size_sum{model="one, \"two\" {x}"} 24
kiln_batch_size_sum{model="other"} A
kiln_batch_size_count{model="one, \"two\" {x}"} 3
kiln_batch_size_count{model="other"} B
kiln_queue_depth{model="one"} 2
kiln_queue_depth{model="other"} 3
kiln_build_info{version="0.1.0",model="one, \"two\" {x}",model_version="1\\n\n"} 1
kiln_build_info{version="0.1.0",model="other",model_version="1"} 1
kiln_model_version_info{model="other",version="1",label="stable"} 0
kiln_model_version_info{model="other",version="2",label="stable"} 1
kiln_model_version_info{model="other",version="3",label="canary"} 1
"#;

/// Returns the metrics page with the counts A and B.
fn page(a: u32, b: u32) -> String {
    PAGE.replace(" A\n", &format!(" {a}\n")).replace(" B\n", &format!(" {b}\n"))
}

#[test]
fn figures_are_differences_summed_over_models_and_image_operations() {
    let Some((browser, _server)) = open(&[]) else { return };
    let between = "const [older, newer] = [kiln.snapshot(arguments[0], 100), kiln.snapshot(arguments[1], 110)];
        return {...kiln.between(older, newer), queue: newer.queue, failed: newer.failed, models: newer.models,
            restarted: kiln.restarted(older, newer)}";
    let found = browser.evaluate(between, &json!([page(10, 5), page(90, 25)]));
    assert_eq!((&found["perSecond"], &found["batch"]), (&json!(10), &json!(4)), "{found}");
    // 80 of 100 requests took up to 100 ms, so the median is at 5/8 of that.
    assert_near(&found["p50"], 0.0625);
    assert_near(&found["p99"], 0.1);
    assert_eq!((&found["queue"], &found["failed"], &found["restarted"]), (&json!(5), &json!(25), &json!(false)));
    assert_eq!(found["models"][0]["model"], "one, \"two\" {x}");
    assert_eq!(found["models"][0]["version"], "1\\n\n");
    // The served version, not the built-in one.
    assert_eq!(found["models"][1], json!({"model": "other", "version": "2"}));

    let quiet = browser.evaluate(between, &json!([page(10, 5), page(10, 5)]));
    assert_eq!((&quiet["perSecond"], &quiet["p99"], &quiet["batch"]), (&json!(0), &Value::Null, &Value::Null));
    // A series does not exist before its first event.
    let first = browser.evaluate(between, &json!(["", page(10, 5)]));
    assert_eq!(first["perSecond"], 1.5);
    // After a restart, the server has counted fewer requests, or more requests in fewer batches.
    for restarted in [page(80, 25), page(99, 20)] {
        assert_eq!(browser.evaluate(between, &json!([page(90, 25), restarted]))["restarted"], true);
    }
}
