//! Clients that send requests all the time and must never be rejected.
//!
//! They pause only while the server is killed: a request to a killed process cannot be answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::common::{KEY, Server, Stop, agent, bytes, read};

pub struct Clients {
    server: RwLock<Option<Server>>,
    answered: Mutex<BTreeMap<String, usize>>,
    /// Stops the clients.
    pub stopped: AtomicBool,
}

impl Clients {
    pub fn new(server: Server) -> Self {
        Self { server: RwLock::new(Some(server)), answered: Mutex::default(), stopped: AtomicBool::new(false) }
    }

    /// Sends requests until the clients are stopped, alternately with a repeated and with a new body.
    pub fn run(&self, photo: &str) {
        let _stop = Stop(&self.stopped);
        let (agent, photo) = (agent(), bytes(photo));
        for number in 0_u64.. {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            // Decoders ignore bytes after the end of the image.
            let mark = if number % 2 == 0 { [0; 16] } else { u128::from(number).to_le_bytes() };
            let body = [&photo[..], &mark].concat();
            let server = self.server();
            let url = format!("{}/predict/raw", server.as_ref().expect("a server").url);
            let answer = read(agent.post(url).header("X-API-Key", KEY).send(&body[..]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let version = answer.json()["model"]["version"].as_str().unwrap().to_string();
            *self.answered.lock().unwrap().entry(version).or_default() += 1;
            // The pause leaves time for the shadow version, which runs only on a server that is not busy.
            drop(server);
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Calls `action` with the server while the clients send requests. Panics if a client has failed.
    pub fn with<T>(&self, action: impl FnOnce(&Server) -> T) -> T {
        let result = action(self.server().as_ref().expect("a server"));
        assert!(!self.stopped.load(Ordering::Relaxed), "a client was rejected");
        result
    }

    /// Kills the server (SIGKILL) and starts another one.
    pub fn replace_server(&self, start: impl FnOnce() -> Server) {
        let mut server = self.server.write().unwrap_or_else(PoisonError::into_inner);
        // Dropping the server kills it.
        *server = None;
        *server = Some(start());
    }

    /// Returns the number of answers of a version.
    pub fn answers_of(&self, version: &str) -> usize {
        self.answered.lock().unwrap().get(version).copied().unwrap_or(0)
    }

    pub fn into_server(self) -> Server {
        self.server.into_inner().unwrap_or_else(PoisonError::into_inner).expect("a server")
    }

    fn server(&self) -> RwLockReadGuard<'_, Option<Server>> {
        self.server.read().unwrap_or_else(PoisonError::into_inner)
    }
}
