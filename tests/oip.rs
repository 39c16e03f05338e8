//! The Open Inference Protocol over a real socket: as its specification tells, as Triton's client speaks it, and as nobody
//! should.
#![forbid(unsafe_code)]

mod common;

use std::process::Command;

use common::{Answer, KEY, Server, bytes, gzip, memory, python, read};
use serde_json::{Value, json};

const MODEL: &str = "/v2/models/efficientnet-lite0";
const CAT: &str = "photos/cat_640x480.jpg";
const LENGTH: &str = "Inference-Header-Content-Length";

fn infer(server: &Server, body: &[u8], headers: &[(&str, &str)]) -> Answer {
    server.post(&format!("{MODEL}/infer"), &[&[("X-API-Key", KEY)], headers].concat(), body)
}

/// JSON and the tensors behind it.
fn mixed(server: &Server, header: &Value, binary: &[u8]) -> Answer {
    let header = header.to_string();
    infer(server, &[header.as_bytes(), binary].concat(), &[(LENGTH, &header.len().to_string())])
}

fn floats(binary: &[u8]) -> Vec<f32> {
    binary.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn top(logits: &[Value]) -> usize {
    let value = |index: &usize| logits[*index].as_f64().unwrap();
    (0..logits.len()).max_by(|a, b| value(a).total_cmp(&value(b))).unwrap()
}

/// Each operation in the order of the specification, and nothing beyond it.
#[test]
fn a_client_written_from_the_specification_is_served() {
    let server = Server::start(&["--device", "cpu"]);
    assert_eq!(server.get_without_key("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get_without_key("/v2/health/ready").json(), json!({"ready": true}));
    assert_eq!(server.get_without_key("/v2").status, 401);
    for path in ["/v2", "/v2/"] {
        let about = server.get(path);
        assert_eq!((about.status, &about.json()["name"]), (200, &json!("kiln")), "{path}");
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
fn pictures_and_tensors_mix_and_one_picture_may_be_the_whole_body() {
    let server = Server::start(&["--device", "cpu"]);
    let raw = infer(&server, &bytes(CAT), &[(LENGTH, "0")]);
    let length: usize = raw.headers[LENGTH].to_str().unwrap().parse().unwrap();
    let (header, binary) = raw.body.split_at(length);
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!(header["outputs"][0]["parameters"]["binary_data_size"], 4000);
    let scores = floats(binary);
    let best = (0..1000).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    assert!((281..=285).contains(&best), "{best}");

    // Binary in, JSON out.
    let picture = bytes(CAT);
    let element = [&(picture.len() as u32).to_le_bytes()[..], &picture].concat();
    let request = json!({"inputs": [{"name": "input", "shape": [1, 1], "datatype": "BYTES",
        "parameters": {"binary_data_size": element.len()}}]});
    let answer = mixed(&server, &request, &element).json();
    let logits = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(top(logits), best);
    assert!((logits[best].as_f64().unwrap() - f64::from(scores[best])).abs() < 1e-3);
}

/// What a tensor comes to depends on the processor: NaN does not survive every kind of clamping.
#[test]
fn scores_that_json_cannot_hold_are_told_and_the_server_stays_ready() {
    let server = Server::start(&["--device", "cpu"]);
    for value in [f32::MAX, f32::INFINITY, f32::NAN] {
        let tensor = value.to_le_bytes().repeat(3 * 224 * 224);
        let request = json!({"inputs": [{"name": "input", "shape": [1, 3, 224, 224], "datatype": "FP32",
            "parameters": {"binary_data_size": tensor.len()}}]});
        let mut in_binary = request.clone();
        in_binary["parameters"] = json!({"binary_data_output": true});
        let binary = mixed(&server, &in_binary, &tensor);
        assert_eq!(binary.status, 200, "{value}: {}", binary.text());
        let length: usize = binary.header(LENGTH).unwrap().parse().unwrap();
        let is_finite = floats(&binary.body[length..]).iter().all(|score| score.is_finite());
        let told = mixed(&server, &request, &tensor);
        match is_finite {
            true => assert_eq!(told.json()["outputs"][0]["shape"], json!([1, 1000]), "{value}: {}", told.text()),
            false => assert_eq!((told.status, told.code().as_str()), (422, "output_not_finite"), "{value}"),
        }
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert!((281..=285).contains(&server.raw("/predict/raw", &bytes(CAT)).top1()));
}

#[test]
fn whatever_is_malformed_is_the_clients_fault_and_costs_little() {
    let server = Server::start(&["--device", "cpu", "--max-body-bytes", "1MiB"]);
    let good = json!({"id": "x", "parameters": {"timeout": 5_000_000, "priority": 1}, "inputs": [{"name": "input",
        "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": true, "classification": 3}}]});
    let text = good.to_string();
    let behind = [&3_u32.to_le_bytes()[..], b"\xff\xd8\xff"].concat();
    let whole = [text.as_bytes(), &behind].concat();
    let mut corpus: Vec<(Vec<u8>, String)> = Vec::new();
    // Cut anywhere, and every byte of the JSON replaced by one that means something to JSON.
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
    let agent = Server::agent();
    for (body, length) in corpus {
        let request =
            agent.post(format!("{}{MODEL}/infer", server.url)).header("X-API-Key", KEY).header(LENGTH, &length);
        let answer = read(request.send(&body[..]));
        // The picture is none, so even what parses is refused.
        assert!((400..500).contains(&answer.status), "{}: {:?}", answer.text(), String::from_utf8_lossy(&body));
        assert!(answer.json()["error"].is_string());
    }
    let zeros = [0x78, 0x9c].iter().chain(&[0; 100]).copied().collect::<Vec<u8>>();
    assert_eq!(infer(&server, &zeros, &[("Content-Encoding", "deflate")]).status, 400);
    assert_eq!(infer(&server, b"{}", &[("Content-Encoding", "br")]).status, 415);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

/// Thirty kilobytes of gzip that are twenty megabytes of JSON, which as a tree of values would be two gigabytes.
#[test]
fn a_small_request_does_not_take_much_memory() {
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
    if let Some(megabytes) = memory::most_resident(server.process_id()).map(|bytes| bytes / 1_000_000) {
        assert!(megabytes < 500, "{megabytes} MB");
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

/// A compressed body is as long as what is in it, for the bound of all bodies together: a picture may wait, and be kept for as
/// long, in the bytes that were inflated.
#[test]
fn what_is_inflated_counts_among_all_bodies() {
    let server = Server::start(&["--device", "cpu", "--max-inflight-body-bytes", "1MiB"]);
    let picture = |body: &[u8]| infer(&server, &gzip(body), &[("Content-Encoding", "gzip"), (LENGTH, "0")]);
    let cat = bytes(CAT);
    for _ in 0..20 {
        assert_eq!(picture(&cat).status, 200);
    }
    // What came and what is in it are not there at the same time.
    let random =
        std::iter::successors(Some(1_u64), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)));
    let incompressible: Vec<u8> = cat.iter().copied().chain(random.map(|n| (n >> 56) as u8).take(600_000)).collect();
    assert!(gzip(&incompressible).len() + incompressible.len() > 1 << 20, "it does compress");
    assert_eq!(picture(&incompressible).status, 200);
    let refused = picture(&[cat, vec![0; 1 << 20]].concat());
    assert_eq!((refused.status, refused.code().as_str()), (429, "overloaded"));
    assert_eq!(server.metric("kiln_inflight_bytes", &["kind=\"body\""]), 0.0);
}

#[test]
fn tritons_own_client_is_served() {
    let Some(python) = python("tritonclient[http] and pillow") else { return };
    let server = Server::start(&["--device", "cpu"]);
    let address = server.url.strip_prefix("http://").unwrap();
    let script = Command::new(python).args(["tests/oip/tritonclient_calls.py", address, KEY, "tests/data"]).output();
    let output = script.expect("Python starts");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

/// `KILN_TEST_IMAGE_CLIENT` names Triton's example `image_client.py` as it was published; it is not on PyPI, so a machine without
/// it is none that was set up wrongly.
#[test]
fn tritons_image_client_finds_sensible_classes() {
    let [Some(python), Some(client)] = ["KILN_TEST_PYTHON", "KILN_TEST_IMAGE_CLIENT"].map(std::env::var_os) else {
        eprintln!(
            "SKIPPED: KILN_TEST_PYTHON and KILN_TEST_IMAGE_CLIENT do not name a Python and Triton's image_client.py"
        );
        return;
    };
    let server = Server::start(&["--device", "cpu"]);
    let address = server.url.strip_prefix("http://").unwrap();
    for (photo, class) in [("cat", "(285)"), ("coffee", "(967)"), ("flower", "(985)"), ("rocket", "(657)")] {
        for mode in [&["-b", "1"][..], &["-b", "4"], &["-b", "2", "--async"]] {
            let output = Command::new(&python)
                .arg("tests/oip/with_key.py")
                .arg(&client)
                .args(["-m", "efficientnet-lite0", "-s", "INCEPTION", "-c", "3", "-u", address])
                .args(mode)
                .arg(common::data(&format!("photos/{photo}_640x480.jpg")))
                .env("KILN_API_KEY", KEY)
                .output();
            let output = output.expect("Python starts");
            let said = String::from_utf8_lossy(&output.stdout);
            let first = said.lines().find(|line| line.contains(" = ")).unwrap_or_default();
            let errors = String::from_utf8_lossy(&output.stderr);
            // Its own preprocessing differs from ours, so the scores do.
            assert!(first.contains(class) && said.contains("PASS"), "{photo}, {mode:?}: {said} {errors}");
        }
    }
}
