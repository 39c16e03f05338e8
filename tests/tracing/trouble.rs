//! What traces tell of an engine that fails and of a client who leaves: in this process, with an engine that does what
//! the test says.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::traces::{self, Config, Headers};
use kiln_api as api;
use kiln_classifier::batching;
use kiln_server as serve;

use super::collector::Collector;
use super::common::{KEY, bytes, post};
use super::in_process::{InProcess, Settings};

/// Tells that it has a batch, and waits until it may fail.
struct Failing {
    begun: Sender<()>,
    fail: Receiver<()>,
}

impl Engine for Failing {
    fn run(&mut self, _: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        self.begun.send(()).unwrap();
        let _ = self.fail.recv();
        Err(EngineError::Device("fault 0xdead".to_string()))
    }

    /// A batch of the largest size is all that this device runs.
    fn padding(&self, batch: &[Sample]) -> usize {
        8 - batch.len()
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[test]
fn a_failure_is_an_error_of_the_batch_and_of_the_request_and_who_left_is_told_apart() {
    let collector = Collector::new();
    let (endpoint, sampling) = (collector.url.parse().unwrap(), "1".parse().unwrap());
    let guard = traces::install(&Config { endpoint, headers: Headers::default(), sampling });
    let ((begun, begins), (fail, fails)) = (channel(), channel());
    let settings = Settings {
        serve: serve::Config::default(),
        api: api::Config::default(),
        batching: batching::Config { device_timeout: Duration::ZERO, ..batching::Config::default() },
        decode_threads: 1,
        resizes: false,
        cache_bytes: 0,
    };
    let model = Model::named("efficientnet-lite0").unwrap();
    let mut server = InProcess::loading(model, Box::new(Failing { begun, fail: fails }), KEY, settings);
    server.open();
    let photo = bytes("photos/cat_451x300.jpg");

    // One leaves while the engine works. Its span comes by itself: nothing else ends.
    let mut client = TcpStream::connect(server.address).unwrap();
    let head =
        format!("POST /predict/raw HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n", photo.len());
    client.write_all(&[head.as_bytes(), &photo].concat()).unwrap();
    begins.recv().unwrap();
    drop(client);
    let spans = collector.spans_until(|spans| spans.iter().any(|span| span.name == "POST /predict/raw"));
    let [left] = &spans[..] else { panic!("one span, not {spans:#?}") };
    assert_eq!((left.attributes["error.type"].as_str(), left.status), ("cancelled", 0));
    assert!(!left.attributes.contains_key("http.response.status_code"));
    fail.send(()).unwrap();

    // The device has failed and is replaced, which takes a moment.
    let ask = || post(&format!("http://{}/predict/raw", server.address), &[("X-API-Key", KEY)], &photo).status;
    fail.send(()).unwrap();
    let mut statuses = std::iter::repeat_with(ask);
    assert!(statuses.by_ref().take(1000).any(|status| status == 500), "the engine fails");
    // A batch is recorded when it has been answered, so the answer alone does not tell that it was.
    let mut spans = collector.spans_until(|spans| spans.iter().filter(|span| span.name == "batch").count() >= 2);
    drop(guard);
    spans.extend(collector.spans());
    let failed: Vec<_> =
        spans.iter().filter(|span| span.attributes.get("error.type").is_some_and(|e| e == "device_failed")).collect();
    let [request] = failed[..] else { panic!("one request that failed, not {failed:#?}") };
    assert_eq!((request.status, request.attributes["http.response.status_code"].as_str()), (2, "500"));
    let linked = |span: &&super::Span| span.name == "batch" && span.links.contains(&request.ids);
    let batch = spans.iter().find(linked).expect("a batch");
    assert_eq!((batch.status, batch.number("kiln.batch.size"), batch.number("kiln.batch.padded_size")), (2, 1, 8));
    // Also the one whose client had left was run.
    assert!(spans.iter().any(|span| span.name == "batch" && span.links == [left.ids.clone()]), "{spans:#?}");
}
