//! The fenced blocks of the README, by their section and language.

use crate::common::Server;

/// The section with a program for each language.
pub const PROGRAMS: &str = "### From your own program";
pub const TRITON: &str = "### For clients of Triton and KServe";
/// Where the README has a server listen.
const ADDRESS: &str = "127.0.0.1:8080";
/// Languages whose blocks are no programs: commands and answers.
const OTHERS: [&str; 2] = ["json", "sh"];

struct Block {
    section: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let readme = std::fs::read_to_string("README.md").expect("tests run in the project's folder");
    let mut blocks: Vec<Block> = Vec::new();
    let (mut section, mut inside) = (String::new(), false);
    for line in readme.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block { section: section.clone(), language: language.to_string(), text: String::new() });
            }
        } else if inside {
            let text = &mut blocks.last_mut().expect("a block has begun").text;
            text.push_str(line);
            text.push('\n');
        } else if line.starts_with('#') {
            section = line.to_string();
        }
    }
    assert!(!inside, "a block of the README has no end");
    blocks
}

/// The only block of that language in a section, to the letter.
pub fn block(section: &str, language: &str) -> String {
    let found = blocks().into_iter().filter(|block| block.section == section && block.language == language);
    let [block] = &found.collect::<Vec<_>>()[..] else { panic!("'{section}' has to have one block of {language}") };
    block.text.clone()
}

/// The same for a server that listens elsewhere.
pub fn program(section: &str, language: &str, server: &Server) -> String {
    let text = block(section, language);
    assert!(text.contains(ADDRESS), "it asks no server at {ADDRESS}: {text}");
    text.replace(ADDRESS, server.url.strip_prefix("http://").expect("a server without TLS"))
}

#[test]
fn no_program_of_the_readme_goes_without_a_test() {
    let blocks = blocks();
    let programs = blocks.iter().filter(|block| !OTHERS.contains(&block.language.as_str()));
    let mut programs: Vec<_> = programs.map(|block| (block.section.as_str(), block.language.as_str())).collect();
    programs.sort_unstable();
    assert_eq!(programs, [(TRITON, "python"), (PROGRAMS, "js"), (PROGRAMS, "python"), (PROGRAMS, "rust")]);
}
