//! The command's parts, as a library so that man pages, schemas and `--help` can be tested.
//!
//! `args` is what was typed, `context` what it means on this machine, `commands` one file a
//! verb, `output` how results look, `exit` what the exit codes mean. Nothing here decides
//! anything about images; that is the library's.

pub mod args;
pub mod commands;
mod context;
pub mod exit;
mod output;

use std::ffi::OsString;
use std::process::ExitCode;

use bound_images_lib::child::Interrupt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Args, Verbosity};
use crate::exit::Exit;
use crate::output::progress::Progress;

/// Runs the command line `arguments`, program name first.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::read(arguments) {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    // Before anything else is opened: a descriptor of our own must not pass for the caller's.
    let progress = match Progress::new(args.global.verbosity(), args.global.progress_fd) {
        Ok(progress) => progress,
        Err(problem) => return refuse(&Args::wrong_value(problem)),
    };
    start_logging(args.global.verbosity());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run_verb(&args, &progress));
        // After an interrupt a check of layers may still be reading; nobody waits for it.
        runtime.shutdown_background();
        result
    });
    let exit = result.unwrap_or_else(|error| {
        progress.finish();
        output::human::error(&error);
        Exit::of_error(&error)
    });
    exit.into()
}

/// Prints what is wrong with a command line, or the help that it asks for.
fn refuse(error: &clap::Error) -> ExitCode {
    // Help goes to stdout and is no error. A closed stream changes nothing about that.
    let _ = error.print();
    match error.use_stderr() {
        true => Exit::Usage.into(),
        false => Exit::Done.into(),
    }
}

async fn run_verb(args: &Args, progress: &Progress) -> anyhow::Result<Exit> {
    let (requester, interrupt) = Interrupt::new();
    let verb = commands::run(args, &interrupt, progress);
    if !args.verb.heeds_interrupt() {
        // It changes nothing and never waits, so nobody would hear of a signal that is caught.
        return verb.await;
    }
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    tokio::pin!(verb);
    loop {
        let [interrupted, terminated, hung_up] = &mut signals;
        tokio::select! {
            result = &mut verb => return result,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
        // The verb ends its podman, sweeps, and returns by itself.
        requester.send_replace(true);
    }
}

fn start_logging(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
