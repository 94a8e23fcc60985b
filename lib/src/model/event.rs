//! What happens during a run, as it happens: the interface between the library and whoever shows it.

use serde::Serialize;

/// Something that an onlooker may want to know. Fields name images canonically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another run holds the lock; this one waits for it.
    Waiting {
        /// Who holds it.
        holder: &'a str,
    },
    /// An image is about to be pulled.
    PullStarted {
        /// The image.
        image: &'a str,
        /// Its place in this run, from 1.
        position: usize,
        /// How many images this run pulls.
        total: usize,
        /// Where credentials come from; never what they are.
        auth: &'a str,
    },
    /// A pull failed in a way that is worth another try.
    PullRetried {
        /// The image.
        image: &'a str,
        /// Which try failed, from 1.
        attempt: u32,
        /// Pause before the next try, in milliseconds.
        pause_millis: u64,
        /// Why it failed.
        reason: &'a str,
    },
    /// An image is present, verified and on disk; sent once for each, at the end of a run.
    PullFinished {
        /// The image.
        image: &'a str,
        /// Bytes that came over the network; zero when the image was there already.
        bytes_fetched: u64,
    },
    /// A pull failed for good.
    PullFailed {
        /// The image.
        image: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// Layers that an earlier, interrupted run left are compared with their digests.
    Checking {
        /// The image they belong to.
        image: &'a str,
        /// Bytes to read.
        bytes: u64,
    },
    /// Everything written is forced to disk.
    Flushing,
    /// Something that needs attention but does not stop the run.
    Warning {
        /// What.
        message: &'a str,
    },
}

/// Receives events; how and whether to show them is its business.
pub trait Reporter {
    /// Called from the run itself, so it must not block for long.
    fn report(&self, event: &Event<'_>);
}
