//! `prune`

use bound_images_lib::child::Interrupt;
use bound_images_lib::ops::{self, CollectRequest};
use bound_images_lib::plan::PruneMode;
use bound_images_lib::report::PruneReport;
use camino::Utf8PathBuf;

use crate::args::{Format, GlobalArgs};
use crate::context::{self, DEFAULT_STALL_SECS};
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::{human, json};

/// Remove images that no root needs
///
/// What a root needs is decided by image ID. Images that a container of
/// podman's main store uses stay as well. When one root cannot be read,
/// nothing is removed.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Keep what the OS root DIR needs; give it once for each root
    #[arg(long, value_name = "DIR", required = true)]
    root: Vec<Utf8PathBuf>,

    /// Show what would be removed, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(
    global: &GlobalArgs,
    args: &PruneArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let mode = match args.dry_run {
        true => PruneMode::DryRun,
        false => PruneMode::Remove,
    };
    if mode == PruneMode::Remove {
        context::prepare_to_change(global, "prune")?;
    }
    let host = context::host(global, DEFAULT_STALL_SECS, interrupt, progress)?;
    let open = |path: &Utf8PathBuf| context::root(path);
    let roots: Vec<_> = args.root.iter().map(open).collect();
    let current = context::current_root(global)?;
    let request = CollectRequest {
        roots: &roots,
        current: &current,
        mode,
    };
    let plan = ops::collect(&host, request).await?;
    let report = PruneReport::new(&plan, mode);
    match global.effective_format() {
        Format::Json => json::print(&report)?,
        Format::Table => human::prune(&report)?,
    }
    Ok(Exit::Done)
}
