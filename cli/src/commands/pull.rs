//! `pull`

use bound_images_lib::child::Interrupt;
use bound_images_lib::model::{PullResult, PulledImage};
use bound_images_lib::ops::{self, BindRequest};
use bound_images_lib::plan::PullPolicy;
use bound_images_lib::report::PullReport;
use camino::Utf8PathBuf;
use clap::ValueEnum;

use crate::args::{Format, GlobalArgs};
use crate::context::{self, DEFAULT_STALL_SECS};
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::{human, json};

/// Make a root's bound images present in the store
///
/// All declarations are validated before anything is fetched. One image that
/// cannot be had does not stop the others. What was fetched is forced to disk
/// and verified before it is reported.
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Read the declarations of the OS root DIR
    #[arg(long, value_name = "DIR")]
    root: Utf8PathBuf,

    /// What to do with images that are present
    #[arg(long, value_enum, default_value = "newer")]
    policy: Policy,

    /// Try again up to N times when a registry fails
    #[arg(long, value_name = "N", default_value = "3")]
    retries: u32,

    /// Give a registry up when nothing arrives for SECS seconds
    #[arg(long, value_name = "SECS", default_value_t = DEFAULT_STALL_SECS,
          value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

/// What to do with images that are present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Look tags up again; a digest that is present costs no network
    Newer,
    /// Leave them as they are
    Missing,
}

impl From<Policy> for PullPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Newer => Self::Newer,
            Policy::Missing => Self::Missing,
        }
    }
}

pub(crate) async fn run(
    global: &GlobalArgs,
    args: &PullArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    context::prepare_to_change(global, "pull")?;
    let host = context::host(global, args.stall_timeout, interrupt, progress)?;
    let root = context::root(&args.root)?;
    let current = context::current_root(global)?;
    let request = BindRequest {
        root: &root,
        current: &current,
        policy: args.policy.into(),
        retries: args.retries,
    };
    let items = ops::bind(&host, request).await?;
    progress.finish();
    let report = PullReport::from(items.as_slice());
    match global.effective_format() {
        Format::Json => json::print(&report)?,
        Format::Table => human::pull(&report)?,
    }
    let failures = items.iter().filter_map(failure);
    Ok(Exit::of_worst(failures))
}

fn failure(item: &PulledImage) -> Option<&anyhow::Error> {
    match &item.result {
        PullResult::Failed(error) => Some(error),
        PullResult::Present { .. } | PullResult::Fetched { .. } => None,
    }
}
