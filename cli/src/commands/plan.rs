//! `plan`

use bound_images_lib::child::Interrupt;
use bound_images_lib::ops;
use bound_images_lib::report::PullPlanReport;
use camino::Utf8PathBuf;

use super::pull::Policy;
use crate::args::{Format, GlobalArgs};
use crate::context::{self, DEFAULT_STALL_SECS};
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::{human, json};

/// Say what a pull would do, without doing it
///
/// No registry is asked, so a tag that would be looked up is shown as such.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Read the declarations of the OS root DIR
    #[arg(long, value_name = "DIR")]
    root: Utf8PathBuf,

    /// What a pull would do with images that are present
    #[arg(long, value_enum, default_value = "newer")]
    policy: Policy,
}

pub(crate) fn run(
    global: &GlobalArgs,
    args: &PlanArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let host = context::host(global, DEFAULT_STALL_SECS, interrupt, progress)?;
    let root = context::root(&args.root)?;
    let current = context::current_root(global)?;
    let images = ops::propose(&host, &root, &current, args.policy.into())?;
    let report = PullPlanReport::from(images.as_slice());
    match global.effective_format() {
        Format::Json => json::print(&report)?,
        Format::Table => human::plan(&report, global.verbosity())?,
    }
    Ok(Exit::Done)
}
