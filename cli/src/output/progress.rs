//! Progress on stderr: a spinner on a terminal, lines elsewhere, JSON lines on request.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use bound_images_lib::model::{Event, Reporter};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::events::EventLines;
use super::human::short_name;
use crate::args::Verbosity;

const SPINNER_INTERVAL: Duration = Duration::from_millis(120);

/// Shows what happens.
pub(crate) struct Progress {
    verbosity: Verbosity,
    spinner: Option<ProgressBar>,
    events: Option<RefCell<EventLines>>,
}

impl Progress {
    /// Progress at `verbosity`; with `progress_fd` every event goes there as a line of JSON too.
    ///
    /// Says what is wrong with the descriptor when no events can be written to it.
    pub(crate) fn new(verbosity: Verbosity, progress_fd: Option<u32>) -> Result<Self, String> {
        let events = progress_fd.map(EventLines::open).transpose()?;
        let is_shown = verbosity == Verbosity::Normal && io::stderr().is_terminal();
        Ok(Self {
            verbosity,
            spinner: is_shown.then(spinner),
            events: events.map(RefCell::new),
        })
    }

    /// Leaves the terminal as it was, before results are printed.
    pub(crate) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        // Where stderr is closed there is nobody to tell.
        let print = || {
            let _ = writeln!(io::stderr().lock(), "{text}");
        };
        match &self.spinner {
            Some(spinner) => spinner.suspend(print),
            None => print(),
        }
    }

    fn step(&self, text: String) {
        match &self.spinner {
            Some(spinner) => {
                spinner.set_message(text);
                spinner.enable_steady_tick(SPINNER_INTERVAL);
            }
            None => self.line(&text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Reporter for Progress {
    fn report(&self, event: &Event<'_>) {
        if let Some(events) = &self.events {
            // A listener that has gone must not fail a run.
            let _ = events.borrow_mut().send(event);
        }
        match event {
            Event::PullFailed { image, reason } => {
                return self.line(&format!("error: {image}: {reason}"));
            }
            // Even when quiet: it may say that something is lost for another root.
            Event::Warning { message } => return self.line(&format!("warning: {message}")),
            _ if self.verbosity == Verbosity::Quiet => return,
            _ => {}
        }
        match event {
            Event::Waiting { holder } => self.step(format!("Waiting for {holder}")),
            Event::PullStarted {
                image,
                position,
                total,
                auth,
            } => self.step(match self.verbosity {
                Verbosity::Verbose => {
                    format!("Fetching {image} ({position} of {total}, credentials: {auth})")
                }
                _ => format!("Fetching {} ({position} of {total})", short_name(image)),
            }),
            Event::PullRetried {
                image,
                attempt,
                pause_millis,
                reason,
            } => self.line(&format!(
                "{image}: try {attempt} failed, next in {} s: {reason}",
                pause_millis.div_ceil(1000)
            )),
            Event::PullFinished {
                image,
                bytes_fetched,
            } if self.verbosity == Verbosity::Verbose => {
                self.line(&format!(
                    "Fetched {image}: {}",
                    DecimalBytes(*bytes_fetched)
                ));
            }
            Event::Checking { image, bytes } => self.step(format!(
                "Checking layers of {} that nobody vouches for ({})",
                short_name(image),
                DecimalBytes(*bytes)
            )),
            Event::Flushing => self.step("Writing to disk".to_owned()),
            _ => {}
        }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is valid"))
}
