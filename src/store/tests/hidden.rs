//! Writers that did not come to their end, and others that are at work: what each leaves to the other.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

/// Puts a file there, or a folder with one in it, that was last changed some time ago.
fn left(path: &Path, minutes: u64) {
    let is_folder = !path.to_str().unwrap().contains("toml");
    let file = if is_folder { path.join("weights.bpk") } else { path.to_path_buf() };
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, b"wei").unwrap();
    let then = SystemTime::now() - Duration::from_secs(minutes * 60);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
}

fn hidden(kept: &Kept) -> Vec<String> {
    let names = fs::read_dir(kept.place()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with('.') && name != ".lock").collect();
    names.sort();
    names
}

/// In containers all processes have the number 1, so that names by number and count meet.
#[test]
fn what_another_process_writes_is_neither_in_the_way_nor_taken_away() {
    let kept = Kept::new();
    kept.add(b"weights");
    let own = std::process::id();
    let others: Vec<String> = (0..40).map(|count| format!(".3.{own}-{count}")).collect();
    let labels: Vec<String> = (0..40).map(|count| format!(".labels.toml.{own}-{count}")).collect();
    others.iter().chain(&labels).for_each(|name| left(&kept.place().join(name), 0));
    let weights = Weights::new(b"third".to_vec());
    kept.store.add_as(&kept.model, "3", &weights, "a test", None).unwrap();
    kept.store.promote(&kept.model, "3").unwrap();
    let mut all: Vec<String> = others.into_iter().chain(labels).collect();
    all.sort();
    assert_eq!(hidden(&kept), all);
    assert_eq!(kept.store.read(&kept.model, "3").unwrap().weights().bytes(), b"third");
}

#[test]
fn what_was_left_behind_is_deleted_by_the_next_who_adds_or_removes() {
    let kept = Kept::new();
    kept.add(b"weights");
    let random = uuid::Uuid::now_v7().simple();
    let old = [format!(".4.{random}"), format!(".numbers.toml.{random}")];
    let others = ["..data", ".backup.2026-11", ".nfs.toml-kept", ".old.0123456789abcdef0123456789abcdef", ".snapshot"];
    let stays: Vec<String> = [format!(".5.{random}")].into_iter().chain(others.map(String::from)).collect();
    let leave = || {
        old.iter().for_each(|name| left(&kept.place().join(name), 61));
        left(&kept.place().join(&stays[0]), 59);
        stays[1..].iter().for_each(|name| left(&kept.place().join(name), 1000));
        assert_eq!(hidden(&kept).len(), old.len() + stays.len());
    };
    let mut expected = stays.clone();
    expected.sort();
    leave();
    kept.add(b"next");
    assert_eq!(hidden(&kept), expected);
    leave();
    kept.store.remove(&kept.model, "3").unwrap();
    assert_eq!(hidden(&kept), expected);
}

#[test]
fn many_who_choose_one_name_at_once_are_told_who_has_it() {
    let kept = Kept::new();
    let add = |who: u8| {
        let weights = Weights::new(vec![who; 1 << 16]);
        kept.store.add_as(&kept.model, "new", &weights, "a test", None).map(|()| who)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|who| scope.spawn(move || add(who))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let done: Vec<u8> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(done.len(), 1);
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Taken { .. })));
    assert_eq!(taken.count(), 7, "{outcomes:?}");
    assert_eq!(kept.store.read(&kept.model, "new").unwrap().weights().bytes(), vec![done[0]; 1 << 16]);
    assert_eq!(hidden(&kept), [""; 0]);
}
