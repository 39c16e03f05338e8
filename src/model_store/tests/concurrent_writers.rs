//! Abandoned temporary files, and several writers at once.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

/// Creates a file, or a folder with one file, whose modification time is some minutes ago.
fn create_aged(path: &Path, minutes: u64) {
    let is_folder = !path.to_str().unwrap().contains("toml");
    let file = if is_folder { path.join("weights.bpk") } else { path.to_path_buf() };
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, b"wei").unwrap();
    let then = SystemTime::now() - Duration::from_secs(minutes * 60);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
}

fn hidden(fixture: &Fixture) -> Vec<String> {
    let names =
        fs::read_dir(fixture.model_folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with('.') && name != ".lock").collect();
    names.sort();
    names
}

/// In containers all processes can have the id 1, so names made of a process id and a counter collide.
#[test]
fn temporary_files_of_other_processes_are_kept() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let own = std::process::id();
    let others: Vec<String> = (0..40).map(|count| format!(".3.{own}-{count}")).collect();
    let labels: Vec<String> = (0..40).map(|count| format!(".labels.toml.{own}-{count}")).collect();
    others.iter().chain(&labels).for_each(|name| create_aged(&fixture.model_folder().join(name), 0));
    let weights = Weights::new(b"third".to_vec());
    fixture.store.add_as(&fixture.model, "3", &weights, "a test", None).unwrap();
    fixture.store.promote(&fixture.model, "3").unwrap();
    let mut all: Vec<String> = others.into_iter().chain(labels).collect();
    all.sort();
    assert_eq!(hidden(&fixture), all);
    assert_eq!(fixture.store.read(&fixture.model, "3").unwrap().weights().unwrap().bytes(), b"third");
}

#[test]
fn add_and_remove_delete_abandoned_temporary_files() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let random = uuid::Uuid::now_v7().simple();
    let old = [format!(".4.{random}"), format!(".numbers.toml.{random}")];
    let others =
        ["..data", ".backup.2026-11", ".nfs.toml-fixture", ".old.0123456789abcdef0123456789abcdef", ".snapshot"];
    let stays: Vec<String> = [format!(".5.{random}")].into_iter().chain(others.map(String::from)).collect();
    let leave = || {
        old.iter().for_each(|name| create_aged(&fixture.model_folder().join(name), 61));
        create_aged(&fixture.model_folder().join(&stays[0]), 59);
        stays[1..].iter().for_each(|name| create_aged(&fixture.model_folder().join(name), 1000));
        assert_eq!(hidden(&fixture).len(), old.len() + stays.len());
    };
    let mut expected = stays.clone();
    expected.sort();
    leave();
    fixture.add(b"next");
    assert_eq!(hidden(&fixture), expected);
    leave();
    fixture.store.remove(&fixture.model, "3").unwrap();
    assert_eq!(hidden(&fixture), expected);
}

#[test]
fn concurrent_adds_of_one_name_have_one_winner() {
    let fixture = Fixture::new();
    let add = |byte: u8| {
        let weights = Weights::new(vec![byte; 1 << 16]);
        fixture.store.add_as(&fixture.model, "new", &weights, "a test", None).map(|()| byte)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|byte| scope.spawn(move || add(byte))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let done: Vec<u8> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(done.len(), 1);
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::VersionExists { .. })));
    assert_eq!(taken.count(), 7, "{outcomes:?}");
    assert_eq!(fixture.store.read(&fixture.model, "new").unwrap().weights().unwrap().bytes(), vec![done[0]; 1 << 16]);
    assert_eq!(hidden(&fixture), [""; 0]);
}
