//! The folder of an imported model. The build reads models from `model-import/models` of a checkout of Kiln; the search
//! starts in the current folder and goes up.

use std::path::{Path, PathBuf};

/// The target folder of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFolder {
    /// The folder to create.
    pub folder: PathBuf,
    /// The checkout whose build reads that folder; `None` if no build does.
    pub checkout: Option<PathBuf>,
}

/// The current folder is not in a checkout, and no target folder is given.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{} is in no checkout of Kiln, whose build compiles models. Run this command in a checkout (git clone, then cd), or set the \
     model's folder with --out.",
    .0.display()
)]
pub struct NoCheckout(pub PathBuf);

/// Returns the folder of the model `name` in the checkout that contains `here`; `out`, relative to `here`, overrides
/// it.
///
/// # Errors
///
/// `out` is absent and `here` is in no checkout.
pub fn model_folder(here: &Path, name: &str, out: Option<&Path>) -> Result<ModelFolder, NoCheckout> {
    let is_checkout =
        |folder: &&Path| folder.join("model-import/models").is_dir() && folder.join("Cargo.toml").is_file();
    match out {
        None => {
            let checkout = here.ancestors().find(is_checkout).ok_or_else(|| NoCheckout(here.to_path_buf()))?;
            let folder = checkout.join("model-import/models").join(name);
            Ok(ModelFolder { folder, checkout: Some(checkout.to_path_buf()) })
        }
        Some(out) => {
            let folder = here.join(out);
            let checkout = folder.ancestors().nth(3).filter(is_checkout);
            let checkout = checkout.filter(|checkout| folder.parent() == Some(&checkout.join("model-import/models")));
            Ok(ModelFolder { checkout: checkout.map(Path::to_path_buf), folder })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkout_is_found_from_its_subfolders() {
        let root = tempfile::tempdir().unwrap();
        let models = root.path().join("model-import/models");
        std::fs::create_dir_all(&models).unwrap();
        std::fs::write(root.path().join("Cargo.toml"), "").unwrap();
        let expected = ModelFolder { folder: models.join("net"), checkout: Some(root.path().to_path_buf()) };
        for here in [root.path(), &models] {
            assert_eq!(model_folder(here, "net", None).unwrap(), expected);
        }
        assert_eq!(model_folder(root.path(), "other", Some(Path::new("model-import/models/net"))).unwrap(), expected);
        let elsewhere = model_folder(root.path(), "net", Some(Path::new("x/net"))).unwrap();
        assert_eq!(elsewhere, ModelFolder { folder: root.path().join("x/net"), checkout: None });
    }

    #[test]
    fn error_outside_a_checkout_names_the_remedies() {
        let elsewhere = tempfile::tempdir().unwrap();
        let message = model_folder(elsewhere.path(), "net", None).unwrap_err().to_string();
        assert!(message.contains("--out") && message.contains("git clone"), "{message}");
        let out = model_folder(elsewhere.path(), "net", Some(Path::new("net"))).unwrap();
        assert_eq!(out.checkout, None);
    }
}
