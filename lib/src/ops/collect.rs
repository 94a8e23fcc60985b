//! Prunes: removes every image that no root needs.

use std::collections::BTreeSet;
use std::io;

use camino::Utf8Path;
use cap_std_ext::cap_std::fs::Dir;

use super::Host;
use super::workspace::Workspace;
use crate::declare;
use crate::model::{Fault, FaultKind, ImageId, Inventory};
use crate::plan::{PruneMode, PrunePlan, RootNeeds, plan_prune};
use crate::record::{Ledger, StateDir};
use crate::root::OsRoot;
use crate::store::{Store, layers_in_use};

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub struct CollectRequest<'a> {
    /// Every root whose images stay, or why it cannot be opened; the error names it.
    pub roots: &'a [anyhow::Result<OsRoot>],
    /// The root of the running system, home of the main store.
    pub current: &'a OsRoot,
    /// Whether anything is removed.
    pub mode: PruneMode,
}

/// Removes every image of the store that none of the roots needs and nothing uses.
///
/// Returns what was, or would be, removed. Fails with nothing removed when the needs of one
/// root cannot be known, when no root is given at all, or when there is no sysroot.
pub async fn collect(host: &Host<'_>, request: CollectRequest<'_>) -> anyhow::Result<PrunePlan> {
    let needs = needs(request.roots)?;
    host.existing_sysroot()?;
    let Some(bootc_dir) = host.open_bootc_dir_optional()? else {
        return Ok(PrunePlan::default());
    };
    let path = host.bootc_path();
    match (Store::open_optional(&bootc_dir, &path)?, request.mode) {
        (Some(store), PruneMode::DryRun) => {
            let in_use = layers_in_use(request.current)?;
            return Ok(plan_prune(&needs, &store.inventory()?, &in_use));
        }
        (None, PruneMode::DryRun) => return Ok(PrunePlan::default()),
        // Neither a store nor anything to sweep: podman is not even looked for.
        (None, PruneMode::Remove) if !has_leftovers(&bootc_dir, &path)? => {
            return Ok(PrunePlan::default());
        }
        (_, PruneMode::Remove) => {}
    }
    let workspace = Workspace::open(host, "prune").await?;
    let collected = collect_in(host, &workspace, request, &needs).await;
    workspace.close(host);
    collected
}

async fn collect_in(
    host: &Host<'_>,
    workspace: &Workspace,
    request: CollectRequest<'_>,
    needs: &[RootNeeds],
) -> anyhow::Result<PrunePlan> {
    let Some(store) = workspace.store_optional()? else {
        return Ok(PrunePlan::default());
    };
    let before = store.inventory()?;
    let mut plan = plan_prune(needs, &before, &layers_in_use(request.current)?);
    if let Err(fault) = carry_out(host, workspace, &store, &plan).await {
        warn_of_removals(host, &store, &plan);
        return Err(fault.into());
    }
    let inventory = store.inventory()?;
    confirm(&plan, &inventory)?;
    if plan
        .orphans
        .layers
        .iter()
        .any(|id| inventory.layers.contains_key(id))
    {
        plan.without_lasting_orphans(&before, &inventory);
    }
    Ledger::read(&workspace.state)?.write(&workspace.state, &inventory)?;
    Ok(plan)
}

async fn carry_out(
    host: &Host<'_>,
    workspace: &Workspace,
    store: &Store,
    plan: &PrunePlan,
) -> Result<(), Fault> {
    execute(workspace, store, plan).await?;
    remove_orphans(host, workspace, store, plan).await
}

/// Says what a prune that fails has removed, as the store shows it; there will be no report.
fn warn_of_removals(host: &Host<'_>, store: &Store, plan: &PrunePlan) {
    match store.inventory() {
        Ok(inventory) => {
            if let Some(message) = removals_before_failure(plan, &inventory) {
                host.warn(&message);
            }
        }
        Err(error) => host.warn(&format!(
            "what was removed before the failure is unknown: {error:#}"
        )),
    }
}

/// `None` when every image is still there.
fn removals_before_failure(plan: &PrunePlan, inventory: &Inventory) -> Option<String> {
    let is_gone = |id: &&ImageId| !inventory.images.contains_key(*id);
    let planned = plan.removed.len();
    let gone = plan.removed.iter().map(|image| &image.id).filter(is_gone);
    match gone.count() {
        0 => None,
        gone => Some(format!(
            "{gone} of {planned} images were removed before the failure"
        )),
    }
}

async fn execute(workspace: &Workspace, store: &Store, plan: &PrunePlan) -> Result<(), Fault> {
    let ids: Vec<ImageId> = plan.removed.iter().map(|image| image.id.clone()).collect();
    let podman = &workspace.podman;
    let removal = podman.remove_images(store, &workspace.workplace, &ids);
    removal.await.map_err(|fault| fault.fault)?;
    for name in plan.kept.iter().flat_map(|image| &image.removed_names) {
        let removal = podman.remove_name(store, &workspace.workplace, name);
        removal.await.map_err(|fault| fault.fault)?;
    }
    Ok(())
}

/// Removes layers without an image. One that stays is garbage, not a danger, so it is a warning.
async fn remove_orphans(
    host: &Host<'_>,
    workspace: &Workspace,
    store: &Store,
    plan: &PrunePlan,
) -> Result<(), Fault> {
    for chain in &plan.orphans.chains {
        let Workspace {
            podman,
            workplace,
            tmp,
            ..
        } = workspace;
        match podman
            .remove_orphans(store, workplace, tmp, &chain.layers)
            .await
        {
            Ok(()) => {}
            Err(fault) if fault.fault.kind == FaultKind::Interrupted => return Err(fault.fault),
            Err(fault) => host.warn(&format!(
                "layers that belong to no image could not be removed: {}",
                fault.fault
            )),
        }
    }
    Ok(())
}

/// Looks whether the store is as planned; podman's word alone is not enough.
fn confirm(plan: &PrunePlan, inventory: &Inventory) -> Result<(), Fault> {
    let present: BTreeSet<&ImageId> = inventory.images.keys().collect();
    for image in &plan.removed {
        if present.contains(&image.id) {
            let message = format!(
                "image {} is still there after its removal",
                image.id.short()
            );
            return Err(Fault::new(FaultKind::Other, message));
        }
    }
    for image in &plan.kept {
        if !present.contains(&image.id) {
            let message = format!(
                "image {} was lost while others were removed",
                image.id.short()
            );
            return Err(Fault::new(FaultKind::Integrity, message));
        }
    }
    Ok(())
}

/// Reads the declarations of all roots; the message names every root that cannot be read.
fn needs(roots: &[anyhow::Result<OsRoot>]) -> anyhow::Result<Vec<RootNeeds>> {
    if roots.is_empty() {
        let message = "no root is given, so nothing can be told to be unneeded";
        return Err(Fault::new(FaultKind::Other, message).into());
    }
    let mut needs = Vec::new();
    let mut problems = Vec::new();
    for root in roots {
        let root = match root {
            Ok(root) => root,
            Err(error) => {
                problems.push((kind_of(error), format!("{error:#}")));
                continue;
            }
        };
        match declare::read(root) {
            Ok(declared) => needs.push(RootNeeds {
                root: root.path().to_owned(),
                images: declared.images,
            }),
            // The message names the root already.
            Err(error) => problems.push((kind_of(&error), format!("{error:#}"))),
        }
    }
    if problems.is_empty() {
        return Ok(needs);
    }
    let known = |(kind, _): &(FaultKind, String)| (*kind != FaultKind::Other).then_some(*kind);
    let kind = problems.iter().find_map(known).unwrap_or(FaultKind::Other);
    let mut message = "nothing was removed, since the needs of a root cannot be known".to_owned();
    for (_, problem) in &problems {
        message.push('\n');
        message.push_str(problem);
    }
    Err(Fault::new(kind, message).into())
}

/// The kind of a root's problem. A missing permission is known only to the causes, which a message
/// of several problems does not carry.
fn kind_of(error: &anyhow::Error) -> FaultKind {
    let is_denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    match Fault::kind_of(error) {
        FaultKind::Other if causes.any(is_denied) => FaultKind::Prerequisite,
        kind => kind,
    }
}

/// Whether an interrupted pull left anything though it never came to a store.
fn has_leftovers(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<bool> {
    Ok(Store::is_unfinished(bootc_dir)? || StateDir::open_optional(bootc_dir, path)?.is_some())
}

#[cfg(test)]
mod tests {
    use cap_std_ext::cap_std::ambient_authority;

    use super::*;

    fn root(links: &[&str]) -> (tempfile::TempDir, anyhow::Result<OsRoot>) {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("usr/lib/bootc/bound-images.d");
        std::fs::create_dir_all(&directory).unwrap();
        for name in links {
            std::os::unix::fs::symlink("/nowhere", directory.join(name)).unwrap();
        }
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, Ok(OsRoot::new(dir, "/r".into()).unwrap()))
    }

    fn fault(error: &anyhow::Error) -> (FaultKind, String) {
        (Fault::kind_of(error), error.to_string())
    }

    #[test]
    fn a_root_at_fault_is_named_once() {
        let (_temp, root) = root(&["web.image"]);
        let message = "nothing was removed, since the needs of a root cannot be known\n\
                       1 invalid declaration in /r\n  bound-images.d/web.image: it is dangling: \
                       /nowhere does not exist in the root";
        let error = needs(&[root]).unwrap_err();
        assert_eq!(fault(&error), (FaultKind::Declaration, message.to_owned()));
    }

    #[test]
    fn a_root_that_may_not_be_opened_is_a_missing_privilege() {
        let denied = anyhow::Error::from(io::Error::from(io::ErrorKind::PermissionDenied));
        let (_temp, good) = root(&[]);
        let error = needs(&[good, Err(denied.context("opening the root /r"))]).unwrap_err();
        let message = "nothing was removed, since the needs of a root cannot be known\n\
                       opening the root /r: permission denied";
        assert_eq!(fault(&error), (FaultKind::Prerequisite, message.to_owned()));
    }
}
