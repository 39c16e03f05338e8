//! The server under attack, the cost of a request in processor time and memory, and a table of images with the expected outcome.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::common::{Answer, KEY, Server, bytes, peak_resident_bytes, resident_bytes};

/// Requests are sent one at a time, so that each cost belongs to one request.
static ALONE: Mutex<()> = Mutex::new(());
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The server that all running tests share, with the exclusive right to send requests. It exits with the last of them.
pub struct Target {
    server: Arc<Server>,
    _alone: MutexGuard<'static, ()>,
}

/// The cost of a request.
#[derive(Debug)]
pub struct Cost {
    /// Seconds of processor time of all threads; independent of the load of the machine.
    pub seconds: f64,
    /// Growth of the peak memory in MB.
    pub megabytes: usize,
}

impl std::ops::Deref for Target {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Target {
    pub fn new() -> Self {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| {
            let formats = "png,jpg,gif,webp,bmp,tiff";
            let server = Arc::new(Server::start(&["--device", "cpu", "--formats", formats, "--log-level", "debug"]));
            *shared = Arc::downgrade(&server);
            server
        });
        drop(shared);
        // The lock protects no data, so a test that panicked has left nothing inconsistent.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let target = Self { server, _alone: alone };
        // The first request allocates memory that stays; no test should pay for it.
        target.assert_healthy();
        target
    }

    /// Asserts that the server still classifies a cat and is ready.
    pub fn assert_healthy(&self) {
        let answer = self.raw("/predict/raw", &bytes("photos/cat_640x480.jpg"));
        assert!((281..=285).contains(&answer.top1()), "{}", answer.text());
        assert_eq!(self.get("/health/ready").status, 200);
    }

    /// Sends `POST` with the test key and this content type.
    pub fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.post(path, &[("X-API-Key", KEY), ("Content-Type", content_type)], body)
    }

    /// Runs an action and measures its cost to the server.
    pub fn measure<T>(&self, action: impl FnOnce() -> T) -> (T, Cost) {
        let process = self.process_id();
        // Resets the peak (proc(5), clear_refs).
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the peak can be reset");
        let (seconds, before) = (processor_seconds(process), resident_bytes(process).expect("Linux reports it"));
        let outcome = action();
        let most = peak_resident_bytes(process).expect("Linux reports it");
        let megabytes = most.saturating_sub(before) / 1_000_000;
        (outcome, Cost { seconds: processor_seconds(process) - seconds, megabytes })
    }
}

/// Returns user and system time: the 14th and 15th field, in hundredths of a second (proc(5), stat).
fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the server runs");
    // The second field is a name that may contain spaces.
    let values = stat.rsplit(')').next().expect("the line is not empty").split_whitespace();
    values.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

/// The expected outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200, for an image of this width and height as displayed.
    Size(u64, u64),
    /// 200, with this number of results or errors of a batch.
    Items(usize),
    /// An error with a status and a code.
    Error(u16, &'static str),
}

/// An image and the expected outcome.
pub struct Case {
    name: String,
    bytes: Vec<u8>,
    expected: Outcome,
    megabytes: usize,
    seconds: f64,
}

/// The maximum memory growth in MB, beside four times the size of the body and the allowance of [`Case::of_pixels`].
const MEGABYTES: usize = 32;
/// The maximum processor time, including the inference.
const SECONDS: f64 = 2.0;

/// A valid image.
pub fn accepted(name: impl Into<String>, size: (u64, u64), bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, expected: Outcome::Size(size.0, size.1), megabytes: MEGABYTES, seconds: SECONDS }
}

/// An image that is rejected.
pub fn rejected(name: impl Into<String>, status: u16, code: &'static str, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, expected: Outcome::Error(status, code), megabytes: MEGABYTES, seconds: SECONDS }
}

pub fn undecodable(name: impl Into<String>, bytes: Vec<u8>) -> Case {
    rejected(name, 422, "undecodable_image", bytes)
}

pub fn too_large(name: impl Into<String>, bytes: Vec<u8>) -> Case {
    rejected(name, 413, "too_many_pixels", bytes)
}

impl Case {
    /// Allows more memory: `megapixels` times `bytes`.
    pub fn of_pixels(mut self, megapixels: usize, bytes: usize) -> Self {
        self.megabytes += megapixels * bytes;
        self
    }
}

/// Sends each image. Panics with a list of all unexpected outcomes and costs.
pub fn check(cases: &[Case]) {
    let server = Target::new();
    let failures: Vec<String> = cases.iter().filter_map(|case| failure(&server, case)).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    server.assert_healthy();
}

fn failure(server: &Target, case: &Case) -> Option<String> {
    let (answer, cost) = server.measure(|| server.raw("/predict/raw", &case.bytes));
    let Case { name, expected, seconds, .. } = case;
    let megabytes = case.megabytes + 4 * case.bytes.len() / 1_000_000;
    let Cost { seconds: took, megabytes: grown } = cost;
    println!("{name}: {}, {took:.2} s, {grown} MB", answer.status);
    if outcome(&answer) == *expected && took <= *seconds && grown <= megabytes {
        return None;
    }
    Some(format!(
        "{name}: {took:.2} s, {grown} MB (at most {seconds} s, {megabytes} MB); expected {expected:?}: {}",
        answer.text()
    ))
}

/// Returns the outcome of a response.
pub fn outcome(answer: &Answer) -> Outcome {
    let body = answer.json();
    if let Some(results) = body["results"].as_array() {
        return Outcome::Items(results.len());
    }
    if answer.status == 200 {
        let side = |name: &str| body["image"][name].as_u64().expect("a length in pixels");
        return Outcome::Size(side("width"), side("height"));
    }
    let code = answer.code();
    Outcome::Error(answer.status, code.leak())
}
