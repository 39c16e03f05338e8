//! Environment variables that look like settings but are none, most likely because of a typing error.

use std::ffi::OsString;

use super::settings::SETTINGS;
use super::sources::nearest_setting;

/// Prefix of every variable of a setting.
const PREFIX: &str = "KILN_";
/// The variable that names the configuration file, which is no setting.
const CONFIG: &str = "KILN_CONFIG";
/// Prefixes of variables that only the tests and the benchmarks of the project read.
const DEVELOPMENT: [&str; 2] = ["KILN_TEST_", "KILN_BENCH_"];

/// Returns a warning for each variable that begins with `KILN_` and is not a setting. The warnings do not contain values.
pub fn unknown_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let variables = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let unknown = variables.filter(|(name, value)| {
        name.starts_with(PREFIX) && !is_known(name) && !is_from_kubernetes(name, &value.to_string_lossy())
    });
    let mut warnings: Vec<String> = unknown.map(|(name, _)| warning(&name)).collect();
    warnings.sort();
    warnings
}

fn is_known(name: &str) -> bool {
    name == CONFIG
        || DEVELOPMENT.iter().any(|prefix| name.starts_with(prefix))
        || SETTINGS.iter().any(|setting| setting.variable() == name)
}

/// Returns whether Kubernetes sets the variable: a Service with the name `kiln` adds `KILN_SERVICE_HOST`, `KILN_PORT` and
/// others to every pod of its namespace.
fn is_from_kubernetes(name: &str, value: &str) -> bool {
    let has_protocol = ["tcp://", "udp://", "sctp://"].iter().any(|protocol| value.starts_with(protocol));
    let after_port = name.split("_PORT_").nth(1).unwrap_or_default();
    has_protocol
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || after_port.starts_with(|c: char| c.is_ascii_digit())
}

fn warning(name: &str) -> String {
    let own = name.strip_prefix(PREFIX).unwrap_or(name);
    let conventional = SETTINGS.iter().filter_map(|setting| setting.conventional).find(|other| *other == own);
    let key = own.to_lowercase().replace('_', "-");
    match (conventional, nearest_setting(&key)) {
        (Some(other), _) => format!("{name} is not a setting; did you mean {other}?"),
        (None, Some(setting)) => format!("{name} is not a setting; did you mean {}?", setting.variable()),
        (None, None) => format!("{name} is not a setting; 'kiln serve --help' lists the variables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
        unknown_variables(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn misspelt_variable_is_reported_with_the_nearest_setting_and_without_its_value() {
        assert_eq!(
            warnings(&[("KILN_MAX_BATCHSIZE", "8"), ("KILN_APIKEY", "hunter2")]),
            [
                "KILN_APIKEY is not a setting; did you mean KILN_API_KEY?",
                "KILN_MAX_BATCHSIZE is not a setting; did you mean KILN_MAX_BATCH_SIZE?"
            ]
        );
        assert_eq!(warnings(&[("KILN_PORT", "8080")]), ["KILN_PORT is not a setting; did you mean PORT?"]);
        // Half of the word would have to change.
        assert!(warnings(&[("KILN_MODS", "cat")])[0].ends_with("'kiln serve --help' lists the variables"));
        let unlike_any = warnings(&[("KILN_COLOUR_OF_THE_ROOF", "red")]);
        assert_eq!(unlike_any, ["KILN_COLOUR_OF_THE_ROOF is not a setting; 'kiln serve --help' lists the variables"]);
    }

    #[test]
    fn settings_and_variables_of_other_programs_are_not_reported() {
        let settings: Vec<String> = SETTINGS.iter().map(|setting| setting.variable()).collect();
        let settings: Vec<(&str, &str)> = settings.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(warnings(&settings).is_empty());
        assert!(warnings(&[("KILN_CONFIG", "kiln.toml"), ("KILN_TEST_PYTHON", "python"), ("PATH", "/bin")]).is_empty());
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_not_reported() {
        let service = [
            ("KILN_SERVICE_HOST", "10.0.0.1"),
            ("KILN_SERVICE_PORT", "80"),
            ("KILN_SERVICE_PORT_HTTP", "80"),
            ("KILN_PORT", "tcp://10.0.0.1:80"),
            ("KILN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("KILN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("KILN_PORT_80_TCP_PROTO", "tcp"),
            ("KILN_CANARY_SERVICE_HOST", "10.0.0.2"),
        ];
        assert!(warnings(&service).is_empty());
    }
}
