//! Markdown documents: their prose and anchors, and the programs in `docs/clients.md`.

use std::collections::BTreeSet;

use super::{Server, data};

/// The document with a program for each language.
pub const CLIENTS: &str = "docs/clients.md";
/// The sections of that document with programs.
pub const CURL: &str = "## curl";
pub const PYTHON: &str = "## Python";
pub const JAVASCRIPT: &str = "## JavaScript";
pub const GO: &str = "## Go";
pub const JAVA: &str = "## Java";
pub const RUST: &str = "## Rust";
pub const TRITON: &str = "## Triton and KServe clients";
/// The file name that the programs give to the classified image.
pub const IMAGE: &str = "cat.jpg";
/// Class id and label of that image, by the default model.
pub const CLASS: (u64, &str) = (285, "Egyptian cat");
/// The address of the server in the documents.
const ADDRESS: &str = "127.0.0.1:8080";

/// Returns the lines outside fenced blocks: only those contain links and headings.
pub fn prose(text: &str) -> Vec<&str> {
    let mut in_block = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        })
        .collect()
}

/// Returns the anchors of the headings as GitHub forms them: lower case, hyphens for spaces, only letters, digits, `-` and `_`.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let hyphenated = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        hyphenated.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

/// Returns the paths of the README and of all pages in `docs`, which hold the programs and the metric names.
pub fn pages() -> Vec<String> {
    let entries = std::fs::read_dir("docs").expect("tests run in the project's folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_string());
    pages.sort();
    pages
}

/// A fenced block of a document.
pub struct Block {
    pub section: String,
    pub language: String,
    pub text: String,
}

/// Returns all fenced blocks of a document.
pub fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(document).unwrap_or_else(|e| panic!("{document}: {e}"));
    let mut blocks: Vec<Block> = Vec::new();
    let (mut section, mut in_block) = (String::new(), false);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_block = !in_block;
            if in_block {
                blocks.push(Block { section: section.clone(), language: language.to_string(), text: String::new() });
            }
        } else if in_block {
            let text = &mut blocks.last_mut().expect("a block has begun").text;
            text.push_str(line);
            text.push('\n');
        } else if line.starts_with('#') {
            section = line.to_string();
        }
    }
    assert!(!in_block, "a block of {document} has no end");
    blocks
}

/// Returns the only block of this language in a section of [`CLIENTS`].
pub fn documented_block(section: &str, language: &str) -> String {
    let found = blocks(CLIENTS).into_iter().filter(|block| block.section == section && block.language == language);
    let [block] = &found.collect::<Vec<_>>()[..] else { panic!("'{section}' must have exactly one {language} block") };
    block.text.clone()
}

/// Returns a program of [`CLIENTS`] with the address of `server` in place of the documented one.
pub fn documented_program(section: &str, language: &str, server: &Server) -> String {
    let text = documented_block(section, language);
    assert!(text.contains(ADDRESS), "the program does not contain {ADDRESS}: {text}");
    text.replace(ADDRESS, server.url.strip_prefix("http://").expect("a server without TLS"))
}

/// Creates a folder that contains the image under the name that the programs use.
pub fn folder_with_image() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(data("photos/cat_640x480.jpg"), folder.path().join(IMAGE)).expect("the photo is copied");
    folder
}
