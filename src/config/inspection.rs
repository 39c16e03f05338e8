//! The settings as `kiln doctor` needs them: one invalid setting does not hide the state of the others.

use std::path::PathBuf;

use super::settings::SETTINGS;
use super::{Config, Origin, SettingError, Sources};

/// Settings of which each names a file that must stay secret.
const SECRET_FILES: [&str; 2] = ["api-key-file", "tls-key"];

/// The settings that can be used, the errors of the others, and the paths of the files that they name.
#[derive(Debug)]
pub struct Inspection {
    /// The configuration. A setting with an error counts as not set.
    pub config: Config,
    /// The settings with an error.
    pub errors: Vec<SettingError>,
    /// Files that contain a secret.
    pub secret_files: Vec<SecretFile>,
    /// File of the TLS certificate.
    pub certificate: Option<PathBuf>,
}

/// A file that contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// The setting that names the file.
    pub flag: &'static str,
    /// Path of the file.
    pub path: PathBuf,
}

impl Inspection {
    /// Reads the settings as far as they are valid.
    pub fn of(sources: &Sources) -> Self {
        let (config, errors) = Config::read_valid(sources);
        let path =
            |key: &str| sources.get(key).filter(|(text, _)| !text.is_empty()).map(|(text, _)| PathBuf::from(text));
        let named = SECRET_FILES.into_iter().filter_map(|flag| Some(SecretFile { flag, path: path(flag)? }));
        let secrets = SETTINGS.iter().filter(|setting| setting.secret).filter_map(|setting| sources.get(setting.key));
        let config_file = secrets.filter_map(|(_, origin)| match origin {
            Origin::File(path) => Some(SecretFile { flag: "config", path: path.clone() }),
            _ => None,
        });
        let secret_files = named.chain(config_file.take(1)).collect();
        Self { config, errors, secret_files, certificate: path("tls-cert") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn inspect(flags: &[(&'static str, &str)], file: Option<&Path>) -> Inspection {
        let flags: BTreeMap<&'static str, String> = flags.iter().map(|(key, text)| (*key, text.to_string())).collect();
        Inspection::of(&Sources::gather(&flags, &|_: &str| None::<OsString>, file).unwrap())
    }

    #[test]
    fn every_invalid_setting_is_listed_and_the_others_are_read() {
        let inspection = inspect(
            &[
                ("threads", "none"),
                ("listen", "127.0.0.1:81"),
                ("api-key-file", "/no/such/file"),
                ("tls-cert", "c.pem"),
            ],
            None,
        );
        let keys: Vec<&str> = inspection.errors.iter().map(|error| error.key).collect();
        assert_eq!(keys, ["threads", "tls-cert", "api-key"]);
        assert!(inspection.errors[2].error.to_string().starts_with("--api-key-file '/no/such/file' cannot be read"));
        assert_eq!(inspection.config.server.listen.port(), 81);
        assert!(inspection.config.auth.api_key.is_none() && inspection.config.tls.is_none());
        assert_eq!(inspection.certificate, Some(PathBuf::from("c.pem")));
        assert!(inspect(&[], None).errors.is_empty());
    }

    #[test]
    fn files_with_secrets_are_listed_also_if_the_secret_is_in_the_configuration_file() {
        let flag = |flag, path: &str| SecretFile { flag, path: PathBuf::from(path) };
        let inspection = inspect(&[("api-key-file", "key.txt"), ("tls-key", "tls.pem")], None);
        assert_eq!(inspection.secret_files, [flag("api-key-file", "key.txt"), flag("tls-key", "tls.pem")]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "max-batch-size = 4").unwrap();
        assert!(inspect(&[], Some(file.path())).secret_files.is_empty());
        writeln!(file, "api-key = 'kiln_a-key-that-is-long-enough'").unwrap();
        let inspection = inspect(&[], Some(file.path()));
        assert_eq!(inspection.secret_files, [SecretFile { flag: "config", path: file.path().to_path_buf() }]);
    }
}
