//! The real binary as a command: its output, key files made by `kiln keygen`, and the memory of a process.

use std::process::{Command, Output, Stdio};

/// The API key of every test server.
pub const KEY: &str = "kiln_test-key-of-the-end-to-end-tests";

/// Returns a `kiln` command with the test key and the default model.
pub fn kiln() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    // The tests expect the classes of this model, even if other models are compiled in.
    command
        .env_remove("PORT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("KILN_API_KEY", KEY)
        .env("KILN_MODEL", "efficientnet-lite0")
        .stdin(Stdio::null());
    command
}

/// Runs a command until it exits. Returns its exit status, standard output and standard error.
pub fn run_command(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("the command exits by itself"), text(&output.stdout), text(&output.stderr))
}

/// Returns standard output followed by standard error.
pub fn output_text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// A key made by `kiln keygen`, and its entry for a key file.
pub struct GeneratedKey {
    pub key: String,
    pub entry: String,
}

/// Runs `kiln keygen --id ID` with more arguments.
pub fn keygen(id: &str, arguments: &[&str]) -> GeneratedKey {
    let (status, entry, stderr) = run_command(kiln().args(["keygen", "--id", id]).args(arguments));
    assert_eq!(status, 0, "{stderr}");
    let key = stderr.split_whitespace().last().expect("keygen prints the key").to_string();
    assert!(key.starts_with("kiln_"), "{stderr}");
    GeneratedKey { key, entry }
}

/// Creates a key file.
pub fn key_file(keys: &[&GeneratedKey]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    write_keys(&file, keys);
    file
}

/// Replaces the content of a key file.
pub fn write_keys(file: &tempfile::NamedTempFile, keys: &[&GeneratedKey]) {
    let text: Vec<&str> = keys.iter().map(|key| key.entry.as_str()).collect();
    std::fs::write(file.path(), text.concat()).expect("the key file is writable");
}

/// Returns the resident memory of a process in bytes; `None` where the system does not report it (proc(5), status).
pub fn resident_bytes(process: u32) -> Option<usize> {
    memory_field(process, "VmRSS:")
}

/// Returns the peak resident memory of a process in bytes, since its start or since the peak was last reset.
pub fn peak_resident_bytes(process: u32) -> Option<usize> {
    memory_field(process, "VmHWM:")
}

fn memory_field(process: u32, name: &str) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kibibytes| kibibytes * 1024)
}
