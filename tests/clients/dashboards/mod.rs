//! The files in `grafana/`: each panel, rule and metric name is checked with a real Prometheus that scrapes servers under load.
//!
//! Grafana itself does not run. The tests send the queries that Grafana would send, with the variables filled in as Grafana does.

mod files;
mod grafana_files;
mod live;
mod load;
mod metrics;
mod prometheus;
mod promql;
mod queries;
