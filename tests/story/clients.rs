//! Clients who ask all the time, and must never be refused. Only while the server is killed does nobody ask: what was sent to a
//! process that is gone has no answer, whatever it has promised.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::common::{KEY, Server, Stop, bytes, read};

pub struct Clients {
    server: RwLock<Option<Server>>,
    answered: Mutex<BTreeMap<String, usize>>,
    /// Whether they are to stop.
    pub over: AtomicBool,
}

impl Clients {
    pub fn new(server: Server) -> Self {
        Self { server: RwLock::new(Some(server)), answered: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// Asks until it is over: now for what is known, now for what nobody has asked.
    pub fn ask(&self, photo: &str) {
        let _stop = Stop(&self.over);
        let (agent, photo) = (Server::agent(), bytes(photo));
        for number in 0_u64.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            // Behind the end of the file, where nobody looks.
            let mark = if number % 2 == 0 { [0; 16] } else { u128::from(number).to_le_bytes() };
            let body = [&photo[..], &mark].concat();
            let asked = self.server();
            let url = format!("{}/predict/raw", asked.as_ref().expect("a server").url);
            let answer = read(agent.post(url).header("X-API-Key", KEY).send(&body[..]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let version = answer.json()["model"]["version"].as_str().unwrap().to_string();
            *self.answered.lock().unwrap().entry(version).or_default() += 1;
            // People look at an answer. Without a pause for it there would be no time for a shadow.
            drop(asked);
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }

    /// Does something with the server while the clients ask it.
    pub fn with<T>(&self, what: impl FnOnce(&Server) -> T) -> T {
        let done = what(self.server().as_ref().expect("a server"));
        assert!(!self.over.load(Ordering::Relaxed), "a client was refused");
        done
    }

    /// Kills the server (SIGKILL) and starts another.
    pub fn exchange(&self, start: impl FnOnce() -> Server) {
        let mut server = self.server.write().unwrap_or_else(PoisonError::into_inner);
        // Dropped, it is killed.
        *server = None;
        *server = Some(start());
    }

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
