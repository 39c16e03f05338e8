//! The load generator: the requests, and HTTP/1.1 connections that each send the same request again as soon as it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kiln::app::{HttpConnection, post_request};
use kiln_inference::model::Model;
use tokio::task::JoinSet;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Number of trailing bytes of an image request that differ in each request. They follow the end of the image, so no decoder
/// reads them.
pub const COUNTER_BYTES: usize = 8;

/// The result of a load.
pub struct LoadResult {
    pub requests: usize,
    pub elapsed: Duration,
}

impl LoadResult {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Returns the requests: JPEGs of three sizes, and one request for each other operation and encoding. Each has a name, its bytes,
/// and the image if its rate is compared with preprocessing alone.
pub fn requests(model: &Model) -> Vec<(String, Vec<u8>, Option<Vec<u8>>)> {
    let read = |path: &str| std::fs::read(path).expect("the benchmark runs in the project directory");
    let request = |path: &str, headers: &str, body: &[u8]| post_request(path, KEY, headers, body);
    let mut all = Vec::new();
    for file in ["benches/http/cat_224x168.jpg", "tests/data/photos/cat_640x480.jpg", "benches/http/cat_1280x960.jpg"] {
        let size = file.rsplit(['_', '.']).nth(1).expect("a size in the name");
        let image = read(file);
        let body = [&image[..], &[0; COUNTER_BYTES]].concat();
        all.push((format!("/predict/raw, JPEG {size}"), request("/predict/raw", "", &body), Some(image)));
    }
    let image = read("tests/data/photos/cat_640x480.jpg");
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.jpg\"\r\n\r\n";
    let form = [&head[..], &image, b"\r\n--b--\r\n"].concat();
    let content_type = "Content-Type: multipart/form-data; boundary=b\r\n";
    all.push(("/predict, JPEG 640x480".to_string(), request("/predict", content_type, &form), Some(image)));
    let spec = model.spec();
    let values = (3 * spec.width * spec.height) as usize;
    let infer = format!("/v2/models/{}/infer", spec.name);
    let header = |end: &str| {
        let shape = format!("[1,3,{},{}]", spec.height, spec.width);
        format!(r#"{{"inputs":[{{"name":"input","datatype":"FP32","shape":{shape},{end}}}]}}"#)
    };
    let json = header(&format!(r#""parameters":{{"binary_data_size":{}}}"#, values * 4));
    let binary = [json.as_bytes(), &vec![0; values * 4]].concat();
    let length = format!("Inference-Header-Content-Length: {}\r\n", json.len());
    all.push(("infer, FP32 binary".to_string(), request(&infer, &length, &binary), None));
    let texts: Vec<String> = (0..values).map(|i| format!("{:.4}", (i % 511) as f32 / 256.0 - 1.0)).collect();
    let json = header(&format!(r#""data":[{}]"#, texts.join(",")));
    all.push(("infer, FP32 JSON".to_string(), request(&infer, "", json.as_bytes()), None));
    all
}

/// Returns the requests per second on `connections` connections, measured for `time`.
pub fn rate(address: SocketAddr, connections: usize, time: Duration, request: &[u8]) -> f64 {
    load(address, connections, time, request, None).per_second()
}

/// Sends requests that differ from each other: a counter replaces the last [`COUNTER_BYTES`] bytes.
pub fn load_distinct(address: SocketAddr, connections: usize, time: Duration, request: &[u8]) -> LoadResult {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    load(address, connections, time, request, Some(&COUNTER))
}

fn load(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    request: &[u8],
    counter: Option<&'static AtomicU64>,
) -> LoadResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let start = Instant::now();
    let requests = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(run_connection(address, start + time, request.to_vec(), counter));
        }
        clients.join_all().await.into_iter().sum()
    });
    LoadResult { requests, elapsed: start.elapsed() }
}

/// Sends requests on one connection until `end`, at least one, and returns their number.
async fn run_connection(
    address: SocketAddr,
    end: Instant,
    mut request: Vec<u8>,
    counter: Option<&'static AtomicU64>,
) -> usize {
    let mut connection = HttpConnection::open(address).await.expect("the server listens");
    let mut requests = 0;
    loop {
        if let Some(counter) = counter {
            let number = counter.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let body_end = request.len() - COUNTER_BYTES;
            request[body_end..].copy_from_slice(&number);
        }
        let response = connection.exchange(&request).await.expect("the server responds");
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(response.body));
        requests += 1;
        if Instant::now() >= end {
            return requests;
        }
    }
}
