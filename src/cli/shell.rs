//! `kiln completions` and `kiln man`: what a shell and `man` are told of the command line.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Page;

/// The command that prints completions.
pub(super) fn completions() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new("completions")
        .about("Print what completes 'kiln' in a shell")
        .after_help(
            "Examples:\n  kiln completions bash > ~/.local/share/bash-completion/completions/kiln\n  \
             kiln completions zsh > ~/.zfunc/_kiln\n  kiln completions fish > ~/.config/fish/completions/kiln.fish",
        )
        .arg(shell)
}

/// The command that prints or writes manual pages.
pub(super) fn man() -> Command {
    let out = Arg::new("out")
        .long("out")
        .value_name("FOLDER")
        .help("Where kiln.1 goes, with a page for each command beside it")
        .value_parser(value_parser!(PathBuf));
    Command::new("man")
        .about("Print the manual page, or write those of all commands")
        .after_help("Example: kiln man --out ~/.local/share/man/man1, then man kiln-serve")
        .arg(out)
}

/// The completions of `whole` in the shell that was asked for.
pub(super) fn completion(matches: &ArgMatches, mut whole: Command) -> Page {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut whole, "kiln", &mut text);
    }
    Page { file: None, text: text_of(text) }
}

/// The manual of `whole`: its first page alone to be printed, or each with the file that it is for.
pub(super) fn manual(matches: &ArgMatches, mut whole: Command) -> Vec<Page> {
    let folder = matches.get_one::<PathBuf>("out");
    whole.build();
    let mut pages = Vec::new();
    add(&whole, folder.map(PathBuf::as_path), &mut pages);
    pages
}

fn add(command: &Command, folder: Option<&Path>, pages: &mut Vec<Page>) {
    let page = clap_mangen::Man::new(command.clone());
    let (mut text, name) = (Vec::new(), page.get_filename());
    page.render(&mut text).expect("memory takes all that is written to it");
    pages.push(Page { file: folder.map(|folder| folder.join(name)), text: text_of(text) });
    if folder.is_some() {
        let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
        inner.for_each(|inner| add(inner, folder, pages));
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("clap's words are UTF-8")
}
