//! Clients that send requests without a pause, and check which version answers and what it predicts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use crate::common::{KEY, Server, agent, bytes, read};

/// Returns the classes that a version may predict.
pub type ExpectedClasses = fn(&str) -> std::ops::RangeInclusive<u64>;

pub struct Clients<'a> {
    server: &'a Server,
    expected_classes: ExpectedClasses,
    /// Versions that may answer now.
    allowed: RwLock<Vec<&'static str>>,
    answered: Mutex<BTreeMap<String, usize>>,
    /// Stops the clients.
    pub stopped: AtomicBool,
}

impl<'a> Clients<'a> {
    pub fn new(server: &'a Server, expected_classes: ExpectedClasses) -> Self {
        let (allowed, answered) = (RwLock::new(vec!["1"]), Mutex::default());
        Self { server, expected_classes, allowed, answered, stopped: AtomicBool::new(false) }
    }

    /// Sends requests until the clients are stopped.
    pub fn run(&self) {
        let (agent, photo) = (agent(), bytes("photos/cat_451x300.jpg"));
        while !self.stopped.load(Ordering::Relaxed) {
            let before = self.allowed.read().unwrap().clone();
            let request = agent.post(format!("{}/predict/raw", self.server.url)).header("X-API-Key", KEY);
            let answer = read(request.send(&photo[..]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let version = answer.json()["model"]["version"].as_str().unwrap().to_string();
            let after = self.allowed.read().unwrap().clone();
            let is_allowed = before.contains(&version.as_str()) || after.contains(&version.as_str());
            assert!(
                is_allowed,
                "version {version} answered; allowed were {before:?} before and {after:?} after the request"
            );
            assert!((self.expected_classes)(&version).contains(&answer.top1()), "{version}: {}", answer.text());
            *self.answered.lock().unwrap().entry(version).or_default() += 1;
        }
    }

    /// Allows the versions `meanwhile` during `change`, and then only those in `afterwards`.
    pub fn allow(&self, meanwhile: &[&'static str], afterwards: &[&'static str], change: impl FnOnce()) {
        *self.allowed.write().unwrap() = meanwhile.to_vec();
        change();
        *self.allowed.write().unwrap() = afterwards.to_vec();
        // Requests sent before the change are answered once ten more per version have been.
        let before = self.answers();
        while afterwards.iter().any(|version| self.answers_of(version) < before.get(*version).unwrap_or(&0) + 10) {
            assert!(!self.stopped.load(Ordering::Relaxed), "a client has failed");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Returns the number of answers by version.
    pub fn answers(&self) -> BTreeMap<String, usize> {
        self.answered.lock().unwrap().clone()
    }

    fn answers_of(&self, version: &str) -> usize {
        self.answers().get(version).copied().unwrap_or(0)
    }
}
