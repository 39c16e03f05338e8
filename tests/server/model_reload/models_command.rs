//! `kiln models` without a server: the output of each command, and the reasons for rejecting a file.

use super::store_folder::StoreFolder;
use super::weights::{NAME, favouring};
use crate::common::{data, kiln, run_command};

#[test]
fn version_is_exported_added_labelled_promoted_rolled_back_and_removed() {
    let folder = StoreFolder::new();
    let out = folder.path().join("own.bpk");
    let out = out.to_str().unwrap();
    assert!(folder.models(&["export", NAME, "--out", out]).contains("has the weights of efficientnet-lite0 1"));
    // The exported file has the weights of version 1 and becomes version 2.
    assert!(folder.models(&["add", NAME, out]).contains("efficientnet-lite0 2 is in the store, without a label"));
    let other = folder.file("other.bpk", &favouring(7, 100.0));
    folder.models(&["add", NAME, other.to_str().unwrap(), "--version", "7th"]);
    folder.models(&["canary", NAME, "7th", "--share", "12.5%"]);
    folder.models(&["shadow", NAME, "2"]);
    let list = folder.models(&["list"]);
    let row = |version: &str| {
        let row = list.lines().find(|line| line.split_whitespace().nth(1) == Some(version));
        row.unwrap_or_else(|| panic!("{version} is not in {list}")).to_string()
    };
    assert!(row("1").contains("stable") && row("1").ends_with("built in"), "{list}");
    assert!(row("7th").contains("canary 12.5%") && row("7th").ends_with(other.to_str().unwrap()), "{list}");
    assert!(row("2").contains("shadow"), "{list}");
    let digest = |version: &str| row(version).split_whitespace().find(|word| word.len() == 12).unwrap().to_string();
    assert_eq!(digest("1"), digest("2"), "{list}");
    assert_ne!(digest("1"), digest("7th"), "{list}");
    let stdout = folder.models(&["promote", NAME, "7th"]);
    let rollback = format!(
        "kiln models rollback efficientnet-lite0 --model-store {}    # goes back to 1\n",
        folder.path().display()
    );
    assert!(stdout.contains(&rollback), "{stdout}");
    // `kiln predict` uses the stable version too.
    let cat = data("photos/cat_451x300.jpg");
    let predict = ["predict", "--json", "--device", "cpu"];
    let (_, line, _) = run_command(kiln().args(predict).arg(cat).env("KILN_MODEL_STORE", folder.path()));
    let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&answer["model"]["version"], &answer["predictions"][0]["class_id"]), (&"7th".into(), &7.into()));
    assert!(folder.models(&["rollback", NAME]).contains("efficientnet-lite0 1 is the stable version"));
    let (status, _, stderr) = folder.try_models(&["remove", NAME, "7th"]);
    assert!(status == 1 && stderr.contains("labelled 'previous'"), "{stderr}");
    folder.models(&["shadow", NAME, "--off"]);
    folder.models(&["remove", NAME, "2"]);
    assert!(!folder.models(&["list"]).contains("own.bpk"));
}

#[test]
fn invalid_commands_are_errors_with_the_reason() {
    let folder = StoreFolder::new();
    let good = favouring(7, 100.0);
    let [half, text, wild] = [
        ("half.bpk", &good[..good.len() / 2]),
        ("text.bpk", &b"these are no weights"[..]),
        ("wild.bpk", &favouring(7, f32::NAN)[..]),
    ]
    .map(|(name, bytes)| folder.file(name, bytes).to_str().unwrap().to_string());
    for (arguments, part) in [
        (&["add", NAME, &half][..], "do not fit model 'efficientnet-lite0': it is not a complete Burnpack file"),
        (&["add", NAME, &text], "'kiln models export efficientnet-lite0' writes a file that fits"),
        (&["add", NAME, &wild], "not finite"),
        (&["add", NAME, "/no/such/file"], "/no/such/file"),
        (&["add", "nobody", &half], "there is no model 'nobody' in this program; there is efficientnet-lite0"),
        (&["add", NAME, &half, "--version", "../x"], "cannot be the name of a version"),
        (&["promote", NAME, "2"], "there is no version '2'"),
        (&["rollback", NAME], "no version was promoted yet"),
        (&["remove", NAME, "1"], "is built into the program"),
        (&["export", NAME, "--version", "9", "--out", "/tmp/never-written.bpk"], "there is no version '9'"),
    ] {
        let (status, stdout, stderr) = folder.try_models(arguments);
        assert_eq!((status, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
    assert_eq!(folder.models(&["list"]).lines().count(), 2, "a version was added");
    let (status, _, stderr) = run_command(kiln().args(["models", "list"]));
    assert!(status == 1 && stderr.contains("--model-store"), "{stderr}");
}

#[test]
fn server_on_a_store_without_versions_logs_the_next_command() {
    let folder = StoreFolder::new();
    let server = folder.serve();
    let log = server.logged_until("\"message\":\"ready\"");
    let next = format!("kiln models add {NAME} WEIGHTS.bpk --model-store {}", folder.path().display());
    let is_warning = |line: &&String| line.contains("\"level\":\"WARN\"") && line.contains(&next);
    assert_eq!(log.iter().filter(is_warning).count(), 1, "{log:#?}");
}

/// A limit on the file size makes writes fail, as a full disk does.
#[cfg(unix)]
#[test]
fn incomplete_export_is_removed() {
    let folder = StoreFolder::new();
    let out = folder.path().join("half.bpk");
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(kiln().get_program()).args(["models", "export", NAME, "--out"]);
    let output = command.arg(&out).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && stderr.contains("half.bpk"), "{stderr}");
    assert!(!out.exists());
}

#[test]
fn store_path_may_be_relative() {
    let folder = StoreFolder::new();
    let mut command = kiln();
    command.args(["models", "shadow", NAME, "--off", "--model-store", "versions"]).current_dir(folder.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("versions").join(NAME).join("labels.toml").is_file());
}
