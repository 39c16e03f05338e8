//! The files in `grafana/`: each panel, rule and metric name is checked with a real Prometheus that scrapes servers under load.
//!
//! Grafana itself does not run. The tests send the queries that Grafana would send, with the variables filled in as Grafana does.

mod dashboard;
mod documents;
mod files;
mod live;
mod load;
mod names;
mod prometheus;
mod promql;
mod queries;
mod scrape;
