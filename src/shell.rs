//! Commands that a message suggests, complete enough to be pasted into a shell.

use std::path::Path;

/// Returns `kiln models ARGUMENTS --model-store FOLDER`.
pub fn models_command(arguments: &str, store: &Path) -> String {
    format!("kiln models {arguments} --model-store {}", word(&store.display().to_string()))
}

/// Returns a text as one word of a POSIX shell, in quotes if it needs them.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_change_are_quoted() {
        for (text, expected) in [
            ("/srv/versions", "/srv/versions"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("my models", "'my models'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn suggested_command_names_the_store() {
        let command = models_command("promote resnet50 2", Path::new("/srv/model store"));
        assert_eq!(command, "kiln models promote resnet50 2 --model-store '/srv/model store'");
    }
}
