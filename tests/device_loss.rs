//! A Vulkan device that is taken away while requests are under way: nobody hangs, and another one takes its place.
#![forbid(unsafe_code)]

#[path = "common/mod.rs"]
mod common;
#[path = "in_process/mod.rs"]
mod in_process;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Answer, KEY, Stop, bytes, get, post};
use in_process::InProcess;
use kiln_inference::{BurnEngine, DeviceChoice, Options, device};
use kiln_inference::model::Model;
use kiln_api as api;
use kiln_classifier::batching;
use kiln_server as serve;

/// Longer than a software adapter needs for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

fn predict(server: &InProcess, photo: &[u8]) -> Answer {
    post(&format!("http://{}/predict/raw", server.address), &[("X-API-Key", KEY)], photo)
}

fn ready(server: &InProcess) -> u16 {
    get(&format!("http://{}/health/ready", server.address), &[]).status
}

#[test]
fn a_device_lost_under_load_is_replaced_and_nobody_hangs() {
    // The native shader compilers are set up once a process.
    if !common::has_vulkan() || cfg!(any(feature = "vulkan", feature = "metal")) {
        return;
    }
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Vulkan(None)).unwrap();
    let engine = BurnEngine::start(model.clone(), &device, &Options::new(2), |_| ()).unwrap();
    let settings = in_process::Settings {
        serve: serve::Config::default(),
        api: api::Config { request_timeout: PATIENCE, ..api::Config::default() },
        batching: batching::Config { max_batch_size: 2, ..batching::Config::default() },
        decode_threads: 1,
        resizes: false,
        cache_bytes: 0,
    };
    let mut server = InProcess::loading(model, Box::new(engine), KEY, settings);
    server.open();
    let photo = bytes("photos/cat_640x480.jpg");
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let started = Instant::now();
                        statuses.push(predict(&server, &photo).status);
                        assert!(started.elapsed() < PATIENCE, "a request hung");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    statuses
                })
            })
            .collect();
        let stop = Stop(&over);
        let until = |what: &str, is: &dyn Fn() -> bool| common::until(what, PATIENCE, is, String::new);
        until("an answer", &|| answered.load(Ordering::Relaxed) > 3);
        device.lose();
        let noticed = until("readiness off", &|| ready(&server) == 503);
        let recovered = until("recovery", &|| ready(&server) == 200);
        println!("noticed after {noticed:?}, recovered after {recovered:?}");
        assert!(noticed < Duration::from_secs(5), "within a probe's period");
        let before = answered.load(Ordering::Relaxed);
        until("answers", &|| answered.load(Ordering::Relaxed) > before + 4);
        drop(stop);
        let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(statuses.iter().all(|status| [200, 500, 503].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&500), "those whose batch was lost are told");
    });
    let answer = predict(&server, &photo);
    assert_eq!((answer.status, answer.json()["predictions"][0]["class_id"].as_u64()), (200, Some(285)));
}
