//! Tables and messages for people.

use std::io::{self, Write};

use bound_images_lib::report::{
    BoundImageItem, BoundImageList, CheckItem, CheckReport, PlanItem, PruneItem, PruneReport,
    PullItem, PullPlanReport, PullReport, WireAction, WireAuth, WireAuthSource, WireResult,
    WireSource, WireState,
};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::DecimalBytes;

use crate::args::Verbosity;

const NO_IMAGES: &str = "No bound images.";

/// Prints an error to stderr, with all of its causes.
pub(crate) fn error(error: &anyhow::Error) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "error: {error:#}");
}

/// Prints the table of `list`.
pub(crate) fn images(report: &BoundImageList, verbosity: Verbosity) -> io::Result<()> {
    let mut header = vec!["IMAGE", "STATE", "DIGEST", "SIZE", "CREDENTIALS"];
    if verbosity == Verbosity::Verbose {
        header.push("DECLARED BY");
    }
    let rows = report.items.iter().map(|item| {
        let mut row = vec![
            short_name(&item.name),
            state(item),
            short_digest(item.digest.as_deref()),
            size(item.size_bytes),
            credentials(&item.auth),
        ];
        if verbosity == Verbosity::Verbose {
            row.push(declared_by(&item.sources));
        }
        row
    });
    print_table(&header, rows, Some(3))
}

/// Prints the table of `check`.
pub(crate) fn check(report: &CheckReport, verbosity: Verbosity) -> io::Result<()> {
    if verbosity == Verbosity::Quiet {
        return Ok(());
    }
    let row = |item: &CheckItem| vec![short_name(&item.name), declared_by(&item.sources)];
    print_table(
        &["IMAGE", "DECLARED BY"],
        report.items.iter().map(row),
        None,
    )
}

/// Prints the table of `plan`.
pub(crate) fn plan(report: &PullPlanReport, verbosity: Verbosity) -> io::Result<()> {
    let mut header = vec!["IMAGE", "ACTION", "CREDENTIALS"];
    if verbosity == Verbosity::Verbose {
        header.push("DECLARED BY");
    }
    let rows = report.items.iter().map(|item| {
        let mut row = vec![
            short_name(&item.name),
            action(item),
            credentials(&item.auth),
        ];
        if verbosity == Verbosity::Verbose {
            row.push(declared_by(&item.sources));
        }
        row
    });
    print_table(&header, rows, None)
}

/// Prints the table of `pull`; the reasons of failures went to stderr as they happened.
pub(crate) fn pull(report: &PullReport) -> io::Result<()> {
    let row = |item: &PullItem| {
        vec![
            short_name(&item.name),
            result(item.result).to_owned(),
            short_digest(item.digest.as_deref()),
            match item.result {
                WireResult::Fetched => size(Some(item.bytes_fetched)),
                WireResult::Present | WireResult::Failed => "-".to_owned(),
            },
        ]
    };
    let header = ["IMAGE", "RESULT", "DIGEST", "FETCHED"];
    print_table(&header, report.items.iter().map(row), Some(3))
}

/// Prints the table of `prune`, and what it comes to.
pub(crate) fn prune(report: &PruneReport) -> io::Result<()> {
    let (verdict_removed, verdict_kept, loses) = match report.dry_run {
        true => ("would go", "would stay", "would lose"),
        false => ("removed", "kept", "lost"),
    };
    let row = |verdict: &str, item: &PruneItem| {
        let mut reason = item.reason.clone();
        if !item.removed_names.is_empty() {
            reason = format!("{reason}; {loses} {}", item.removed_names.join(" "));
        }
        vec![
            item.id[..12].to_owned(),
            verdict.to_owned(),
            size(Some(item.size_bytes)),
            names(&item.names),
            reason,
        ]
    };
    let removed = report.removed.iter().map(|item| row(verdict_removed, item));
    let kept = report.kept.iter().map(|item| row(verdict_kept, item));
    let header = ["ID", "VERDICT", "SIZE", "NAMES", "REASON"];
    if !(report.removed.is_empty() && report.kept.is_empty()) {
        print_table(&header, removed.chain(kept), Some(2))?;
    }
    let mut images = count("image", report.removed.len());
    if !report.removed_layers.is_empty() {
        let layers = count("leftover layer", report.removed_layers.len());
        images = format!("{images} and {layers}");
    }
    let kept = report.kept.len();
    let freed = DecimalBytes(report.freed_bytes);
    print_line(&match report.dry_run {
        true => {
            format!("Would remove {images}, keep {kept} and free {freed}; nothing was changed.")
        }
        false => format!("Removed {images}, kept {kept}, freed {freed}."),
    })
}

/// Prints to stdout. That the reader has left, as `head` does, is no error: what the command did
/// is done, and its exit code says how it went.
pub(super) fn print_line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn print_table(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    right_aligned: Option<usize>,
) -> io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table.add_rows(rows);
    if table.row_count() == 0 {
        return print_line(NO_IMAGES);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if Some(index) == right_aligned {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    print_line(&lines.join("\n"))
}

fn state(item: &BoundImageItem) -> String {
    match (item.state, item.verified) {
        (WireState::Present, true) => "present".to_owned(),
        (WireState::Present, false) => "present (unverified)".to_owned(),
        (WireState::Missing, _) => "missing".to_owned(),
        (WireState::Moved, _) => "moved".to_owned(),
        (WireState::Damaged, _) => {
            format!("damaged: {}", item.damage.as_deref().unwrap_or_default())
        }
        (WireState::Unknown, _) => "unknown".to_owned(),
    }
}

fn action(item: &PlanItem) -> String {
    let reason = item.reason.as_deref().unwrap_or_default();
    match item.action {
        WireAction::Keep => "keep".to_owned(),
        WireAction::LookUp => "look the tag up again".to_owned(),
        WireAction::Fetch => "fetch".to_owned(),
        WireAction::Replace => format!("replace: {reason}"),
        WireAction::Unknown => "unknown".to_owned(),
    }
}

fn result(result: WireResult) -> &'static str {
    match result {
        WireResult::Present => "present",
        WireResult::Fetched => "fetched",
        WireResult::Failed => "failed",
    }
}

fn credentials(auth: &WireAuth) -> String {
    match auth.source {
        WireAuthSource::Anonymous => "anonymous".to_owned(),
        WireAuthSource::NewRoot | WireAuthSource::CurrentRoot => {
            auth.path.clone().unwrap_or_default()
        }
        WireAuthSource::Unavailable => {
            format!("unavailable: {}", auth.error.as_deref().unwrap_or_default())
        }
    }
}

fn declared_by(sources: &[WireSource]) -> String {
    let place = |source: &WireSource| format!("{} -> {}:{}", source.link, source.file, source.line);
    sources.iter().map(place).collect::<Vec<_>>().join(", ")
}

fn names(names: &[String]) -> String {
    match names.is_empty() {
        true => "<none>".to_owned(),
        false => {
            let short: Vec<String> = names.iter().map(|name| short_name(name)).collect();
            short.join(" ")
        }
    }
}

fn count(noun: &str, number: usize) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// A name with its digest abbreviated as in the other columns; JSON has all of it.
pub(super) fn short_name(name: &str) -> String {
    match name.split_once('@') {
        Some((repository, digest)) => format!("{repository}@{}", short_digest(Some(digest))),
        None => name.to_owned(),
    }
}

fn short_digest(digest: Option<&str>) -> String {
    const SHORT_LEN: usize = "sha256:".len() + 12;
    match digest {
        Some(digest) => digest.chars().take(SHORT_LEN).collect(),
        None => "-".to_owned(),
    }
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or("-".to_owned(), |bytes| DecimalBytes(bytes).to_string())
}
