//! The commands that need no server.

mod common;

use common::{data, kiln};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = kiln().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn predict_classifies_files_as_text_and_as_json_lines() {
    let cat = data("photos/cat_451x300.jpg");
    let coffee = data("photos/coffee_640x480.jpg");
    let files = [cat.to_str().unwrap(), coffee.to_str().unwrap()];
    let (status, text, _) = run(&["predict", files[0], "--top-k", "2", "--device", "cpu", "--log-level", "warn"]);
    assert_eq!(status, 0);
    assert!(text.contains("(jpeg, 451x300)") && text.contains("cat (28"), "{text}");
    assert_eq!(text.lines().count(), 3);
    let (status, lines, _) = run(&["predict", files[0], files[1], "--json", "--device", "cpu"]);
    assert_eq!(status, 0);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["file"], files[1]);
    assert_eq!(lines[1]["predictions"][0]["class_id"], 967);
}

#[test]
fn predict_names_the_files_that_it_cannot_classify_and_goes_on() {
    let cat = data("photos/cat_451x300.jpg");
    let readme = data("README.md");
    let (status, text, errors) =
        run(&["predict", "/no/such/file", readme.to_str().unwrap(), cat.to_str().unwrap(), "--device", "cpu"]);
    assert_eq!(status, 1);
    assert!(text.contains("cat_451x300.jpg"), "{text}");
    assert!(errors.contains("/no/such/file: ") && errors.contains("README.md: this is not a picture"), "{errors}");
    assert!(errors.contains("2 of 3 files could not be classified"), "{errors}");
}

#[test]
fn keygen_prints_a_key_that_the_server_takes() {
    let (status, key, _) = run(&["keygen"]);
    assert_eq!(status, 0);
    let check = kiln().args(["config", "check"]).env("KILN_API_KEY", key.trim()).output().unwrap();
    assert!(check.status.success());
    assert!(!String::from_utf8_lossy(&check.stdout).contains(key.trim()));
}

#[test]
fn devices_lists_the_cpu_and_what_auto_takes() {
    let (status, text, _) = run(&["devices"]);
    assert_eq!(status, 0);
    assert!(text.contains("cpu") && text.contains("* is what '--device auto' takes"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("* ") && !line.contains("is what")).count(), 1, "{text}");
}

#[test]
fn wrong_words_and_values_exit_with_two_and_a_sentence() {
    for (arguments, part) in [
        (&["--max-batch-size", "none"][..], "--max-batch-size 'none' must be a whole number from 1 to 1024"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["serve", "--device", "tpu"], "--device 'tpu' must be auto, cpu"),
        (&["predict"], "FILE"),
    ] {
        let (status, _, errors) = run(arguments);
        assert_eq!(status, 2, "{arguments:?}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
    }
}

#[test]
fn config_check_finds_what_would_keep_the_server_from_starting() {
    for (arguments, part) in [
        (["--model", "nobody"], "--model 'nobody' must be a model that was built in: "),
        (["--log-level", "loud"], "--log-level 'loud' must be error, warn"),
    ] {
        for command in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"], &["predict", "cat.jpg"]] {
            let (status, _, errors) = run(&[command, &arguments].concat());
            assert_eq!(status, 2, "{command:?}: {errors}");
            assert!(errors.contains(part), "{command:?}: {errors}");
        }
    }
}
