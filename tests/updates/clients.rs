//! Clients who ask all the time, and take nothing but an answer of a version that may answer at that moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use crate::common::{KEY, Server, bytes, read};

/// Which class wins for each version.
pub type Wins = fn(&str) -> std::ops::RangeInclusive<u64>;

pub struct Clients<'a> {
    server: &'a Server,
    wins: Wins,
    /// Versions that may answer now.
    legal: RwLock<Vec<&'static str>>,
    answered: Mutex<BTreeMap<String, usize>>,
    /// Whether they are to stop.
    pub over: AtomicBool,
}

impl<'a> Clients<'a> {
    pub fn new(server: &'a Server, wins: Wins) -> Self {
        let (legal, answered) = (RwLock::new(vec!["1"]), Mutex::default());
        Self { server, wins, legal, answered, over: AtomicBool::new(false) }
    }

    /// Asks until it is over, without a break.
    pub fn ask(&self) {
        let (agent, photo) = (Server::agent(), bytes("photos/cat_451x300.jpg"));
        while !self.over.load(Ordering::Relaxed) {
            let before = self.legal.read().unwrap().clone();
            let request = agent.post(format!("{}/predict/raw", self.server.url)).header("X-API-Key", KEY);
            let answer = read(request.send(&photo[..]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let version = answer.json()["model"]["version"].as_str().unwrap().to_string();
            let after = self.legal.read().unwrap().clone();
            let is_legal = before.contains(&version.as_str()) || after.contains(&version.as_str());
            assert!(is_legal, "{version} answered; before there were {before:?}, after {after:?}");
            assert!((self.wins)(&version).contains(&answer.top1()), "{version}: {}", answer.text());
            *self.answered.lock().unwrap().entry(version).or_default() += 1;
        }
    }

    /// While `change` lasts these may answer, and afterwards those.
    pub fn may_answer(&self, meanwhile: &[&'static str], afterwards: &[&'static str], change: impl FnOnce()) {
        *self.legal.write().unwrap() = meanwhile.to_vec();
        change();
        *self.legal.write().unwrap() = afterwards.to_vec();
        // Those who asked before are answered by now, and others after them.
        let before = self.answers();
        while afterwards.iter().any(|version| self.answers_of(version) < before.get(*version).unwrap_or(&0) + 10) {
            assert!(!self.over.load(Ordering::Relaxed), "a client has failed");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub fn answers(&self) -> BTreeMap<String, usize> {
        self.answered.lock().unwrap().clone()
    }

    fn answers_of(&self, version: &str) -> usize {
        self.answers().get(version).copied().unwrap_or(0)
    }
}
