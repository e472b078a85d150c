//! `tidegate completions`: what a shell needs to complete the command's words.

use std::io::Write;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

const LONG_ABOUT: &str = "\
Prints a script by which a shell completes subcommands, flags and their values.

  source <(tidegate completions bash)                                           # this shell
  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate
  tidegate completions zsh > ~/.zfunc/_tidegate                                 # with ~/.zfunc in $fpath
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish";

pub(crate) fn command() -> Command {
    Command::new("completions").about("Prints completions for a shell").long_about(LONG_ABOUT).arg(
        Arg::new("shell")
            .required(true)
            .value_name("SHELL")
            .value_parser(clap::value_parser!(Shell))
            .help("Which shell"),
    )
}

/// Prints the completions of `whole`, the command with all its subcommands.
pub(crate) fn run(arguments: &ArgMatches, mut whole: Command) -> anyhow::Result<()> {
    let shell = *arguments.get_one::<Shell>("shell").expect("clap requires it");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, "tidegate", &mut script);
    match std::io::stdout().lock().write_all(&script) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}
