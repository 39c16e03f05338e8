//! The whole server in this process, on a port of its own, under a load of connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::super::load;
use super::super::local::Local;
use super::client::{self, Answered};
use kiln_classifier::batching::Worker;
use crate::bench::{Latency, LoadRun};
use crate::config::Config;
use kiln_inference::BurnEngine;
use kiln_server::auth as keys;
use kiln_inference::model::Model;

/// A server that is ready.
pub(super) struct Served {
    server: Local,
    key: String,
    worker: Worker,
}

/// Starts one on this engine.
pub(super) async fn start(config: &Config, model: Model, engine: BurnEngine) -> Result<Served, String> {
    let key = keys::ApiKey::generate();
    let server = Local::start(config.serve, config.api.clone(), &key).await?;
    let name = model.spec().name.to_string();
    let (classifier, worker) = load::classifier(config, model, vec![engine], server.readiness.clone());
    server.registry.open(name, vec![classifier]);
    server.readiness.set_ready();
    Ok(Served { server, key: key.expose().to_string(), worker })
}

impl Served {
    /// `connections` that each send the next picture as soon as the last one is answered.
    pub(super) async fn load(
        &self,
        connections: usize,
        time: Duration,
        files: &Arc<[Bytes]>,
    ) -> Result<LoadRun, String> {
        // Connections, threads and buffers come up at the expense of nobody.
        self.volley(connections, time / 10, files).await?;
        let (answers, took) = self.volley(connections, time, files).await?;
        let done: Vec<&Answered> = answers.iter().filter(|answer| answer.status == 200).collect();
        let mean = |part: &dyn Fn(&Answered) -> f64| {
            done.iter().map(|answer| part(answer)).sum::<f64>() / done.len().max(1) as f64
        };
        let [decode_ms, queue_ms, inference_ms] =
            [mean(&|answer| answer.decode_ms), mean(&|answer| answer.queue_ms), mean(&|answer| answer.inference_ms)];
        let latency_ms = Latency::from_ms(done.iter().map(|answer| answer.total_ms).collect());
        Ok(LoadRun {
            concurrency: connections,
            requests: answers.len(),
            errors: answers.len() - done.len(),
            images_per_second: done.len() as f64 / took.as_secs_f64(),
            other_ms: (latency_ms.mean - decode_ms - queue_ms - inference_ms).max(0.0),
            latency_ms,
            decode_ms,
            queue_ms,
            inference_ms,
        })
    }

    async fn volley(
        &self,
        connections: usize,
        time: Duration,
        files: &Arc<[Bytes]>,
    ) -> Result<(Vec<Answered>, Duration), String> {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for first in 0..connections {
            clients.spawn(client::send(self.server.address, self.key.clone(), Arc::clone(files), first, begun + time));
        }
        let mut answers = Vec::new();
        while let Some(client) = clients.join_next().await {
            answers.extend(client.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?);
        }
        Ok((answers, begun.elapsed()))
    }

    /// Answers what is under way and ends.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        self.worker.shutdown().await;
    }
}
