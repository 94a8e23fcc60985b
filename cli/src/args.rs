//! The command line as it was typed.

use std::ffi::OsString;

use camino::Utf8PathBuf;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands::{check, list, plan, prune, pull};

/// Keep the app images that an OS image names present, verified and pruned
///
/// An image-based OS names its app images in /usr/lib/bootc/bound-images.d,
/// as links to podman quadlets. bound-images pulls them into a container
/// store of their own, so that an OS is only booted when its apps are there,
/// and removes them when no OS needs them any more.
#[derive(Debug, Parser)]
#[command(name = "bound-images", version, after_long_help = crate::exit::HELP)]
pub struct Args {
    /// Options of every verb.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Use the store of the sysroot DIR
    #[arg(long, global = true, value_name = "DIR", default_value = "/sysroot")]
    pub sysroot: Utf8PathBuf,

    /// Look for auth files and podman's main store in DIR as well
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub current_root: Utf8PathBuf,

    /// Print results in this format [default: table]
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,

    /// Print results as JSON; the same as --format json
    #[arg(long, global = true)]
    pub json: bool,

    /// Print no progress, only results, warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say more: credentials' files, declarations, what podman is called with
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Write progress as JSON lines to the open descriptor N, a pipe or a file
    #[arg(long, global = true, value_name = "N")]
    pub progress_fd: Option<u32>,

    /// Fail at once when another run holds the lock, instead of waiting
    #[arg(long, global = true)]
    pub no_wait: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "clap would show it instead of the text of the verb's own options"
)]
pub enum Verb {
    List(list::ListArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Pull(pull::PullArgs),
    Prune(prune::PruneArgs),
}

/// A format for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Progress and warnings.
    Normal,
    /// Everything.
    Verbose,
}

impl Args {
    /// Reads a command line, program name first.
    ///
    /// Options that exclude each other are found here: clap's own `conflicts_with` sees only
    /// those on the same side of the verb.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = Self::try_parse_from(arguments)?;
        let global = &args.global;
        for (excluded, options) in [
            (
                global.json && global.format.is_some(),
                "--json and --format",
            ),
            (global.quiet && global.verbose, "--quiet and --verbose"),
        ] {
            if excluded {
                let message = format!("{options} cannot be used together");
                return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
            }
        }
        Ok(args)
    }

    /// The error of a value that turns out to be wrong when it is used.
    pub(crate) fn wrong_value(message: String) -> clap::Error {
        Self::command().error(ErrorKind::ValueValidation, message)
    }
}

impl Verb {
    /// Whether the verb looks for an interrupt and ends by itself in good order.
    pub(crate) fn heeds_interrupt(&self) -> bool {
        match self {
            Self::Pull(_) => true,
            Self::Prune(prune) => !prune.dry_run,
            Self::List(_) | Self::Check(_) | Self::Plan(_) => false,
        }
    }
}

impl GlobalArgs {
    /// The format in force.
    pub fn effective_format(&self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format.unwrap_or(Format::Table),
        }
    }

    /// How much to say.
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_exclude_each_other_are_refused_on_either_side_of_the_verb() {
        for (line, want) in [
            ("x --json check --root /", true),
            ("x check --root / --format table", true),
            ("x --json check --root / --format table", false),
            ("x --format json check --root / --json", false),
            ("x check --root / --json --format json", false),
            ("x -q check --root / -v", false),
            ("x check --root / -q -v", false),
        ] {
            let read = Args::read(line.split(' ').map(OsString::from));
            assert_eq!(read.is_ok(), want, "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_its_help_fits_80_columns() {
        let mut command = Args::command().term_width(80);
        command.clone().debug_assert();
        command.build();
        let names: Vec<String> = command
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        let mut helps = vec![command.render_long_help()];
        for name in names {
            let verb = command.find_subcommand_mut(&name).expect("it was listed");
            helps.extend([verb.render_help(), verb.render_long_help()]);
        }
        for help in helps {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line:?}");
            }
        }
    }
}
