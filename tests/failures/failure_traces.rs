//! Traces of a failing engine and of a client that disconnects, with the server in the test process.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kiln_api as api;
use kiln_classifier::batching;
use kiln_inference::model::Model;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::telemetry::traces::{self, Config, Headers};
use kiln_server as serve;

use crate::common::otlp_collector::{Collector, Span};
use crate::common::{KEY, alone, bytes, post};
use crate::in_process::{InProcess, Settings};

/// Reports each batch, waits for the test, and fails.
struct Failing {
    started: Sender<()>,
    fail: Receiver<()>,
}

impl Engine for Failing {
    fn run(&mut self, _: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        self.started.send(()).unwrap();
        let _ = self.fail.recv();
        Err(EngineError::Device("fault 0xdead".to_string()))
    }

    /// This device pads every batch to the largest size.
    fn padding(&self, batch: &[Sample]) -> usize {
        8 - batch.len()
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[test]
fn failed_batch_and_request_spans_have_errors_and_a_disconnect_is_cancelled() {
    let _alone = alone();
    let collector = Collector::new();
    let (endpoint, sampling) = (collector.url.parse().unwrap(), "1".parse().unwrap());
    let guard = traces::install(&Config { endpoint, headers: Headers::default(), sampling });
    let ((started, begins), (fail, fails)) = (channel(), channel());
    let settings = Settings {
        serve: serve::Config::default(),
        api: api::Config::default(),
        batching: batching::Config { device_timeout: Duration::ZERO, ..batching::Config::default() },
        decode_threads: 1,
        resizes: false,
        cache_bytes: 0,
    };
    let model = Model::named("efficientnet-lite0").unwrap();
    let mut server = InProcess::loading(model, Box::new(Failing { started, fail: fails }), KEY, settings);
    server.open();
    let photo = bytes("photos/cat_451x300.jpg");

    // The first client disconnects while the engine runs. Only its span ends.
    let mut client = TcpStream::connect(server.address).unwrap();
    let head =
        format!("POST /predict/raw HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n", photo.len());
    client.write_all(&[head.as_bytes(), &photo].concat()).unwrap();
    begins.recv().unwrap();
    drop(client);
    let spans = collector.spans_until(|spans| spans.iter().any(|span| span.name == "POST /predict/raw"));
    let [cancelled] = &spans[..] else { panic!("one span, not {spans:#?}") };
    assert_eq!((cancelled.attributes["error.type"].as_str(), cancelled.status), ("cancelled", 0));
    assert!(!cancelled.attributes.contains_key("http.response.status_code"));
    fail.send(()).unwrap();

    // The failed device is being replaced, so the next request may be rejected first.
    let predict = || post(&format!("http://{}/predict/raw", server.address), &[("X-API-Key", KEY)], &photo).status;
    fail.send(()).unwrap();
    let mut statuses = std::iter::repeat_with(predict);
    assert!(statuses.by_ref().take(1000).any(|status| status == 500), "the engine fails");
    // The span of a batch may be exported after the answer of its request.
    let mut spans = collector.spans_until(|spans| spans.iter().filter(|span| span.name == "batch").count() >= 2);
    drop(guard);
    spans.extend(collector.spans());
    let failed: Vec<_> =
        spans.iter().filter(|span| span.attributes.get("error.type").is_some_and(|e| e == "device_failed")).collect();
    let [request] = failed[..] else { panic!("one request that failed, not {failed:#?}") };
    assert_eq!((request.status, request.attributes["http.response.status_code"].as_str()), (2, "500"));
    let linked = |span: &&Span| span.name == "batch" && span.links.contains(&request.ids);
    let batch = spans.iter().find(linked).expect("a batch");
    assert_eq!((batch.status, batch.number("kiln.batch.size"), batch.number("kiln.batch.padded_size")), (2, 1, 8));
    // The batch of the disconnected client was run too.
    assert!(spans.iter().any(|span| span.name == "batch" && span.links == [cancelled.ids.clone()]), "{spans:#?}");
}
