//! The server that all of this is sent to, and what each request costs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::common::{Answer, KEY, Server, bytes, memory};

/// Requests are sent one at a time, or the cost of one would be another's.
static ALONE: Mutex<()> = Mutex::new(());
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// One server for every test that runs at the time; it ends with the last of them.
pub struct Attacked {
    server: Arc<Server>,
    _alone: MutexGuard<'static, ()>,
}

/// What a request has cost.
#[derive(Debug)]
pub struct Cost {
    /// Seconds of processor time, all threads together: a busy machine does not lengthen them.
    pub seconds: f64,
    /// MB by which memory grew at the most.
    pub megabytes: usize,
}

impl std::ops::Deref for Attacked {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Attacked {
    pub fn new() -> Self {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| {
            let formats = "png,jpg,gif,webp,bmp,tiff";
            let server = Arc::new(Server::start(&["--device", "cpu", "--formats", formats, "--log-level", "debug"]));
            *shared = Arc::downgrade(&server);
            server
        });
        drop(shared);
        // A test that failed has left nothing behind.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let attacked = Self { server, _alone: alone };
        // What is allocated once and for all is nobody's cost.
        attacked.is_well();
        attacked
    }

    /// Whether it still knows a cat, and says that it is ready.
    pub fn is_well(&self) {
        let answer = self.raw("/predict/raw", &bytes("photos/cat_640x480.jpg"));
        assert!((281..=285).contains(&answer.top1()), "{}", answer.text());
        assert_eq!(self.get("/health/ready").status, 200);
    }

    /// `POST` of a body as it is.
    pub fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.post(path, &[("X-API-Key", KEY), ("Content-Type", content_type)], body)
    }

    /// Does something, and tells what it cost the server.
    pub fn costs<T>(&self, action: impl FnOnce() -> T) -> (T, Cost) {
        let process = self.process_id();
        // Forgets the peak so far (proc(5), clear_refs).
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the peak can be forgotten");
        let (seconds, before) = (processor_seconds(process), memory::resident(process).expect("the system tells"));
        let outcome = action();
        let most = memory::most_resident(process).expect("the system tells");
        let megabytes = most.saturating_sub(before) / 1_000_000;
        (outcome, Cost { seconds: processor_seconds(process) - seconds, megabytes })
    }
}

/// User and system time: the 14th and the 15th value, in hundredths of a second (proc(5), stat).
fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the server lives");
    // The second value is a name, which may hold spaces.
    let values = stat.rsplit(')').next().expect("there is something").split_whitespace();
    values.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}
