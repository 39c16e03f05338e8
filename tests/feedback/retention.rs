//! How much is kept, who may keep it, and what a start says of a folder that it cannot use.

use serde_json::json;

use super::{CAT, feedback, give, predict, serve};
use crate::common::{Server, kiln, said};

#[test]
fn predictions_are_let_go_and_those_with_feedback_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &["--prediction-retention-count", "3"]);
    let first = predict(&server, CAT);
    let judge = |id: &str| give(&server, &json!({"prediction_id": id, "verdict": "right"}));
    assert_eq!(judge(&first).status, 200);
    let ids: Vec<String> = (0..5).map(|_| predict(&server, CAT)).collect();
    // What is too much goes at the end of a transaction: this one is behind them all.
    assert_eq!(judge(&first).status, 200);
    let known: Vec<u16> = ids.iter().map(|id| judge(id).status).collect();
    assert_eq!(known, [404, 404, 200, 200, 200]);
    assert_eq!(judge(&first).json()["replaced"], true);
}

#[test]
fn a_folder_that_cannot_be_used_is_told_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let refused = |data: &str| {
        let words = ["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--data-dir", data];
        let (status, _, complaint) = said(kiln().args(words));
        assert_eq!(status, 1, "{complaint}");
        complaint
    };
    let server = Server::start_unready(&["--device", "cpu", "--data-dir", data]);
    server.get("/health/live");
    assert!(refused(data).contains("is used by another server"), "{}", refused(data));
    drop(server);
    // It was killed, and its log would mend the file.
    for file in ["feedback.db-wal", "feedback.db-shm"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("feedback.db"), "words").unwrap();
    assert!(refused(data).contains("feedback.db is damaged"), "{}", refused(data));
    let file = folder.path().join("feedback.db");
    let below = file.join("data");
    assert!(refused(below.to_str().unwrap()).contains("has to be one that this user may write to"));
    let nothing = folder.path().join("nothing");
    let (status, _, errors) = feedback(&["report", "--data-dir", nothing.to_str().unwrap()]);
    assert!(status == 1 && errors.contains("was started with --data-dir"), "{errors}");
    let (status, _, complaint) = said(kiln().args(["config", "check", "--image-sample-percent", "5"]));
    assert!(status == 2 && complaint.contains("needs data-dir beside it"), "{complaint}");
}

/// A limit on the size of files is a disk that is full, to the one process that it holds for.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_costs_the_feedback_and_not_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    // The database and its log are some hundred KiB, of which the labels are the most.
    let server = Server::start_limited(&["--device", "cpu", "--data-dir", data], 600);
    let first = predict(&server, CAT);
    let note = "x".repeat(1000);
    let refused = (0..20_000).find_map(|_| {
        // Whichever of the two meets the limit.
        predict(&server, CAT);
        let answer = give(&server, &json!({"prediction_id": first, "verdict": "right", "note": note}));
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("the limit was never met");
    assert_eq!((refused.status, refused.code().as_str()), (503, "feedback_unavailable"));
    assert!(refused.header("retry-after").is_some() && refused.json()["hint"].is_string());
    predict(&server, CAT);
    assert!(server.metric("kiln_records_dropped_total", &["what=\"feedback\""]) > 0.0);
    server.logged_until("feedback and predictions cannot be stored");
}
