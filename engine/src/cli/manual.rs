//! `ticklake completions` and `ticklake man`: print what shells and `man` need to know of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

const NAME: &str = "ticklake";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ticklake completions bash > ~/.local/share/bash-completion/completions/ticklake
  ticklake completions zsh > ~/.zfunc/_ticklake
  ticklake completions fish > ~/.config/fish/completions/ticklake.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  ticklake man | man -l -
  ticklake man --dir ~/.local/share/man/man1";

/// Prints the completions for `shell`.
pub fn completions(shell: Shell) -> anyhow::Result<bool> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    io::stdout().write_all(&script).context("failed to print the completions")?;
    Ok(true)
}

/// Prints the manual page of `ticklake`, or writes the pages of all commands into `dir`.
pub fn man(dir: Option<&Path>) -> anyhow::Result<bool> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).context("failed to make the manual page")?;
        io::stdout().write_all(&page).context("failed to print the manual page")?;
        return Ok(true);
    };
    let context = || format!("failed to write manual pages into {}", dir.display());
    fs::create_dir_all(dir).with_context(context)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(context)?;
    Ok(true)
}
