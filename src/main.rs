//! Parses the command line, runs the command, and turns its result into an exit status.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use kiln::app::{self, PredictError, print_error};
use kiln::cli::{self, CliError, Command, Page};
use kiln::config;
use kiln_server::auth::ApiKey;

/// A failed command: its exit status and the message for standard error.
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// Exit status for an operation that failed.
    const FAILED: u8 = 1;
    /// Exit status for invalid arguments and settings, as clap has it.
    const USAGE: u8 = 2;

    /// Joins the messages of an error and its causes with colons.
    fn new(status: u8, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // A transparent error repeats the message of its cause.
            if !message.contains(&inner.to_string()) {
                message.push_str(&format!(": {inner}"));
            }
            cause = inner.source();
        }
        Self { status, message }
    }
}

/// Returns the failure of `kiln predict`. A closed pipe has no message, as in other programs.
fn predict_failure(error: &PredictError) -> Failure {
    let failure = Failure::new(error.exit_status(), error);
    if matches!(error, PredictError::ClosedPipe) { Failure { message: String::new(), ..failure } } else { failure }
}

/// Every error of a command is a failure with status 1.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Self::FAILED, &error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message may contain names from files, and a terminal would execute their escape sequences.
        write!(f, "kiln: {}", app::terminal_text(&self.message))
    }
}

fn main() -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let result = match cli::parse(std::env::args_os(), &env) {
        Ok(command) => run(command),
        Err(CliError::Clap(error)) => {
            // Nothing else can be done if standard error is closed.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
        Err(CliError::Config(error)) => Err(Failure::new(Failure::USAGE, &error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                print_error(&failure);
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    if let Command::Serve(config)
    | Command::Predict { config, .. }
    | Command::Bench { config, .. }
    | Command::Check(config)
    | Command::Finetune { config, .. } = &command
    {
        // It sets environment variables, so it runs before the process has a second thread.
        app::keep_caches(config);
    }
    match command {
        Command::Serve(config) => block_on(app::serve(*config)),
        Command::Predict { request, config } => {
            block_on(async { app::predict(*config, request).await.map_err(|error| predict_failure(&error)) })
        }
        Command::Bench { plan, config } => print(&block_on(app::bench(*config, plan))?),
        Command::Import(order) => app::import(&order).map_err(|error| Failure::new(error.exit_status(), &error)),
        Command::Check(config) => block_on(app::check(*config)),
        Command::Finetune { options, config } => block_on(app::finetune(*config, options)),
        Command::Inspect { path, config } => print(&app::inspect(&path, &config)?),
        Command::Healthcheck(request) => Ok(app::healthcheck(request)?),
        Command::Devices => print(&app::devices()),
        Command::Doctor { inspection, json } => {
            let report = app::doctor(&inspection);
            print(&if json { report.json() } else { report.text() })?;
            match report.problems() {
                0 => Ok(()),
                problems => Err(Failure {
                    status: Failure::FAILED,
                    message: format!("problems found: {problems}. The line below each problem names its fix."),
                }),
            }
        }
        Command::Keygen(None) => print(&format!("{}\n", ApiKey::generate().expose())),
        Command::Keygen(Some(policy)) => {
            let (key, entry) = app::keygen(policy);
            // Standard output is the entry alone, since users append it to a key file.
            writeln!(std::io::stderr(), "{key}")?;
            print(&entry)
        }
        Command::FeedbackExport { data, out, model, force } => {
            print(&app::export_feedback(&data, &out, model.as_deref(), force)?)
        }
        Command::FeedbackReport { data, out } => print(&app::report_feedback(&data, &out)?),
        Command::Models { order, config } => print(&app::models(order, &config)?),
        Command::ConfigCheck(report) => {
            for warning in config::unknown_variables(std::env::vars_os()) {
                print_error(format_args!("kiln: warning: {warning}"));
            }
            print(&report)
        }
        Command::Print(pages) => pages.iter().try_for_each(print_page),
    }
}

fn block_on<T, E>(command: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    Failure: From<E>,
{
    let refused = |error: std::io::Error| Failure {
        status: Failure::FAILED,
        message: format!(
            "the operating system refuses a thread: {error}. Raise the limit on threads: 'ulimit -u', or the limit on \
             processes of the container."
        ),
    };
    app::check_thread_limit().map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(refused)?;
    let output = runtime.block_on(command);
    // Do not wait for a model that still loads on a blocking thread.
    runtime.shutdown_background();
    Ok(output?)
}

/// Prints text. In contrast to `print!`, a closed pipe is an error, not a panic.
fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// Prints a page, or writes it to its file.
fn print_page(page: &Page) -> Result<(), Failure> {
    let Some(file) = &page.file else { return print(&page.text) };
    let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(file, &page.text));
    written.map_err(|error| Failure { status: Failure::FAILED, message: format!("{}: {error}", file.display()) })
}
