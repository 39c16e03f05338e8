//! Markdown documents: their prose and anchors, and the programs in the README.

use std::collections::BTreeSet;

use super::{Server, data};

/// The section of the README with a program for each language.
pub const PROGRAMS: &str = "### Clients";
/// The section of the README with the Triton client.
pub const TRITON: &str = "### Triton and KServe clients";
/// The file name that the README gives to the classified image.
pub const IMAGE: &str = "cat.jpg";
/// Class id and label of that image, by the default model.
pub const CLASS: (u64, &str) = (285, "Egyptian cat");
/// The address of the server in the README.
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

/// A fenced block of the README.
pub struct Block {
    pub section: String,
    pub language: String,
    pub text: String,
}

/// Returns all fenced blocks of the README.
pub fn readme_blocks() -> Vec<Block> {
    let readme = std::fs::read_to_string("README.md").expect("tests run in the project's folder");
    let mut blocks: Vec<Block> = Vec::new();
    let (mut section, mut in_block) = (String::new(), false);
    for line in readme.lines() {
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
    assert!(!in_block, "a block of the README has no end");
    blocks
}

/// Returns the only block of this language in a section of the README.
pub fn readme_block(section: &str, language: &str) -> String {
    let found = readme_blocks().into_iter().filter(|block| block.section == section && block.language == language);
    let [block] = &found.collect::<Vec<_>>()[..] else { panic!("'{section}' must have exactly one {language} block") };
    block.text.clone()
}

/// Returns a program of the README with the address of `server` in place of the documented one.
pub fn readme_program(section: &str, language: &str, server: &Server) -> String {
    let text = readme_block(section, language);
    assert!(text.contains(ADDRESS), "the program does not contain {ADDRESS}: {text}");
    text.replace(ADDRESS, server.url.strip_prefix("http://").expect("a server without TLS"))
}

/// Creates a folder that contains the image under the name that the README uses.
pub fn folder_with_image() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(data("photos/cat_640x480.jpg"), folder.path().join(IMAGE)).expect("the photo is copied");
    folder
}
