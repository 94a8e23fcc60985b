//! Brings one image into the store, and makes sure that it arrived whole.
//!
//! podman takes a layer that lies in the store as it is, even when a crash left it empty. So an
//! image is pulled, examined, and, where what was here before is damaged, mended and pulled once
//! more. Nothing is removed before a pull has shown that the registry has the image.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::Host;
use super::mend::{Damage, Mender};
use super::trust::Trust;
use super::workspace::Workspace;
use crate::auth::{self, AuthRoots};
use crate::model::{
    BoundImage, Digest, Event, Fault, FaultKind, Health, ImageId, Inventory, StoredImage,
};
use crate::plan::damage_of;
use crate::store::{PodmanFault, PullRequest, Retry, Store};
use crate::transfer::{RetryPolicy, with_retries};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the images of one run are fetched with.
pub(super) struct Fetcher<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) roots: AuthRoots<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) store: &'a Store,
    pub(super) trust: &'a Trust<'a>,
    pub(super) mender: &'a Mender<'a>,
    pub(super) retries: u32,
    /// How many images this run fetches.
    pub(super) total: usize,
}

/// An image that arrived.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) id: ImageId,
    /// The digest that is declared, or else the one that the store reports.
    pub(super) digest: Option<Digest>,
    /// Bytes that came over the network.
    pub(super) bytes_fetched: u64,
}

/// The fault of a run that was told to end.
pub(super) fn interrupted() -> Fault {
    Fault::new(
        FaultKind::Interrupted,
        "interrupted; what was fetched is kept, run the same command again to complete",
    )
}

impl Fetcher<'_> {
    /// Fetches one image. Credentials are opened for it alone.
    pub(super) async fn fetch(
        &self,
        image: &BoundImage,
        position: usize,
    ) -> anyhow::Result<Fetched> {
        let source = auth::find(self.roots, image)?;
        self.host.reporter.report(&Event::PullStarted {
            image: image.name.as_str(),
            position,
            total: self.total,
            auth: &source.to_string(),
        });
        let auth_fd: Arc<OwnedFd> = Arc::new(auth::open(self.roots, &source)?.into_fd());
        let cert_dir = match &image.options.cert_dir {
            Some(path) => Some(Arc::new(auth::open_cert_dir(self.roots, path)?)),
            None => None,
        };
        let request = PullRequest {
            reference: image.name.as_str(),
            platform: &image.options.platform,
            tls_verify: image.options.tls_verify,
            auth: auth_fd,
            cert_dir,
        };
        let prior = self.store.inventory()?;
        let fetched = self.fetch_whole(image, &request, &prior).await;
        if fetched.is_err() {
            self.give_name_back(&prior, image).await;
        }
        fetched
    }

    async fn fetch_whole(
        &self,
        image: &BoundImage,
        request: &PullRequest<'_>,
        prior: &Inventory,
    ) -> anyhow::Result<Fetched> {
        let id = match self.pull(request).await {
            Ok(id) => id,
            Err(fault) => self.after_failed_pull(fault, image, request, prior).await?,
        };
        let inventory = self.store.inventory()?;
        let Some(damage) = self.examine(&inventory, &id).await? else {
            return self.accept(image, &id, &inventory, prior).await;
        };
        if !self.was_here_before(&inventory, &id) {
            self.discard(&id).await?;
            return Err(arrived_damaged(&damage.reason).into());
        }
        self.mender.remove(&inventory, &id, &damage).await?;
        let id = self.pull(request).await?;
        let inventory = self.store.inventory()?;
        match self.examine(&inventory, &id).await? {
            None => self.accept(image, &id, &inventory, prior).await,
            Some(damage) => Err(arrived_damaged(&damage.reason).into()),
        }
    }

    /// A pull can fail for the damage that it was to mend, in an image or in orphans.
    async fn after_failed_pull(
        &self,
        fault: Fault,
        image: &BoundImage,
        request: &PullRequest<'_>,
        prior: &Inventory,
    ) -> anyhow::Result<ImageId> {
        let is_damaged = |stored: &&StoredImage| stored.health != Health::Complete;
        match (fault.kind, prior.find(&image.name).filter(is_damaged)) {
            (FaultKind::Other | FaultKind::Integrity, Some(stored)) => Ok(stored.id.clone()),
            (FaultKind::Other, None)
                if self.mender.remove_untrusted_orphans(self.trust).await? =>
            {
                Ok(self.pull(request).await?)
            }
            _ => Err(fault.into()),
        }
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<ImageId, Fault> {
        let policy = RetryPolicy {
            retries: self.retries,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
        };
        let Workspace {
            podman, workplace, ..
        } = self.workspace;
        let pulled = with_retries(
            policy,
            &self.host.interrupt,
            |fault: &PodmanFault| fault.retry == Retry::Worthwhile,
            |fault, attempt| {
                self.host.reporter.report(&Event::PullRetried {
                    image: request.reference,
                    attempt: attempt.number,
                    pause_millis: attempt.pause.as_millis().try_into().unwrap_or(u64::MAX),
                    reason: &fault.fault.message,
                });
            },
            async || podman.pull(self.store, workplace, request).await,
        );
        pulled.await.map_err(|fault| match fault.fault.kind {
            FaultKind::Interrupted => interrupted(),
            _ => fault.fault,
        })
    }

    /// What is wrong with the image under the ID that podman printed.
    async fn examine(&self, inventory: &Inventory, id: &ImageId) -> anyhow::Result<Option<Damage>> {
        let Some(stored) = inventory.images.get(id) else {
            let reason = "podman printed an ID that is not in the store";
            return Err(arrived_damaged(reason).into());
        };
        let layers = self.trust.damaged_layers(inventory, stored).await?;
        let reason = damage_of(stored, inventory, &layers);
        Ok(reason.map(|reason| Damage { reason, layers }))
    }

    /// Whether the image or one of its layers was in the store before this run.
    fn was_here_before(&self, inventory: &Inventory, id: &ImageId) -> bool {
        let was_there = |stored: &StoredImage| {
            let chain = inventory.chain(stored);
            chain.into_iter().any(|layer| self.trust.was_there(layer))
        };
        self.trust.before().images.contains_key(id)
            || inventory.images.get(id).is_some_and(was_there)
    }

    /// Takes a whole image when it is the one that was asked for.
    async fn accept(
        &self,
        image: &BoundImage,
        id: &ImageId,
        inventory: &Inventory,
        prior: &Inventory,
    ) -> anyhow::Result<Fetched> {
        let stored = &inventory.images[id];
        let refusal = match image.name.digest() {
            Some(digest) if !stored.has_digest(digest) => Some(arrived_damaged(&format!(
                "it does not have the digest {digest}"
            ))),
            _ if !stored.fits(&image.options.platform) => Some(other_platform(stored)),
            _ => None,
        };
        if let Some(refusal) = refusal {
            if !prior.images.contains_key(id) {
                self.discard(id).await?;
            }
            return Err(refusal.into());
        }
        Ok(Fetched {
            id: id.clone(),
            digest: image
                .name
                .digest()
                .cloned()
                .or_else(|| stored.digest.clone()),
            bytes_fetched: bytes_fetched(prior, inventory, stored),
        })
    }

    /// Removes an image that must not be used, with the layers that came with it.
    async fn discard(&self, id: &ImageId) -> anyhow::Result<()> {
        let Workspace {
            podman, workplace, ..
        } = self.workspace;
        let removal = podman.remove_images(self.store, workplace, std::slice::from_ref(id));
        Ok(removal.await.map_err(|fault| fault.fault)?)
    }

    /// podman moved the tag to an image that was refused; the one that had it before gets it back.
    async fn give_name_back(&self, prior: &Inventory, image: &BoundImage) {
        let name = image.name.as_str();
        let has_name = |stored: &&StoredImage| stored.names.iter().any(|known| known == name);
        // A digest is no tag: the name that holds it always means the same image.
        let earlier = prior.images.values().find(has_name);
        let Some(earlier) = earlier.filter(|_| image.name.digest().is_none()) else {
            return;
        };
        let has_lost_it = self.store.inventory().is_ok_and(|inventory| {
            let stored = inventory.images.get(&earlier.id);
            stored.is_some_and(|stored| !has_name(&stored))
        });
        if !has_lost_it {
            return;
        }
        let Workspace {
            podman, workplace, ..
        } = self.workspace;
        if let Err(fault) = podman
            .add_name(self.store, workplace, &earlier.id, name)
            .await
        {
            self.host.warn(&format!(
                "{name} could not be given back to image {}: {}",
                earlier.id.short(),
                fault.fault
            ));
        }
    }
}

fn arrived_damaged(reason: &str) -> Fault {
    let message = format!("it arrived damaged: {reason}");
    Fault::new(FaultKind::Integrity, message)
}

fn other_platform(stored: &StoredImage) -> Fault {
    let platform = &stored.platform;
    let shown = [&platform.os, &platform.arch, &platform.variant];
    let shown: Vec<&str> = shown.into_iter().flatten().map(String::as_str).collect();
    let message = format!(
        "the registry has it for {} only, which is not the platform that is asked for",
        shown.join("/")
    );
    Fault::new(FaultKind::NotFound, message)
}

/// Blobs of the layers that were not in the store prior to the pull.
fn bytes_fetched(prior: &Inventory, inventory: &Inventory, stored: &StoredImage) -> u64 {
    let is_new = |created: &str, id| {
        let before = prior.layers.get(id);
        before.is_none_or(|before| before.created != created)
    };
    inventory
        .chain(stored)
        .into_iter()
        .filter(|layer| is_new(&layer.created, &layer.id))
        .map(|layer| layer.blob_bytes)
        .sum()
}
