//! Where the build finds its models: `model-import/models` of a checkout of Kiln, looked for upwards from here.

use std::path::{Path, PathBuf};

/// A model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder to make.
    pub folder: PathBuf,
    /// The checkout whose builds will find it there, if one will.
    pub checkout: Option<PathBuf>,
}

/// There is no checkout here.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{} is in no checkout of Kiln, whose build turns models into code. Run this in one (git clone, then cd), or say with --out \
     where the model's folder is to go.",
    .0.display()
)]
pub struct NoCheckout(pub PathBuf);

/// The folder of the model `name`, for who works in `here`; `out` names another one.
///
/// # Errors
///
/// There is neither an `out` nor a checkout.
pub fn place(here: &Path, name: &str, out: Option<&Path>) -> Result<Place, NoCheckout> {
    let is_checkout =
        |folder: &&Path| folder.join("model-import/models").is_dir() && folder.join("Cargo.toml").is_file();
    match out {
        None => {
            let checkout = here.ancestors().find(is_checkout).ok_or_else(|| NoCheckout(here.to_path_buf()))?;
            let folder = checkout.join("model-import/models").join(name);
            Ok(Place { folder, checkout: Some(checkout.to_path_buf()) })
        }
        Some(out) => {
            let folder = here.join(out);
            let checkout = folder.ancestors().nth(3).filter(is_checkout);
            let checkout = checkout.filter(|checkout| folder.parent() == Some(&checkout.join("model-import/models")));
            Ok(Place { checkout: checkout.map(Path::to_path_buf), folder })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_found_from_anywhere_inside_it() {
        let root = tempfile::tempdir().unwrap();
        let models = root.path().join("model-import/models");
        std::fs::create_dir_all(&models).unwrap();
        std::fs::write(root.path().join("Cargo.toml"), "").unwrap();
        let expected = Place { folder: models.join("net"), checkout: Some(root.path().to_path_buf()) };
        for here in [root.path(), &models] {
            assert_eq!(place(here, "net", None).unwrap(), expected);
        }
        assert_eq!(place(root.path(), "other", Some(Path::new("model-import/models/net"))).unwrap(), expected);
        let elsewhere = place(root.path(), "net", Some(Path::new("x/net"))).unwrap();
        assert_eq!(elsewhere, Place { folder: root.path().join("x/net"), checkout: None });
    }

    #[test]
    fn elsewhere_the_way_out_is_told() {
        let elsewhere = tempfile::tempdir().unwrap();
        let told = place(elsewhere.path(), "net", None).unwrap_err().to_string();
        assert!(told.contains("--out") && told.contains("git clone"), "{told}");
        let out = place(elsewhere.path(), "net", Some(Path::new("net"))).unwrap();
        assert_eq!(out.checkout, None);
    }
}
