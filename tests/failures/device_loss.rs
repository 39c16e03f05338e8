//! Loss of a Vulkan device under load: no request hangs, and the server replaces the device.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{self, Answer, KEY, Stop, bytes, get, post};
use crate::in_process::{self, InProcess};
use kiln_api as api;
use kiln_classifier::batching;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, DeviceChoice, Options, device};
use kiln_server as serve;

/// Longer than any step takes on a software adapter.
const TIMEOUT: Duration = Duration::from_secs(120);

fn predict(server: &InProcess, photo: &[u8]) -> Answer {
    post(&format!("http://{}/predict/raw", server.address), &[("X-API-Key", KEY)], photo)
}

fn ready(server: &InProcess) -> u16 {
    get(&format!("http://{}/health/ready", server.address), &[]).status
}

#[test]
fn device_lost_under_load_is_replaced_and_no_request_hangs() {
    let _alone = common::alone();
    // With a native shader compiler, a process cannot open a second device.
    if !common::has_vulkan() || cfg!(any(feature = "vulkan", feature = "metal")) {
        return;
    }
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Vulkan(None)).unwrap();
    let engine = BurnEngine::start(model.clone(), &device, &Options::new(2), |_| ()).unwrap();
    let settings = in_process::Settings {
        serve: serve::Config::default(),
        api: api::Config { request_timeout: TIMEOUT, ..api::Config::default() },
        batching: batching::Config { max_batch_size: 2, ..batching::Config::default() },
        decode_threads: 1,
        resizes: false,
        cache_bytes: 0,
    };
    let mut server = InProcess::loading(model, Box::new(engine), KEY, settings);
    server.open();
    let photo = bytes("photos/cat_640x480.jpg");
    let (answered, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while !stopped.load(Ordering::Relaxed) {
                        let started = Instant::now();
                        statuses.push(predict(&server, &photo).status);
                        assert!(started.elapsed() < TIMEOUT, "a request hung");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    statuses
                })
            })
            .collect();
        let stop = Stop(&stopped);
        let until = |what: &str, holds: &dyn Fn() -> bool| common::until(what, TIMEOUT, holds, String::new);
        until("an answer", &|| answered.load(Ordering::Relaxed) > 3);
        device.simulate_loss();
        let noticed = until("readiness to end", &|| ready(&server) == 503);
        let recovered = until("recovery", &|| ready(&server) == 200);
        println!("noticed after {noticed:?}, recovered after {recovered:?}");
        assert!(noticed < Duration::from_secs(5), "the loss was noticed after {noticed:?}, later than a probe period");
        let before = answered.load(Ordering::Relaxed);
        until("answers", &|| answered.load(Ordering::Relaxed) > before + 4);
        drop(stop);
        let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(statuses.iter().all(|status| [200, 500, 503].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&500), "requests of the lost batch must fail");
    });
    let answer = predict(&server, &photo);
    assert_eq!((answer.status, answer.json()["predictions"][0]["class_id"].as_u64()), (200, Some(285)));
}
