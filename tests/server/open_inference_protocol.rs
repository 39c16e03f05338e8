//! The Open Inference Protocol over a real socket, according to its specification and with malformed requests.
//!
//! `tests/clients/triton` runs the clients that Triton publishes.

use crate::common::{Answer, KEY, Server, agent, bytes, gzip, peak_resident_bytes, read};
use serde_json::{Value, json};

const MODEL: &str = "/v2/models/efficientnet-lite0";
const CAT: &str = "photos/cat_640x480.jpg";
const LENGTH: &str = "Inference-Header-Content-Length";

fn infer(server: &Server, body: &[u8], headers: &[(&str, &str)]) -> Answer {
    server.post(&format!("{MODEL}/infer"), &[&[("X-API-Key", KEY)], headers].concat(), body)
}

/// Sends a JSON header followed by binary tensors.
fn infer_binary(server: &Server, header: &Value, binary: &[u8]) -> Answer {
    let header = header.to_string();
    infer(server, &[header.as_bytes(), binary].concat(), &[(LENGTH, &header.len().to_string())])
}

fn floats(binary: &[u8]) -> Vec<f32> {
    binary.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn argmax(logits: &[Value]) -> usize {
    let value = |index: &usize| logits[*index].as_f64().unwrap();
    (0..logits.len()).max_by(|a, b| value(a).total_cmp(&value(b))).unwrap()
}

/// Calls each operation in the order of the specification.
#[test]
fn all_operations_of_the_specification_are_served() {
    let server = Server::start(&["--device", "cpu"]);
    assert_eq!(server.get_without_key("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get_without_key("/v2/health/ready").json(), json!({"ready": true}));
    assert_eq!(server.get_without_key("/v2").status, 401);
    for path in ["/v2", "/v2/"] {
        let metadata = server.get(path);
        assert_eq!((metadata.status, &metadata.json()["name"]), (200, &json!("kiln")), "{path}");
    }
    assert_eq!(server.get(&format!("{MODEL}/ready")).json(), json!({"name": "efficientnet-lite0", "ready": true}));
    let model = server.get(MODEL).json();
    assert_eq!(model["outputs"], json!([{"name": "logits", "datatype": "FP32", "shape": [-1, 1000]}]));
    let version = model["versions"][0].as_str().unwrap();
    assert_eq!(server.get(&format!("{MODEL}/versions/{version}")).json(), model);
    assert_eq!(server.get(&format!("{MODEL}/versions/77")).json()["code"], "unknown_version");

    let zeros = vec![vec![vec![0.0; 224]; 224]; 3];
    let request = json!({"id": "a", "inputs": [{"name": "input", "shape": [1, 3, 224, 224], "datatype": "FP32", "data": [zeros]}]});
    let answer = infer(&server, request.to_string().as_bytes(), &[("Content-Type", "application/json")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["id"], &answer["model_version"]), (&json!("a"), &json!(version)));
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 1000]));
    assert_eq!(answer["outputs"][0]["data"].as_array().unwrap().len(), 1000);
    let refused = infer(&server, b"{}", &[]);
    assert!(refused.status == 400 && refused.json()["error"].is_string(), "{}", refused.text());
}

#[test]
fn raw_image_and_binary_tensor_give_the_same_logits() {
    let server = Server::start(&["--device", "cpu"]);
    let raw = infer(&server, &bytes(CAT), &[(LENGTH, "0")]);
    let length: usize = raw.headers[LENGTH].to_str().unwrap().parse().unwrap();
    let (header, binary) = raw.body.split_at(length);
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!(header["outputs"][0]["parameters"]["binary_data_size"], 4000);
    let scores = floats(binary);
    let best = (0..1000).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    assert!((281..=285).contains(&best), "{best}");

    // A binary tensor in the request, JSON in the response.
    let image = bytes(CAT);
    let element = [&(image.len() as u32).to_le_bytes()[..], &image].concat();
    let request = json!({"inputs": [{"name": "input", "shape": [1, 1], "datatype": "BYTES",
        "parameters": {"binary_data_size": element.len()}}]});
    let answer = infer_binary(&server, &request, &element).json();
    let logits = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(argmax(logits), best);
    assert!((logits[best].as_f64().unwrap() - f64::from(scores[best])).abs() < 1e-3);
}

/// Whether the logits are finite depends on the processor: some clamping instructions do not propagate NaN.
#[test]
fn non_finite_logits_return_422_in_json_and_the_server_stays_ready() {
    let server = Server::start(&["--device", "cpu"]);
    for value in [f32::MAX, f32::INFINITY, f32::NAN] {
        let tensor = value.to_le_bytes().repeat(3 * 224 * 224);
        let request = json!({"inputs": [{"name": "input", "shape": [1, 3, 224, 224], "datatype": "FP32",
            "parameters": {"binary_data_size": tensor.len()}}]});
        let mut in_binary = request.clone();
        in_binary["parameters"] = json!({"binary_data_output": true});
        let binary = infer_binary(&server, &in_binary, &tensor);
        assert_eq!(binary.status, 200, "{value}: {}", binary.text());
        let length: usize = binary.header(LENGTH).unwrap().parse().unwrap();
        let is_finite = floats(&binary.body[length..]).iter().all(|score| score.is_finite());
        let as_json = infer_binary(&server, &request, &tensor);
        match is_finite {
            true => assert_eq!(as_json.json()["outputs"][0]["shape"], json!([1, 1000]), "{value}: {}", as_json.text()),
            false => assert_eq!((as_json.status, as_json.code().as_str()), (422, "output_not_finite"), "{value}"),
        }
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert!((281..=285).contains(&server.raw("/predict/raw", &bytes(CAT)).top1()));
}

#[test]
fn malformed_requests_return_4xx() {
    let server = Server::start(&["--device", "cpu", "--max-body-bytes", "1MiB"]);
    let good = json!({"id": "x", "parameters": {"timeout": 5_000_000, "priority": 1}, "inputs": [{"name": "input",
        "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": true, "classification": 3}}]});
    let text = good.to_string();
    let behind = [&3_u32.to_le_bytes()[..], b"\xff\xd8\xff"].concat();
    let whole = [text.as_bytes(), &behind].concat();
    let mut corpus: Vec<(Vec<u8>, String)> = Vec::new();
    // The request truncated at every position, and every byte replaced by one with a meaning in JSON.
    for at in 0..whole.len() {
        corpus.push((whole[..at].to_vec(), text.len().to_string()));
        for byte in [b'"', b'{', b'0', b'\\', 0xff] {
            let mut changed = whole.clone();
            changed[at] = byte;
            corpus.push((changed, text.len().to_string()));
        }
    }
    for length in ["1", "18446744073709551615", "18446744073709551616", "-1", "x", ""] {
        corpus.push((whole.clone(), length.to_string()));
    }
    let agent = agent();
    for (body, length) in corpus {
        let request =
            agent.post(format!("{}{MODEL}/infer", server.url)).header("X-API-Key", KEY).header(LENGTH, &length);
        let answer = read(request.send(&body[..]));
        // The image is invalid, so a request that parses is rejected too.
        assert!((400..500).contains(&answer.status), "{}: {:?}", answer.text(), String::from_utf8_lossy(&body));
        assert!(answer.json()["error"].is_string());
    }
    let zeros = [0x78, 0x9c].iter().chain(&[0; 100]).copied().collect::<Vec<u8>>();
    assert_eq!(infer(&server, &zeros, &[("Content-Encoding", "deflate")]).status, 400);
    assert_eq!(infer(&server, b"{}", &[("Content-Encoding", "br")]).status, 415);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

/// Thirty kilobytes of gzip decompress to twenty megabytes of JSON, which would take two gigabytes as a tree of values.
#[test]
fn compressed_json_bomb_uses_bounded_memory() {
    let server = Server::start(&["--device", "cpu"]);
    let long = |start: &str, piece: &str, end: &str| {
        gzip([start, &piece.repeat(((20 << 20) - 200) / piece.len()), end].concat().as_bytes())
    };
    let bodies = [
        long(r#"{"parameters":{"a":["#, r#"{"":0},"#, r#"0]},"inputs":[]}"#),
        long(r#"{"inputs":[{"name":"input","datatype":"FP32","shape":["#, "1,", r#"1],"data":[1]}]}"#),
        long(r#"{"inputs":[{"name":"input","datatype":"FP32","shape":[1],"data":["#, "0,", "0]}]}"),
        long(r#"{"inputs":""#, "x", r#""}"#),
    ];
    std::thread::scope(|scope| {
        for body in bodies.iter().cycle().take(12) {
            scope.spawn(|| {
                let refused = infer(&server, body, &[("Content-Encoding", "gzip")]);
                assert_eq!(refused.status, 400, "{}", refused.text());
                assert!(refused.body.len() < 1000, "{} bytes of an error", refused.body.len());
            });
        }
    });
    if let Some(megabytes) = peak_resident_bytes(server.process_id()).map(|bytes| bytes / 1_000_000) {
        assert!(megabytes < 500, "{megabytes} MB");
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

/// The limit for all bodies counts the decompressed bytes: an image may stay in memory in decompressed form.
#[test]
fn decompressed_bytes_count_towards_the_body_limit() {
    let server = Server::start(&["--device", "cpu", "--max-inflight-body-bytes", "1MiB"]);
    let infer_gzip = |body: &[u8]| infer(&server, &gzip(body), &[("Content-Encoding", "gzip"), (LENGTH, "0")]);
    let cat = bytes(CAT);
    for _ in 0..20 {
        assert_eq!(infer_gzip(&cat).status, 200);
    }
    // The compressed and the decompressed body are not counted at the same time.
    let random =
        std::iter::successors(Some(1_u64), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)));
    let incompressible: Vec<u8> = cat.iter().copied().chain(random.map(|n| (n >> 56) as u8).take(600_000)).collect();
    assert!(gzip(&incompressible).len() + incompressible.len() > 1 << 20, "the body must not compress well");
    assert_eq!(infer_gzip(&incompressible).status, 200);
    let refused = infer_gzip(&[cat, vec![0; 1 << 20]].concat());
    assert_eq!((refused.status, refused.code().as_str()), (429, "overloaded"));
    assert_eq!(server.metric("kiln_inflight_bytes", &["kind=\"body\""]), 0.0);
}
