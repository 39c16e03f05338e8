//! Commands that a message suggests, complete enough to be pasted into a shell.

use std::path::Path;

use model_import::import::shell_path;

/// Returns `kiln models ARGUMENTS --model-store FOLDER`.
pub fn models_command(arguments: &str, store: &Path) -> String {
    format!("kiln models {arguments} --model-store {}", shell_path(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_command_names_the_store() {
        let command = models_command("promote resnet50 2", Path::new("/srv/model store"));
        assert_eq!(command, "kiln models promote resnet50 2 --model-store '/srv/model store'");
    }
}
