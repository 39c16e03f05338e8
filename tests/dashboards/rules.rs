//! The rules as Prometheus has read them.

use serde_json::Value;

use crate::prometheus::Prometheus;
use crate::{dashboard, documents};

pub fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let groups = prometheus.ask("rules", &[]).unwrap();
    let rules = |group: &Value| dashboard::list(&group["rules"]).cloned().collect::<Vec<_>>();
    let rules: Vec<Value> = dashboard::list(&groups["groups"]).flat_map(rules).collect();
    assert_eq!(rules.iter().filter(|rule| rule["type"] == "alerting").count(), documents::alerts().len());
    rules
}

/// Every rule was evaluated without a fault, and nothing is told to be broken that is not.
pub fn the_rules_work(prometheus: &Prometheus) {
    for rule in rules(prometheus) {
        let name = dashboard::text(&rule, "name");
        assert_eq!(rule["health"], "ok", "{name}: {rule}");
        assert!(rule["lastError"].as_str().unwrap_or_default().is_empty(), "{name}: {rule}");
        let broken = [
            "KilnDeviceLost",
            "KilnSelfTestFailing",
            "KilnLogLinesLost",
            "KilnRestarting",
            "KilnTargetDown",
            "KilnFeedbackLost",
        ];
        assert!(!broken.contains(&name) || rule["state"] != "firing", "{name} for no reason: {rule}");
    }
}
