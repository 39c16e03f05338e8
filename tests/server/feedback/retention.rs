//! Retention of predictions, unusable data directories, and a full disk.

use serde_json::json;

use super::{CAT, feedback, give, predict, serve};
use crate::common::{Server, kiln, run_command};

#[test]
fn oldest_predictions_without_feedback_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &["--prediction-retention-count", "3"]);
    let first = predict(&server, CAT);
    let judge = |id: &str| give(&server, &json!({"prediction_id": id, "verdict": "right"}));
    assert_eq!(judge(&first).status, 200);
    let ids: Vec<String> = (0..5).map(|_| predict(&server, CAT)).collect();
    // Old predictions are deleted at the end of a transaction. This feedback makes sure of one after all predictions.
    assert_eq!(judge(&first).status, 200);
    let known: Vec<u16> = ids.iter().map(|id| judge(id).status).collect();
    assert_eq!(known, [404, 404, 200, 200, 200]);
    assert_eq!(judge(&first).json()["replaced"], true);
}

#[test]
fn unusable_data_directory_prevents_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let refused = |data: &str| {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--data-dir", data];
        let (status, _, stderr) = run_command(kiln().args(arguments));
        assert_eq!(status, 1, "{stderr}");
        stderr
    };
    let server = Server::start_unready(&["--device", "cpu", "--data-dir", data]);
    server.get("/health/live");
    assert!(refused(data).contains("is used by another server"), "{}", refused(data));
    drop(server);
    // The server was killed: its write-ahead log would repair the file.
    for file in ["feedback.db-wal", "feedback.db-shm"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("feedback.db"), "words").unwrap();
    assert!(refused(data).contains("feedback.db is damaged"), "{}", refused(data));
    let file = folder.path().join("feedback.db");
    let below = file.join("data");
    assert!(refused(below.to_str().unwrap()).contains("This user must be able to write to the folder"));
    let nothing = folder.path().join("nothing");
    let (status, _, stderr) = feedback(&["report", "--data-dir", nothing.to_str().unwrap()]);
    assert!(status == 1 && stderr.contains("was started with --data-dir"), "{stderr}");
    let (status, _, stderr) = run_command(kiln().args(["config", "check", "--image-sample-percent", "5"]));
    assert!(status == 2 && stderr.contains("needs data-dir beside it"), "{stderr}");
}

/// A limit on the file size simulates a full disk for this process only.
#[cfg(unix)]
#[test]
fn full_disk_rejects_feedback_but_not_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    // The database and its log have a few hundred KiB, mostly labels.
    let server = Server::start_limited(&["--device", "cpu", "--data-dir", data], 600);
    let first = predict(&server, CAT);
    let note = "x".repeat(1000);
    let refused = (0..20_000).find_map(|_| {
        // Either of the two may reach the limit.
        predict(&server, CAT);
        let answer = give(&server, &json!({"prediction_id": first, "verdict": "right", "note": note}));
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("the limit is reached");
    assert_eq!((refused.status, refused.code().as_str()), (503, "feedback_unavailable"));
    assert!(refused.header("retry-after").is_some() && refused.json()["hint"].is_string());
    predict(&server, CAT);
    assert!(server.metric("kiln_records_dropped_total", &["what=\"feedback\""]) > 0.0);
    server.logged_until("feedback and predictions cannot be stored");
}
