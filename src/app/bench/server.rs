//! Measures the whole server: a server in this process under the load of several connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kiln_classifier::batching::Worker;
use kiln_inference::BurnEngine;
use kiln_inference::model::Model;
use kiln_server::auth::ApiKey;
use tokio::task::JoinSet;

use super::super::http_connection::{HttpConnection, Response, invalid_response, post_request};
use super::super::load;
use super::super::loopback_server::LoopbackServer;
use crate::bench::{Latency, LoadRun};
use crate::config::Config;

/// A server that is ready.
pub(super) struct BenchServer {
    server: LoopbackServer,
    key: String,
    /// The operation that takes an image as the body.
    path: &'static str,
    worker: Worker,
}

/// A completed request. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
struct CompletedRequest {
    status: u16,
    /// Latency that the client measured.
    total_ms: f64,
    /// Durations that the server reported.
    decode_ms: f64,
    queue_ms: f64,
    inference_ms: f64,
}

impl BenchServer {
    /// Starts a server with one engine.
    pub(super) async fn start(config: &Config, model: Model, engine: BurnEngine) -> Result<Self, String> {
        let key = ApiKey::generate();
        let server = LoopbackServer::start(config.server, config.api.clone(), &key).await?;
        let name = model.name().to_string();
        let path = load::raw_path(model.spec().task);
        let (classifier, worker) = load::classifier(config, model, vec![engine], server.readiness.clone())
            .map_err(|error| error.to_string())?;
        server.registry.replace_with_stable(name, vec![classifier]);
        server.readiness.set_ready();
        Ok(Self { server, key: key.expose().to_string(), path, worker })
    }

    /// Measures `connections` that each send the next image as soon as the last one is answered (closed loop).
    pub(super) async fn measure(
        &self,
        connections: usize,
        time: Duration,
        files: &Arc<[Bytes]>,
    ) -> Result<LoadRun, String> {
        // Warm-up: connections, threads and buffers.
        self.run_clients(connections, time / 10, files).await?;
        let (requests, took) = self.run_clients(connections, time, files).await?;
        let done: Vec<&CompletedRequest> = requests.iter().filter(|request| request.status == 200).collect();
        let mean = |part: &dyn Fn(&CompletedRequest) -> f64| {
            done.iter().map(|request| part(request)).sum::<f64>() / done.len().max(1) as f64
        };
        let [decode_ms, queue_ms, inference_ms] = [
            mean(&|request| request.decode_ms),
            mean(&|request| request.queue_ms),
            mean(&|request| request.inference_ms),
        ];
        let latency_ms = Latency::from_ms(done.iter().map(|request| request.total_ms).collect());
        Ok(LoadRun {
            concurrency: connections,
            requests: requests.len(),
            errors: requests.len() - done.len(),
            images_per_second: done.len() as f64 / took.as_secs_f64(),
            other_ms: (latency_ms.mean - decode_ms - queue_ms - inference_ms).max(0.0),
            latency_ms,
            decode_ms,
            queue_ms,
            inference_ms,
        })
    }

    async fn run_clients(
        &self,
        connections: usize,
        time: Duration,
        files: &Arc<[Bytes]>,
    ) -> Result<(Vec<CompletedRequest>, Duration), String> {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for first in 0..connections {
            let target = (self.server.address, self.path);
            clients.spawn(run_client(target, self.key.clone(), Arc::clone(files), first, begun + time));
        }
        let mut requests = Vec::new();
        while let Some(client) = clients.join_next().await {
            requests.extend(client.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?);
        }
        Ok((requests, begun.elapsed()))
    }

    /// Completes the requests in flight and stops.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        self.worker.shutdown().await;
    }
}

/// Sends the images in turn, from the `first` on, over one connection until `end`; at least one.
async fn run_client(
    (address, path): (SocketAddr, &'static str),
    key: String,
    files: Arc<[Bytes]>,
    first: usize,
    end: Instant,
) -> io::Result<Vec<CompletedRequest>> {
    let (mut connection, mut requests) = (HttpConnection::open(address).await?, Vec::new());
    for file in files.iter().cycle().skip(first % files.len()) {
        let request = post_request(path, &key, "", file);
        let started = Instant::now();
        let response = connection.exchange(&request).await?;
        requests.push(completed(response, started.elapsed().as_secs_f64() * 1e3)?);
        if Instant::now() >= end {
            break;
        }
    }
    Ok(requests)
}

fn completed(response: Response<'_>, total_ms: f64) -> io::Result<CompletedRequest> {
    let body: serde_json::Value = serde_json::from_slice(response.body).map_err(|_| invalid_response())?;
    // An error response has no timings.
    let phase = |name: &str| body["timings_ms"][name].as_f64().unwrap_or_default();
    let decode_ms = phase("decode") + phase("preprocess");
    let queue_ms = phase("queue") + phase("batch_wait");
    let inference_ms = phase("device");
    Ok(CompletedRequest { status: response.status, total_ms, decode_ms, queue_ms, inference_ms })
}
