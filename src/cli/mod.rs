//! The command line: what was typed becomes a [`Command`]. Meaning is given to it in `config` and `app`.

mod arguments;
mod feedback;
mod finetune;
mod healthcheck;
mod import;
mod keygen;
mod models;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use crate::app::Checkup;
use crate::bench::Plan;
use crate::config::settings::SETTINGS;
use crate::config::{self, Config, ConfigError, Sources};
use crate::finetune::Plan as FinetunePlan;
use crate::import::Order as ImportOrder;
use crate::keys::Terms;
use crate::store::Order;

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// `kiln serve`, and plain `kiln`.
    Serve(Box<Config>),
    /// `kiln predict FILE...`
    Predict {
        /// The pictures.
        files: Vec<PathBuf>,
        /// How many classes to tell of each.
        top_k: usize,
        /// JSON lines instead of text.
        json: bool,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln bench`
    Bench {
        /// What to measure.
        plan: Plan,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln import MODEL.onnx`
    Import(Box<ImportOrder>),
    /// `kiln check`
    Check(Box<Config>),
    /// `kiln healthcheck`
    Healthcheck(Checkup),
    /// `kiln devices`
    Devices,
    /// `kiln keygen`, perhaps for a key file.
    Keygen(Option<Terms>),
    /// `kiln models WORD`
    Models {
        /// What is to be done.
        order: Order,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln finetune`
    Finetune {
        /// How to train, and on what.
        plan: FinetunePlan,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln feedback export`
    FeedbackExport {
        /// Where predictions were recorded.
        data: PathBuf,
        /// Where it goes.
        out: PathBuf,
        /// Which model it is about; all if absent.
        model: Option<String>,
        /// Also where something is already.
        force: bool,
    },
    /// `kiln feedback report`
    FeedbackReport {
        /// Where predictions were recorded.
        data: PathBuf,
        /// The page.
        out: PathBuf,
    },
    /// `kiln config check`, with its text.
    ConfigCheck(String),
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Exit {
    /// Help or version was asked for, or the words are wrong: clap prints it and knows the status.
    Clap(clap::Error),
    /// A value is wrong.
    Config(ConfigError),
}

/// Reads the arguments (without the program's name first) and the environment through `env`.
///
/// # Errors
///
/// See [`Exit`].
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Exit> {
    let matches = arguments::command().try_get_matches_from(arguments).map_err(Exit::Clap)?;
    match matches.subcommand() {
        Some(("devices", _)) => Ok(Command::Devices),
        Some(("healthcheck", inner)) => {
            healthcheck::checkup(inner, &gather(inner, env)?).map(Command::Healthcheck).map_err(Exit::Config)
        }
        Some(("import", inner)) => Ok(Command::Import(Box::new(import::order(inner)))),
        Some(("check", inner)) => {
            // What matters stands in the table.
            let sources = gather(inner, env)?.with_default("log-level", "warn");
            Ok(Command::Check(Box::new(Config::without_serving(&sources).map_err(Exit::Config)?)))
        }
        Some(("keygen", inner)) => keygen::terms(inner).map(Command::Keygen).map_err(Exit::Config),
        Some(("models", inner)) => {
            let (word, inner) = inner.subcommand().expect("clap asks for a word after 'models'");
            let config = Config::without_serving(&gather(inner, env)?).map_err(Exit::Config)?;
            Ok(Command::Models { order: models::order(word, inner), config: Box::new(config) })
        }
        Some(("finetune", inner)) => {
            // Lines of a log would come between the progress bar and who looks at it.
            let sources = gather(inner, env)?.with_default("log-level", "warn");
            let config = Config::without_serving(&sources).map_err(Exit::Config)?;
            Ok(Command::Finetune { plan: finetune::plan(inner), config: Box::new(config) })
        }
        Some(("config", inner)) => {
            let (_, check) = inner.subcommand().expect("clap asks for a word after 'config'");
            let sources = gather(check, env)?;
            Config::from_sources(&sources).map_err(Exit::Config)?;
            Ok(Command::ConfigCheck(config::report(&sources)))
        }
        Some(("predict", inner)) => {
            let config = Config::without_serving(&gather(inner, env)?).map_err(Exit::Config)?;
            Ok(Command::Predict {
                files: inner.get_many("files").map(|files| files.cloned().collect()).unwrap_or_default(),
                top_k: usize::from(inner.get_one::<u8>("top-k").copied().unwrap_or(5)),
                json: inner.get_flag("json"),
                config: Box::new(config),
            })
        }
        Some(("bench", inner)) => {
            // Lines of a log would come between the progress bar and who looks at it.
            let sources = gather(inner, env)?.with_default("log-level", "warn");
            let config = Config::without_serving(&sources).map_err(Exit::Config)?;
            Ok(Command::Bench { plan: plan(inner), config: Box::new(config) })
        }
        Some(("feedback", inner)) => feedback::command(inner, |inner| gather(inner, env)),
        Some((_, inner)) => serve(inner, env),
        None => serve(&matches, env),
    }
}

fn plan(matches: &ArgMatches) -> Plan {
    let numbers = |name: &str| {
        let given = matches.get_many::<u16>(name).into_iter().flatten();
        given.map(|number| usize::from(*number)).collect::<Vec<_>>()
    };
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    Plan {
        batch_sizes: numbers("batch"),
        concurrencies: if matches.get_flag("engine-only") { Vec::new() } else { numbers("concurrency") },
        time: Duration::from_secs(matches.get_one::<u16>("seconds").copied().unwrap_or(5).into()),
        images: path("images"),
        out: path("out").unwrap_or_default(),
    }
}

fn serve(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Command, Exit> {
    let config = Config::from_sources(&gather(matches, env)?).map_err(Exit::Config)?;
    Ok(Command::Serve(Box::new(config)))
}

/// Settings and where they come from.
fn gather(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Sources, Exit> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS {
        if let Ok(Some(text)) = matches.try_get_one::<String>(setting.key) {
            flags.insert(setting.key, text.clone());
        }
    }
    let variable = || env("KILN_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = matches.get_one::<PathBuf>("config").cloned().or_else(variable);
    Sources::gather(&flags, env, file.as_deref()).map_err(Exit::Config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Canary;

    fn typed(words: &[&str]) -> Result<Command, Exit> {
        let words = std::iter::once("kiln").chain(words.iter().copied()).map(OsString::from);
        parse(words, &|_: &str| None)
    }

    fn help(words: &[&str]) -> String {
        match typed(words) {
            Err(Exit::Clap(help)) => {
                assert_eq!(help.exit_code(), 0);
                help.to_string()
            }
            other => panic!("no help: {other:?}"),
        }
    }

    #[test]
    fn serve_is_what_kiln_does_and_flags_stand_with_or_without_the_word() {
        assert!(matches!(typed(&[]), Ok(Command::Serve(_))));
        for words in [&["--max-batch-size", "3"][..], &["serve", "--max-batch-size", "3"]] {
            let Ok(Command::Serve(config)) = typed(words) else { panic!("{words:?}") };
            assert_eq!(config.batching.max_batch_size, 3);
        }
    }

    #[test]
    fn the_help_teaches_every_setting_with_its_variable() {
        let help = help(&["serve", "--help"]);
        for setting in SETTINGS {
            assert!(help.contains(&setting.variable()), "{} is not in the help", setting.key);
        }
        assert!(!help.contains("--api-key <"), "secrets have no flag");
    }

    #[test]
    fn predict_takes_files_and_its_own_flags() {
        let Ok(Command::Predict { files, top_k, json, config }) =
            typed(&["predict", "a.jpg", "b.png", "--top-k", "3", "--json", "--device", "cpu"])
        else {
            panic!("not understood")
        };
        assert_eq!((files.len(), top_k, json), (2, 3, true));
        assert_eq!(config.inference.device, crate::inference::DeviceChoice::Cpu.into());
    }

    #[test]
    fn bench_takes_lists() {
        let words = ["bench", "--device", "cpu,vulkan", "--batch", "1,8", "--concurrency", "2", "--seconds", "1"];
        let Ok(Command::Bench { plan, config }) = typed(&words) else { panic!("not understood") };
        assert_eq!((plan.batch_sizes, plan.concurrencies), (vec![1, 8], vec![2]));
        assert_eq!((plan.time, plan.images), (Duration::from_secs(1), None));
        assert_eq!(config.inference.device.all().len(), 2);
        let Ok(Command::Bench { plan, .. }) = typed(&["bench", "--engine-only"]) else { panic!("not understood") };
        assert_eq!((plan.batch_sizes, plan.concurrencies), (vec![1, 2, 4, 8], vec![]));
        for words in [&["bench", "--batch", "0"][..], &["bench", "--batch", ""], &["bench", "--seconds", "0"]] {
            assert!(matches!(typed(words), Err(Exit::Clap(e)) if e.exit_code() == 2), "{words:?}");
        }
    }

    #[test]
    fn wrong_words_and_wrong_values_are_told_apart() {
        for words in [&["--no-such-flag"][..], &["no-such-word"], &["predict"], &["predict", "a", "--top-k", "0"]] {
            assert!(matches!(typed(words), Err(Exit::Clap(e)) if e.exit_code() == 2), "{words:?}");
        }
        assert!(matches!(typed(&["--device", "tpu"]), Err(Exit::Config(_))));
    }

    #[test]
    fn keygen_prints_a_key_or_terms_for_a_file() {
        assert!(matches!(typed(&["keygen"]), Ok(Command::Keygen(None))));
        let words = ["keygen", "--id", "app", "--scope", "predict,metrics", "--expires", "90d", "--queue-share", "0.5"];
        let Ok(Command::Keygen(Some(terms))) = typed(&words) else { panic!("not understood") };
        assert_eq!((terms.id.as_str(), terms.scopes.to_string().as_str()), ("app", "predict, metrics"));
        let left = terms.expires.unwrap().duration_since(std::time::SystemTime::now()).unwrap();
        assert_eq!(left.as_secs().div_ceil(24 * 60 * 60), 90);
        for (words, reason) in [
            (&["keygen", "--id", "a b"][..], "--id: id must have"),
            (&["keygen", "--id", "app", "--queue-share", "2"], "--queue-share: queue-share is 2"),
            (&["keygen", "--id", "app", "--expires", "soon"], "--expires: expires is 'soon'"),
            (&["keygen", "--id", "app", "--expires", "10000y"], "--expires: expires is more than a century"),
            (&["keygen", "--id", "app", "--expires", "9999999999999999999s"], "--expires: expires is more than"),
        ] {
            let Err(Exit::Config(refusal)) = typed(words) else { panic!("{words:?}") };
            assert!(refusal.to_string().starts_with(reason), "{refusal}");
        }
        for words in [&["keygen", "--scope", "predict"][..], &["keygen", "--id", "a", "--scope", "root"]] {
            assert!(matches!(typed(words), Err(Exit::Clap(e)) if e.exit_code() == 2), "{words:?}");
        }
    }

    #[test]
    fn healthcheck_asks_where_the_server_listens() {
        let words = ["healthcheck", "--live", "--timeout", "1s", "--listen", "0.0.0.0:81"];
        let Ok(Command::Healthcheck(checkup)) = typed(&words) else { panic!("not understood") };
        let (listen, timeout) = ("0.0.0.0:81".parse().unwrap(), Duration::from_secs(1));
        assert_eq!(checkup, Checkup { listen, encrypted: false, live: true, timeout });
        let Ok(Command::Healthcheck(checkup)) = typed(&["healthcheck", "--tls-cert", "nowhere"]) else { panic!() };
        assert!(checkup.encrypted && !checkup.live && checkup.listen.port() == 8080);
    }

    #[test]
    fn check_takes_a_model_and_devices() {
        let Ok(Command::Check(config)) = typed(&["check", "--device", "cpu"]) else { panic!("not understood") };
        assert_eq!((config.inference.device.all().len(), config.model), (1, None));
    }

    #[test]
    fn models_takes_a_word_and_what_belongs_to_it() {
        let order = |words: &[&str]| match typed(&[&["models"], words].concat()) {
            Ok(Command::Models { order, .. }) => order,
            other => panic!("{words:?}: {other:?}"),
        };
        let (model, version) = ("m".to_string(), "2".to_string());
        assert_eq!(order(&["list"]), Order::List);
        let file = PathBuf::from("w.bpk");
        let add = Order::Add { model: model.clone(), file: file.clone(), version: None };
        assert_eq!(order(&["add", "m", "w.bpk", "--model-store", "s"]), add);
        let export = Order::Export { model: model.clone(), version: Some(version.clone()), out: file };
        assert_eq!(order(&["export", "m", "--version", "2", "--out", "w.bpk"]), export);
        assert_eq!(order(&["promote", "m", "2"]), Order::Promote { model: model.clone(), version: version.clone() });
        let canary = |canary| Order::Canary { model: model.clone(), canary };
        let some = |share| canary(Some(Canary { version: version.clone(), share }));
        assert_eq!(order(&["canary", "m", "2"]), some(0.1));
        assert_eq!(order(&["canary", "m", "2", "--share", "25%"]), some(0.25));
        assert_eq!(order(&["canary", "m", "--off"]), canary(None));
        assert_eq!(order(&["shadow", "m", "--off"]), Order::Shadow { model: model.clone(), version: None });
        for words in [&["models"][..], &["models", "canary", "m"], &["models", "canary", "m", "2", "--share", "2"]] {
            assert!(matches!(typed(words), Err(Exit::Clap(e)) if e.exit_code() == 2), "{words:?}");
        }
    }

    #[test]
    fn feedback_needs_to_know_where_it_is() {
        let words = ["feedback", "export", "--data-dir", "data", "--out", "set", "--model", "cat", "--force"];
        let Ok(Command::FeedbackExport { data, out, model, force }) = typed(&words) else { panic!("not understood") };
        assert_eq!((data, out), (PathBuf::from("data"), PathBuf::from("set")));
        assert_eq!((model.as_deref(), force), (Some("cat"), true));
        let Ok(Command::FeedbackReport { data, out }) = typed(&["feedback", "report", "--data-dir", "data"]) else {
            panic!("not understood")
        };
        assert_eq!((data, out), (PathBuf::from("data"), PathBuf::from("report.html")));
        let Err(Exit::Config(refusal)) = typed(&["feedback", "report"]) else { panic!("it was not missed") };
        assert!(refusal.to_string().contains("--data-dir"), "{refusal}");
        for words in [&["feedback"][..], &["feedback", "export", "--data-dir", "data"]] {
            assert!(matches!(typed(words), Err(Exit::Clap(e)) if e.exit_code() == 2), "{words:?}");
        }
    }

    #[test]
    fn config_check_reports() {
        let Ok(Command::ConfigCheck(report)) = typed(&["config", "check", "--grace", "5s"]) else { panic!() };
        assert!(report.lines().any(|line| line.starts_with("grace") && line.ends_with("--grace")), "{report}");
    }
}
