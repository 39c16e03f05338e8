//! `kiln predict` with many files: folders, results files, interrupted runs, standard input and closed pipes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{bytes, data, kiln, run_command, until};

/// Longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);
/// More files than are classified before a run is stopped.
const MANY: usize = 400;
/// Class of `coffee_640x480.jpg`.
const ESPRESSO: &str = "967";

fn command(arguments: &[&str]) -> Command {
    let mut command = kiln();
    command.args(["predict", "--device", "cpu"]).args(arguments);
    command
}

fn predict(arguments: &[&str]) -> (i32, String, String) {
    run_command(&mut command(arguments))
}

/// A folder of images, and a results file outside it.
struct Folder {
    root: TempDir,
}

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join("images").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Self { root }
    }

    /// Returns a folder with many images.
    fn large() -> Self {
        let photo = bytes("photos/cat_451x300.jpg");
        let names: Vec<String> = (0..MANY).map(|number| format!("{number:04}.jpg")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &photo[..])).collect();
        Self::new(&files)
    }

    fn images(&self) -> String {
        self.root.path().join("images").display().to_string()
    }

    fn results(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Returns the columns and the rows of a results file.
fn csv_rows(path: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let cells = |record: &csv::StringRecord| record.iter().map(str::to_string).collect::<Vec<_>>();
    let columns = cells(reader.headers().unwrap());
    (columns, reader.records().map(|record| cells(&record.unwrap())).collect())
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts a run over many images, and waits until some of them have a row.
fn begun(folder: &Folder, results: &str) -> Child {
    let mut command = command(&[&folder.images(), "--top-k", "1", "--output", results]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("the first rows", TIMEOUT, || text(results).lines().count() > 20, || text(results));
    child
}

/// Continues a run, and asserts that each image has one row.
fn assert_resumes(folder: &Folder, results: &str) {
    let (status, stdout, stderr) = predict(&[&folder.images(), "--top-k", "1", "--output", results, "--resume"]);
    assert_eq!((status, stdout.as_str()), (0, ""), "{stderr}");
    let (_, rows) = csv_rows(results);
    let names: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!((rows.len(), names.len()), (MANY, MANY));
    assert!(
        stderr.contains(&format!("has {MANY} rows")) && !stderr.contains(&format!("classified {MANY}")),
        "{stderr}"
    );
    let whole = text(results);
    let (status, _, stderr) = predict(&[&folder.images(), "--top-k", "1", "--output", results, "--resume"]);
    assert!(status == 0 && stderr.contains("classified 0 files"), "{stderr}");
    assert_eq!(text(results), whole);
}

#[test]
fn folder_gives_a_row_for_each_image_good_or_bad() {
    let coffee = bytes("photos/coffee_640x480.jpg");
    let folder = Folder::new(&[
        ("coffee.jpg", &coffee),
        ("broken.jpg", &coffee[..coffee.len() / 2]),
        ("words.png", b"not an image"),
        ("notes.txt", b"skipped"),
        (".hidden.jpg", &coffee),
        ("sub/coffee.jpg", &coffee),
    ]);
    let results = folder.results("results.csv");
    let (status, stdout, stderr) = predict(&[&folder.images(), "--output", &results]);
    assert_eq!((status, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("2 of 3 files could not be classified"), "{stderr}");
    let (columns, rows) = csv_rows(&results);
    assert_eq!(columns[..5], ["file", "class_id", "label", "probability", "class_id_2"]);
    assert_eq!((columns.len(), columns.last().unwrap().as_str()), (2 + 3 * 5, "error"));
    let files: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(files, ["broken.jpg", "coffee.jpg", "words.png"]);
    let error = |row: usize| rows[row].last().unwrap().as_str();
    assert!(error(0).contains("jpeg") && rows[0][1].is_empty(), "{rows:?}");
    assert!(error(2).contains("not an image"), "{rows:?}");
    assert_eq!((rows[1][1].as_str(), error(1)), (ESPRESSO, ""));
    let probability = |column: usize| rows[1][column].parse::<f32>().unwrap();
    assert!(probability(3) > probability(6) && probability(3) <= 1.0, "{rows:?}");
    // The rows of the first run count for the exit status.
    assert_eq!(predict(&[&folder.images(), "--output", &results, "--resume"]).0, 1);
}

#[test]
fn recursive_search_writes_json_lines() {
    let coffee = bytes("photos/coffee_640x480.jpg");
    let folder = Folder::new(&[("cat.jpg", &bytes("photos/cat_451x300.jpg")), ("a/b/coffee.jpg", &coffee)]);
    let results = folder.results("results.jsonl");
    let (status, _, stderr) = predict(&[&folder.images(), "--recursive", "--top-k", "2", "--output", &results]);
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("classified 2 files"), "{stderr}");
    let rows = json_lines(&text(&results));
    assert_eq!(rows.iter().map(|row| row["file"].as_str().unwrap()).collect::<Vec<_>>(), ["a/b/coffee.jpg", "cat.jpg"]);
    assert_eq!(rows[0]["predictions"][0]["class_id"].to_string(), ESPRESSO);
    assert_eq!(rows[0]["predictions"].as_array().unwrap().len(), 2);
    assert_eq!((&rows[1]["image"]["width"], &rows[1]["model"]["name"]), (&451.into(), &"efficientnet-lite0".into()));
}

#[test]
fn nothing_but_answers_is_printed_without_a_results_file() {
    let coffee = data("photos/coffee_640x480.jpg").display().to_string();
    let (status, stdout, stderr) = predict(&[&coffee, "--threshold", "0.99999", "--top-k", "1"]);
    assert_eq!((status, stderr.as_str(), stdout.lines().count()), (0, "", 1), "{stdout}");
}

#[test]
fn dash_reads_one_image_from_standard_input() {
    let coffee = File::open(data("photos/coffee_640x480.jpg")).unwrap();
    let (status, stdout, stderr) = run_command(command(&["-", "--json"]).stdin(coffee));
    assert_eq!(status, 0, "{stderr}");
    let rows = json_lines(&stdout);
    assert_eq!((rows.len(), rows[0]["file"].as_str()), (1, Some("-")));
    assert_eq!(rows[0]["predictions"][0]["class_id"].to_string(), ESPRESSO);
    let (status, _, stderr) = predict(&["-", "-"]);
    assert!(status == 2 && stderr.contains("standard input"), "{stderr}");
}

#[test]
fn killed_run_resumes_without_repeating_or_losing_a_file() {
    let folder = Folder::large();
    let results = folder.results("results.csv");
    let mut child = begun(&folder, &results);
    child.kill().unwrap();
    child.wait().unwrap();
    let written = text(&results);
    assert!(written.lines().count() < MANY, "the run ended before it was killed");
    // As if the process had been killed within a write.
    std::fs::write(&results, &written[..written.len() - 3]).unwrap();
    assert_resumes(&folder, &results);
}

#[cfg(unix)]
#[test]
fn interrupted_run_ends_with_whole_rows_and_says_how_to_resume() {
    let folder = Folder::large();
    let results = folder.results("results.csv");
    let mut child = begun(&folder, &results);
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stderr}");
    assert!(stderr.contains("--resume"), "{stderr}");
    let (_, rows) = csv_rows(&results);
    assert!(text(&results).ends_with('\n') && rows.len() < MANY, "{} rows", rows.len());
    assert_resumes(&folder, &results);
}

#[test]
fn file_that_is_given_twice_has_two_rows_after_an_interruption_too() {
    let folder = Folder::new(&[("coffee.jpg", &bytes("photos/coffee_640x480.jpg"))]);
    let (results, coffee) = (folder.results("results.csv"), format!("{}/coffee.jpg", folder.images()));
    let run = |more: &[&str]| {
        predict(&[&[coffee.as_str(), coffee.as_str(), "--output", results.as_str()][..], more].concat())
    };
    assert_eq!(run(&[]).0, 0);
    let first: String = text(&results).split_inclusive('\n').take(2).collect();
    std::fs::write(&results, first).unwrap();
    let (status, _, stderr) = run(&["--resume"]);
    assert!(status == 0 && stderr.contains("classified 1 files"), "{stderr}");
    let (_, rows) = csv_rows(&results);
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), [coffee.as_str(); 2]);
}

#[test]
fn existing_results_are_refused_unless_replaced() {
    let folder = Folder::new(&[("coffee.jpg", &bytes("photos/coffee_640x480.jpg"))]);
    let results = folder.results("results.csv");
    std::fs::write(&results, "precious\n").unwrap();
    let images = folder.images();
    let run = |more: &[&str]| predict(&[&[images.as_str(), "--output", results.as_str()][..], more].concat());
    let (status, _, stderr) = run(&[]);
    assert!(status == 2 && stderr.contains("--resume") && stderr.contains("--overwrite"), "{stderr}");
    let (status, _, stderr) = run(&["--resume"]);
    assert!(status == 2 && stderr.contains("cannot be continued"), "{stderr}");
    assert_eq!(text(&results), "precious\n");
    assert_eq!(run(&["--overwrite"]).0, 0);
    assert_eq!(csv_rows(&results).1.len(), 1);
    // Other columns.
    let (status, _, stderr) = run(&["--resume", "--top-k", "2"]);
    assert!(status == 2 && stderr.contains("--top-k"), "{stderr}");
}

#[test]
fn folder_without_images_names_the_next_step() {
    let folder = Folder::new(&[("sub/coffee.jpg", &bytes("photos/coffee_640x480.jpg"))]);
    let results = folder.results("results.csv");
    let (status, _, stderr) = predict(&[&folder.images(), "--output", &results]);
    assert!(status == 1 && stderr.contains("--recursive"), "{stderr}");
    assert!(!Path::new(&results).exists());
}

#[cfg(unix)]
#[test]
fn closed_pipe_ends_the_program_silently() {
    let photo = data("photos/cat_451x300.jpg");
    let files: Vec<PathBuf> = std::iter::repeat_n(photo, MANY).collect();
    let mut child = command(&["--json"]).args(files).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(json_lines(&first).len(), 1);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}

#[test]
fn parquet_file_has_a_row_for_each_image_and_can_be_continued() {
    let coffee = bytes("photos/coffee_640x480.jpg");
    let folder = Folder::new(&[("coffee.jpg", &coffee), ("words.png", b"not an image")]);
    let results = folder.results("results.parquet");
    let arguments = [&folder.images()[..], "--top-k", "1", "--output", &results];
    let rows = || {
        let reader = SerializedFileReader::new(File::open(&results).unwrap()).unwrap();
        let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
        rows.map(|row| row.to_string()).collect::<Vec<_>>()
    };
    let (status, _, stderr) = predict(&arguments);
    assert_eq!(status, 1, "{stderr}");
    let found = rows();
    assert!(found[0].starts_with(&format!("{{file: \"coffee.jpg\", class_id: {ESPRESSO}, label: \"")), "{found:?}");
    assert!(found[1].starts_with("{file: \"words.png\", class_id: null, label: null, "), "{found:?}");
    assert!(found[1].contains("error: \"not an image"), "{found:?}");
    std::fs::write(Path::new(&folder.images()).join("z.jpg"), &coffee).unwrap();
    let (status, _, stderr) = predict(&[&arguments[..], &["--resume"]].concat());
    assert_eq!(status, 1, "{stderr}");
    assert_eq!(rows().len(), 3);
    assert_eq!(rows()[..2], found[..]);
}
