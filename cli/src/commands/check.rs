//! `check`

use bound_images_lib::declare;
use bound_images_lib::model::{Event, Reporter};
use bound_images_lib::report::CheckReport;
use camino::Utf8PathBuf;

use crate::args::{Format, GlobalArgs};
use crate::context;
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::{human, json};

/// Validate a root's declarations; needs no store, network or privileges
///
/// Made for an image build: RUN bound-images check --root /
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Read the declarations of the OS root DIR
    #[arg(long, value_name = "DIR")]
    root: Utf8PathBuf,
}

pub(crate) fn run(
    global: &GlobalArgs,
    args: &CheckArgs,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let root = context::root(&args.root)?;
    let declared = declare::read(&root)?;
    for warning in &declared.warnings {
        let message = &warning.to_string();
        progress.report(&Event::Warning { message });
    }
    let report = CheckReport::from(&declared);
    match global.effective_format() {
        Format::Json => json::print(&report)?,
        Format::Table => human::check(&report, global.verbosity())?,
    }
    Ok(Exit::Done)
}
