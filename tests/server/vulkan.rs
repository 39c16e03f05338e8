//! `--device vulkan` end to end: the same predictions as on the CPU. A software adapter suffices.

use crate::common::{self, Server, bytes, kiln, run_command};

#[test]
fn vulkan_predictions_match_the_cpu() {
    if !common::has_vulkan() {
        return;
    }
    let arguments = ["--listen", "127.0.0.1:0", "--device", "vulkan", "--precision", "bf16"];
    let (status, _, stderr) = run_command(kiln().args(arguments));
    assert_eq!(status, 1, "{stderr}");
    assert!(stderr.contains("--precision bf16 requires the CPU, but the device is "), "{stderr}");
    let vulkan = Server::start(&["--device", "vulkan", "--resize", "gpu", "--max-batch-size", "2"]);
    let device = vulkan.get("/models").json()["models"][0]["devices"][0].clone();
    assert_eq!(device["api"], "Vulkan", "{device}");
    for fact in ["name", "driver", "compiler", "precision", "kernels"] {
        assert!(device[fact].as_str().is_some_and(|text| !text.is_empty()), "{fact}: {device}");
    }
    let metrics = vulkan.get("/metrics").text();
    let labels = metrics.lines().find(|line| line.starts_with("kiln_device_info{")).unwrap();
    assert!(labels.contains("api=\"Vulkan\"") && labels.contains("precision=\"f32\""), "{labels}");
    for phase in ["device", "load", "warm_up", "self_test", "total"] {
        assert!(metrics.contains(&format!("kiln_startup_seconds{{phase=\"{phase}\"}}")), "{phase}");
    }
    println!("device: {device}");
    let cpu = Server::start(&["--device", "cpu", "--max-batch-size", "2"]);
    let photos = std::fs::read_dir(common::data("photos")).unwrap().map(|entry| entry.unwrap().file_name());
    let photos: Vec<String> = photos.map(|name| format!("photos/{}", name.into_string().unwrap())).collect();
    assert!(photos.len() > 5, "{photos:?}");
    for file in photos.iter().map(String::as_str).chain(["variants/cat.png", "variants/exif_6.jpg"]) {
        let [on_vulkan, on_cpu] = [&vulkan, &cpu].map(|server| server.raw("/predict/raw", &bytes(file)).json());
        let classes = |answer: &serde_json::Value| -> Vec<(u64, f64)> {
            let predictions = answer["predictions"].as_array().unwrap_or_else(|| panic!("{answer}"));
            predictions.iter().map(|p| (p["class_id"].as_u64().unwrap(), p["probability"].as_f64().unwrap())).collect()
        };
        for ((vulkan_id, vulkan_p), (cpu_id, cpu_p)) in classes(&on_vulkan).into_iter().zip(classes(&on_cpu)) {
            // Two classes with nearly the same score may change places.
            assert!(vulkan_id == cpu_id || (vulkan_p - cpu_p).abs() < 1e-3, "{file}: {vulkan_id} and {cpu_id}");
            assert!((vulkan_p - cpu_p).abs() < 0.01, "{file}: {vulkan_p} and {cpu_p}");
        }
    }
}

#[test]
fn two_devices_serve_one_queue() {
    if !common::has_vulkan() {
        return;
    }
    let server =
        Server::start(&["--device", "cpu,vulkan", "--kernels", "fused", "--max-batch-size", "1", "--threads", "1"]);
    let devices = server.get("/models").json()["models"][0]["devices"].clone();
    let apis: Vec<_> = devices.as_array().unwrap().iter().map(|device| device["api"].as_str().unwrap()).collect();
    assert_eq!(apis, ["flex", "Vulkan"]);
    let photo = bytes("photos/cat_640x480.jpg");
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| server.raw("/predict/raw", &photo).json())).collect();
        let times = clients.into_iter().map(|client| {
            let answer = client.join().unwrap();
            assert_eq!(answer["predictions"][0]["class_id"], 285, "{answer}");
            answer["timings_ms"]["device"].as_f64().unwrap()
        });
        let times: Vec<f64> = times.collect();
        let (quickest, slowest) =
            (times.iter().copied().fold(f64::MAX, f64::min), times.iter().copied().fold(0.0, f64::max));
        // A software adapter takes many times as long per image as the CPU, so the spread shows that both ran some.
        let is_software = devices[1]["name"].as_str().is_some_and(|name| name.contains("llvmpipe"));
        assert!(!is_software || slowest > 3.0 * quickest, "{times:?}");
    });
}
