//! The background tasks of `kiln serve`. Each one keeps something current and is restarted if it fails: until then the server
//! answers requests with the previous state. `docs/architecture.md` lists all supervised tasks.

use std::sync::Arc;
use std::time::Duration;

use kiln_feedback::FeedbackStore;
use kiln_runtime::shutdown::ShutdownSignal;
use kiln_runtime::supervisor::{Supervisor, TaskResult};
use kiln_runtime::telemetry::metrics::Exporter;
use kiln_server::auth::Authenticator;
use kiln_server::{Server, Tls};

/// Interval in which the exporter removes old samples from the histograms.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Starts the tasks that keep something current while the server runs.
pub(super) fn supervise_maintenance(
    supervisor: &mut Supervisor,
    authenticator: Arc<Authenticator>,
    tls: Option<Arc<Tls>>,
    feedback: Option<FeedbackStore>,
    metrics: Option<Exporter>,
) {
    maintain(supervisor, "key reloading", authenticator, |authenticator| async move {
        authenticator.run_maintenance().await;
    });
    if let Some(tls) = tls {
        maintain(supervisor, "certificate renewal", tls, Tls::watch);
    }
    if let Some(feedback) = feedback {
        maintain(supervisor, "feedback maintenance", feedback, FeedbackStore::run_maintenance);
    }
    if let Some(metrics) = metrics {
        maintain(supervisor, "metrics upkeep", metrics, run_metrics_upkeep);
    }
}

/// Supervises a task that runs on a clone of `subject`.
fn maintain<T, F>(supervisor: &mut Supervisor, name: &'static str, subject: T, run: fn(T) -> F)
where
    T: Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    supervisor.spawn_restarting(name, move || {
        let task = run(subject.clone());
        async move {
            task.await;
            Ok(())
        }
    });
}

/// Serves the metrics on their own listener. If it fails, it is bound again.
pub(super) fn supervise_metrics_server(
    supervisor: &mut Supervisor,
    server: Server,
    config: kiln_server::Config,
    metrics: Exporter,
    signal: &ShutdownSignal,
) {
    let config = kiln_server::Config { listen: server.local_addr(), ..config };
    tracing::info!(address = %config.listen, "metrics listener started");
    let (mut bound, signal) = (Some(server), signal.clone());
    supervisor.spawn_restarting("metrics listener", move || {
        run_metrics_server(bound.take(), config, metrics.clone(), signal.clone())
    });
}

async fn run_metrics_server(
    bound: Option<Server>,
    config: kiln_server::Config,
    metrics: Exporter,
    signal: ShutdownSignal,
) -> TaskResult {
    let server = match bound {
        Some(server) => server,
        None => Server::bind(config, None).await?,
    };
    server.run(kiln_api::metrics_endpoint(metrics), signal).await?;
    Ok(())
}

async fn run_metrics_upkeep(metrics: Exporter) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep().await;
    }
}
