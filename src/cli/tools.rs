//! Arguments of the small tools: `kiln healthcheck`, `kiln doctor`, `kiln keygen`, `kiln completions` and `kiln man`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use kiln_server::auth::{self, KeyPolicy, Priority, Scope, Scopes};

use super::Page;
use super::flags::{model_paths, with_settings};
use crate::config::{CENTURY, ConfigError, Healthcheck, Inspection, Sources};

/// Timeout of `kiln healthcheck` if `--timeout` is absent.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// Defines `kiln healthcheck`.
pub(super) fn healthcheck_command() -> Command {
    let live = Arg::new("live")
        .long("live")
        .help("Succeeds if the server is alive, even while it starts or drains.")
        .action(ArgAction::SetTrue);
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("TIME")
        .help("Maximum time until the response.")
        .default_value("3s")
        .value_parser(|text: &str| humantime::parse_duration(text).map_err(|error| error.to_string()));
    let command = Command::new("healthcheck")
        .about("Check whether the server of this machine is ready: exit status 0 if it is, 1 otherwise")
        .after_help(
            "The request goes to the address on which 'kiln serve' with the same settings listens.\n\n\
             Example: kiln healthcheck --timeout 1s",
        )
        .args([live, timeout]);
    with_settings(command, |setting| matches!(setting.key, "listen" | "tls-cert"))
}

/// Returns the request of `kiln healthcheck`.
///
/// # Errors
///
/// Returns an error if the address of the server does not parse.
pub(super) fn healthcheck(matches: &ArgMatches, sources: &Sources) -> Result<Healthcheck, ConfigError> {
    let timeout = matches.get_one("timeout").copied().unwrap_or(DEFAULT_TIMEOUT);
    Healthcheck::from_sources(sources, matches.get_flag("live"), timeout)
}

/// Defines `kiln doctor`.
pub(super) fn doctor_command() -> Command {
    let json = Arg::new("json").long("json").help("Prints a JSON array.").action(ArgAction::SetTrue);
    let command = Command::new("doctor")
        .about("Check whether this machine and these settings suit a server, and name the fix of each problem")
        .after_help(
            "Takes the arguments and settings of 'kiln serve'. The exit status is 0 if nothing is a problem, 1 otherwise; warnings \
             do not count.\n\nExample: kiln doctor --listen 0.0.0.0:443 --keys keys.toml",
        )
        .args([json, model_paths()]);
    with_settings(command, |_| true)
}

/// Returns the parsed `kiln doctor`.
pub(super) fn doctor(matches: &ArgMatches, sources: &Sources) -> super::Command {
    super::Command::Doctor { inspection: Box::new(Inspection::of(sources)), json: matches.get_flag("json") }
}

/// Defines `kiln keygen`.
pub(super) fn keygen_command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).requires("id")
    };
    let id = Arg::new("id")
        .long("id")
        .value_name("NAME")
        .help("Prints an entry for the key file of --keys, for a key of this name.");
    let scope = option("scope", "SCOPE", "Scopes of the key: predict, feedback, metrics, admin [default: predict].")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .value_parser(
            PossibleValuesParser::new(Scopes::all().iter().map(Scope::as_str)).try_map(|text| text.parse::<Scope>()),
        )
        .hide_possible_values(true);
    let expires = option(
        "expires",
        "WHEN",
        "Expiry of the key: 2027-01-31, 2027-01-31T12:00:00Z, or a time from now such as 90d.",
    );
    let per_second = option("requests-per-second", "N", "Rate limit of the key.").value_parser(value_parser!(f64));
    let burst = option("burst", "N", "Maximum number of requests at once [default: the requests of one second].")
        .requires("requests-per-second")
        .value_parser(value_parser!(NonZeroU32));
    let share =
        option("queue-share", "FRACTION", "Fraction of the queue that the images of this key may take, such as 0.5.")
            .value_parser(value_parser!(f64));
    let priority =
        option("priority", "PRIORITY", "Scheduling priority of its images: high, normal or low [default: normal].")
            .value_parser(
                PossibleValuesParser::new(Priority::ALL.map(Priority::as_str)).try_map(|text| text.parse::<Priority>()),
            )
            .hide_possible_values(true);
    Command::new("keygen")
        .about("Print a new API key, or an entry for a key file")
        .after_help(
            "With --id, the entry goes to standard output, and the key itself to standard error. Kiln stores the key nowhere.\n\n\
             Example: kiln keygen --id mobile-app --scope predict >> keys.toml",
        )
        .args([id, scope, expires, per_second, burst, share, priority])
}

/// Returns the policy of a key for a key file, or `None` without `--id`.
///
/// # Errors
///
/// Returns the first invalid value with its flag.
pub(super) fn key_policy(matches: &ArgMatches) -> Result<Option<KeyPolicy>, ConfigError> {
    let Some(id) = matches.get_one::<String>("id") else { return Ok(None) };
    let error = |flag: &'static str| move |reason: String| ConfigError(format!("--{flag}: {reason}"));
    auth::check_key_id(id).map_err(error("id"))?;
    let scopes: Scopes = matches.get_many::<Scope>("scope").into_iter().flatten().copied().collect();
    let expires =
        matches.get_one::<String>("expires").map(|text| expiry(text)).transpose().map_err(error("expires"))?;
    let number = |name: &str| matches.get_one::<f64>(name).copied();
    let burst = matches.get_one::<NonZeroU32>("burst").copied();
    let rate_limit = auth::RateLimit::from_settings(number("requests-per-second"), burst);
    let queue_share = number("queue-share");
    queue_share.map_or(Ok(()), auth::check_queue_share).map_err(error("queue-share"))?;
    Ok(Some(KeyPolicy {
        id: id.clone(),
        scopes: if scopes.is_empty() { [Scope::Predict].into_iter().collect() } else { scopes },
        expires,
        rate_limit: rate_limit.map_err(error("requests-per-second"))?,
        queue_share,
        priority: matches.get_one::<Priority>("priority").copied().unwrap_or_default(),
    }))
}

/// Parses a date, or a time from now.
fn expiry(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= CENTURY => Ok(SystemTime::now() + time),
        Ok(_) => Err("expires is more than a century away; omit it for a key that does not expire".to_string()),
        Err(_) => auth::parse_expiry(text),
    }
}

/// Defines `kiln completions`.
pub(super) fn completions_command() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new("completions")
        .about("Print the completion script of a shell")
        .after_help(
            "Examples:\n  kiln completions bash > ~/.local/share/bash-completion/completions/kiln\n  \
             kiln completions zsh > ~/.zfunc/_kiln\n  kiln completions fish > ~/.config/fish/completions/kiln.fish",
        )
        .arg(shell)
}

/// Defines `kiln man`.
pub(super) fn man_command() -> Command {
    let out = Arg::new("out")
        .long("out")
        .value_name("FOLDER")
        .help("Folder for kiln.1 and one page per command.")
        .value_parser(value_parser!(PathBuf));
    Command::new("man")
        .about("Print the manual page, or write the pages of all commands")
        .after_help("Example: kiln man --out ~/.local/share/man/man1, then man kiln-serve")
        .arg(out)
}

/// Returns the completion script of `program` for the requested shell.
pub(super) fn completions(matches: &ArgMatches, mut program: Command) -> Page {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut program, "kiln", &mut text);
    }
    Page { file: None, text: utf8(text) }
}

/// Returns the manual page of `program` to print, or with `--out` a page per command and its file.
pub(super) fn manual_pages(matches: &ArgMatches, mut program: Command) -> Vec<Page> {
    let folder = matches.get_one::<PathBuf>("out");
    program.build();
    let mut pages = Vec::new();
    add_page(&program, folder.map(PathBuf::as_path), &mut pages);
    pages
}

fn add_page(command: &Command, folder: Option<&Path>, pages: &mut Vec<Page>) {
    let page = clap_mangen::Man::new(command.clone());
    let (mut text, name) = (Vec::new(), page.get_filename());
    page.render(&mut text).expect("writing to memory cannot fail");
    pages.push(Page { file: folder.map(|folder| folder.join(name)), text: utf8(text) });
    if folder.is_some() {
        let subcommands = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
        subcommands.for_each(|subcommand| add_page(subcommand, folder, pages));
    }
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("clap writes UTF-8")
}
