//! `list`

use bound_images_lib::child::Interrupt;
use bound_images_lib::ops;
use bound_images_lib::report::BoundImageList;
use camino::Utf8PathBuf;

use crate::args::{Format, GlobalArgs};
use crate::context::{self, DEFAULT_STALL_SECS};
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::{human, json};

/// List a root's bound images and their state in the store
///
/// States: present, missing, damaged, and unknown for a user who may not read
/// the store. An image that is "present (unverified)" was left by an
/// interrupted run or by another program; the next pull checks it.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Read the declarations of the OS root DIR
    #[arg(long, value_name = "DIR")]
    root: Utf8PathBuf,
}

pub(crate) fn run(
    global: &GlobalArgs,
    args: &ListArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let host = context::host(global, DEFAULT_STALL_SECS, interrupt, progress)?;
    let root = context::root(&args.root)?;
    let current = context::current_root(global)?;
    let images = ops::list(&host, &root, &current)?;
    let report = BoundImageList::from(images.as_slice());
    match global.effective_format() {
        Format::Json => json::print(&report)?,
        Format::Table => human::images(&report, global.verbosity())?,
    }
    Ok(Exit::Done)
}
