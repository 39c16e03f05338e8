//! `grafana/`: every panel, rule and name is held to a real Prometheus that scrapes real servers under load.
//!
//! Grafana itself is not run. What it would ask Prometheus is asked here, with the variables filled in as it fills them.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod documents;
mod files;
mod live;
mod load;
mod names;
mod prometheus;
mod promql;
mod questions;
mod rules;
mod scrape;
