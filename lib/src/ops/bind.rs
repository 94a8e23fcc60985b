//! Binds a root: every image that it declares is present, whole and on disk.

use super::Host;
use super::fetch::{Fetched, Fetcher};
use super::mend::Mender;
use super::trust::Trust;
use super::workspace::Workspace;
use crate::auth::AuthRoots;
use crate::declare;
use crate::model::{
    BoundImage, Event, Fault, FaultKind, Health, ImageId, Inventory, PullResult, PulledImage,
};
use crate::plan::{PullAction, PullPolicy, PullStep, plan_pull};
use crate::root::OsRoot;

/// What to bind.
#[derive(Debug, Clone, Copy)]
pub struct BindRequest<'a> {
    /// The root whose declarations count.
    pub root: &'a OsRoot,
    /// The root of the running system: second place for auth files, home of the main store.
    pub current: &'a OsRoot,
    /// Whether present tags are looked up again.
    pub policy: PullPolicy,
    /// How often a pull that is worth it is tried again.
    pub retries: u32,
}

/// Makes every image that a root declares present in the store, verified and flushed to disk.
///
/// One bad image does not stop the others; each failure is in its item. Fails as a whole,
/// with nothing changed, when a declaration is invalid or podman is missing.
pub async fn bind(host: &Host<'_>, request: BindRequest<'_>) -> anyhow::Result<Vec<PulledImage>> {
    let declared = declare::read(request.root)?;
    for warning in &declared.warnings {
        host.warn(&warning.to_string());
    }
    if declared.images.is_empty() {
        return Ok(Vec::new());
    }
    let workspace = Workspace::open(host, "pull").await?;
    let bound = bind_in(host, request, &workspace, declared.images).await;
    workspace.close(host);
    bound
}

async fn bind_in(
    host: &Host<'_>,
    request: BindRequest<'_>,
    workspace: &Workspace,
    images: Vec<BoundImage>,
) -> anyhow::Result<Vec<PulledImage>> {
    let store = workspace.store().await?;
    let trust = Trust::new(host, &store, &workspace.state)?;
    let damaged = trust.check_present(&workspace.state, &images).await?;
    let steps = plan_pull(&images, trust.before(), &damaged, request.policy);
    let mender = Mender {
        host,
        workspace,
        store: &store,
        current: request.current,
        declared: &images,
    };
    let fetcher = Fetcher {
        host,
        roots: AuthRoots {
            new: request.root,
            current: request.current,
        },
        workspace,
        store: &store,
        trust: &trust,
        mender: &mender,
        retries: request.retries,
        total: steps.iter().filter(|step| is_fetched(&step.action)).count(),
    };
    let mut items = run_steps(&fetcher, &steps).await?;
    settle(&fetcher, &mut items)?;
    Ok(items)
}

fn is_fetched(action: &PullAction) -> bool {
    match action {
        PullAction::LookUp(_) | PullAction::Fetch | PullAction::Replace(_) => true,
        PullAction::Keep { .. } => false,
    }
}

async fn run_steps(
    fetcher: &Fetcher<'_>,
    steps: &[PullStep<'_>],
) -> anyhow::Result<Vec<PulledImage>> {
    let mut items = Vec::new();
    let mut position = 0;
    for step in steps {
        position += usize::from(is_fetched(&step.action));
        let result = match run_step(fetcher, step, position).await {
            Ok(result) => result,
            Err(error) if Fault::kind_of(&error) == FaultKind::Interrupted => return Err(error),
            Err(error) => failed(fetcher.host, step.image, error),
        };
        items.push(PulledImage {
            image: step.image.clone(),
            result,
        });
    }
    Ok(items)
}

async fn run_step(
    fetcher: &Fetcher<'_>,
    step: &PullStep<'_>,
    position: usize,
) -> anyhow::Result<PullResult> {
    let image = step.image;
    let earlier = match &step.action {
        PullAction::Keep { id, pin } => {
            if let Some(pin) = pin {
                let Workspace {
                    podman, workplace, ..
                } = fetcher.workspace;
                let pinned = podman.add_name(fetcher.store, workplace, id, pin);
                pinned.await.map_err(|fault| fault.fault)?;
            }
            let stored = &fetcher.trust.before().images[id];
            return Ok(PullResult::Present {
                digest: image
                    .name
                    .digest()
                    .cloned()
                    .or_else(|| stored.digest.clone()),
                id: id.clone(),
            });
        }
        PullAction::LookUp(id) => Some(id),
        PullAction::Fetch | PullAction::Replace(_) => None,
    };
    let Fetched {
        id,
        digest,
        bytes_fetched,
    } = fetcher.fetch(image, position).await?;
    Ok(match earlier == Some(&id) && bytes_fetched == 0 {
        true => PullResult::Present { id, digest },
        false => PullResult::Fetched {
            id,
            digest,
            bytes_fetched,
        },
    })
}

fn failed(host: &Host<'_>, image: &BoundImage, error: anyhow::Error) -> PullResult {
    host.reporter.report(&Event::PullFailed {
        image: image.name.as_str(),
        reason: &format!("{error:#}"),
    });
    PullResult::Failed(error)
}

/// Forces what was fetched to disk, looks at it once more by ID, and vouches for it.
fn settle(fetcher: &Fetcher<'_>, items: &mut [PulledImage]) -> anyhow::Result<()> {
    let is_new = |item: &PulledImage| matches!(item.result, PullResult::Fetched { .. });
    let has_new = items.iter().any(is_new);
    if has_new {
        fetcher.host.reporter.report(&Event::Flushing);
        fetcher.store.flush()?;
    }
    let inventory = fetcher.store.inventory()?;
    for item in &mut *items {
        let (id, bytes_fetched) = match &item.result {
            PullResult::Present { id, .. } => (id, 0),
            PullResult::Fetched {
                id, bytes_fetched, ..
            } => (id, *bytes_fetched),
            PullResult::Failed(_) => continue,
        };
        match lost(&inventory, id) {
            None => {
                fetcher.trust.enter(&inventory, &inventory.images[id]);
                fetcher.host.reporter.report(&Event::PullFinished {
                    image: item.image.name.as_str(),
                    bytes_fetched,
                });
            }
            Some(reason) => {
                let message = format!("it was lost after its pull: {reason}");
                let fault = Fault::new(FaultKind::Integrity, message);
                item.result = failed(fetcher.host, &item.image, fault.into());
            }
        }
    }
    match has_new {
        true => fetcher.trust.write(&fetcher.workspace.state, &inventory),
        false => Ok(()),
    }
}

/// Why an image that was there is not there any more, or not whole.
fn lost(inventory: &Inventory, id: &ImageId) -> Option<String> {
    match inventory.images.get(id).map(|stored| &stored.health) {
        None => Some("it is gone".to_owned()),
        Some(Health::Damaged(reason)) => Some(reason.clone()),
        Some(Health::Complete) => None,
    }
}
