//! Reads the command line, runs the command, turns its end into an exit status.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use kiln::app;
use kiln::cli::{self, Command, Exit, Page};
use kiln_server::auth as keys;

fn main() -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    match cli::parse(std::env::args_os(), &env) {
        Ok(command) => run(command),
        Err(Exit::Clap(error)) => {
            // If nobody can be told, there is nobody to tell.
            let _ = error.print();
            ExitCode::from(error.exit_code() as u8)
        }
        Err(Exit::Config(error)) => fail(2, &error),
    }
}

fn run(command: Command) -> ExitCode {
    if let Command::Serve(config)
    | Command::Predict { config, .. }
    | Command::Bench { config, .. }
    | Command::Check(config)
    | Command::Finetune { config, .. } = &command
    {
        // Before there is a second thread.
        app::keep_caches(config);
    }
    let outcome: Result<(), Box<dyn std::error::Error>> = match command {
        Command::Serve(config) => block_on(app::serve(*config)).map_err(Into::into),
        Command::Predict { files, top_k, json, config } => {
            block_on(app::predict(*config, files, top_k, json)).map_err(Into::into)
        }
        Command::Bench { plan, config } => match block_on(app::bench(*config, plan)) {
            Ok(table) => print(&table),
            Err(error) => Err(error.into()),
        },
        Command::Import(order) => match app::import(&order) {
            Err(error) => return fail(error.exit_status(), &error),
            Ok(()) => Ok(()),
        },
        Command::Check(config) => block_on(app::check(*config)).map_err(Into::into),
        Command::Finetune { plan, config } => block_on(app::finetune(*config, plan)).map_err(Into::into),
        Command::Healthcheck(checkup) => app::healthcheck(checkup).map_err(Into::into),
        Command::Devices => print(&app::devices()),
        Command::Keygen(None) => print(&format!("{}\n", keys::ApiKey::generate().expose())),
        Command::Keygen(Some(terms)) => {
            let (key, entry) = app::keygen(terms);
            // Only here: the entry goes to a file.
            eprintln!("{key}");
            print(&entry)
        }
        Command::FeedbackExport { data, out, model, force } => {
            match app::export(&data, &out, model.as_deref(), force) {
                Ok(told) => print(&told),
                Err(error) => Err(error.into()),
            }
        }
        Command::FeedbackReport { data, out } => match app::report(&data, &out) {
            Ok(told) => print(&told),
            Err(error) => Err(error.into()),
        },
        Command::Models { order, config } => match app::models(order, &config) {
            Ok(done) => print(&done),
            Err(error) => Err(error.into()),
        },
        Command::ConfigCheck(report) => print(&report),
        Command::Print(pages) => pages.iter().try_for_each(show),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error.as_ref()),
    }
}

fn block_on<T>(command: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system has threads to give at start");
    let outcome = runtime.block_on(command);
    // A model that is still being loaded must not hold up a process that was told to stop.
    runtime.shutdown_background();
    outcome
}

/// Prints without the panic that `print!` has for a closed pipe.
fn print(text: &str) -> Result<(), Box<dyn std::error::Error>> {
    Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?)
}

/// Prints a page, or writes it to its file.
fn show(page: &Page) -> Result<(), Box<dyn std::error::Error>> {
    let Page { file: Some(file), text } = page else { return print(&page.text) };
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| std::fs::write(file, text));
    Ok(written.map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Tells an error and its causes in one line.
fn fail(status: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Transparent errors repeat their cause's text.
        if !sentence.contains(&inner.to_string()) {
            sentence.push_str(&format!(": {inner}"));
        }
        cause = inner.source();
    }
    // Names out of files may be part of it.
    eprintln!("kiln: {}", app::terminal_text(&sentence));
    ExitCode::from(status)
}
