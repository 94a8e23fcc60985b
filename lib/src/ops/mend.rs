//! Clears damaged layers out of the store, so that they are fetched and not found.

use std::collections::BTreeSet;

use super::Host;
use super::trust::Trust;
use super::workspace::Workspace;
use crate::model::{
    BoundImage, Fault, FaultKind, Health, ImageId, InUse, Inventory, LayerId, StoredImage,
    StoredLayer,
};
use crate::plan::{OrphanChain, plan_orphans};
use crate::root::OsRoot;
use crate::store::{Store, layers_in_use};

/// What is wrong with an image.
#[derive(Debug)]
pub(super) struct Damage {
    /// For a person.
    pub(super) reason: String,
    /// Layers whose files do not match their digest; none when records are at fault.
    pub(super) layers: BTreeSet<LayerId>,
}

/// Removes what is damaged, and nothing that anybody uses.
pub(super) struct Mender<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) store: &'a Store,
    /// Home of the main store, whose containers may use an image.
    pub(super) current: &'a OsRoot,
    /// What this run fetches; another image that has to go is named.
    pub(super) declared: &'a [BoundImage],
}

impl Mender<'_> {
    /// Removes a damaged image with all that share the damage, since one that stays would keep
    /// the layer. Fails, with nothing removed, when one of them is in use.
    pub(super) async fn remove(
        &self,
        inventory: &Inventory,
        id: &ImageId,
        damage: &Damage,
    ) -> anyhow::Result<()> {
        let victims = victims(inventory, &inventory.images[id], damage);
        let in_use = layers_in_use(self.current)?;
        if let Some(holder) = holder(inventory, &victims, &in_use) {
            let message = format!(
                "it is damaged: {}, and it cannot be replaced while {holder} uses it; \
                 remove that and pull again",
                damage.reason
            );
            return Err(Fault::new(FaultKind::Integrity, message).into());
        }
        self.warn_of_others(inventory, &victims);
        let ids: Vec<ImageId> = victims.into_iter().collect();
        let Workspace {
            podman, workplace, ..
        } = self.workspace;
        let removal = podman.remove_images(self.store, workplace, &ids);
        removal.await.map_err(|fault| fault.fault)?;
        self.remove_orphans(inventory, damage, &in_use).await
    }

    /// Removes layers without an image that nobody vouches for: after a crash podman 5 can fail
    /// to build on them. Says whether there were any.
    pub(super) async fn remove_untrusted_orphans(&self, trust: &Trust<'_>) -> anyhow::Result<bool> {
        let orphans = plan_orphans(&self.store.inventory()?, &layers_in_use(self.current)?);
        let is_untrusted = |layer: &StoredLayer| {
            orphans.layers.contains(&layer.id) && !trust.is_vouched_for(layer)
        };
        let mut has_removed = false;
        for chain in &orphans.chains {
            if chain.layers.iter().any(is_untrusted) {
                self.remove_chain(chain).await?;
                has_removed = true;
            }
        }
        Ok(has_removed)
    }

    async fn remove_chain(&self, chain: &OrphanChain) -> Result<(), Fault> {
        let Workspace {
            podman,
            workplace,
            tmp,
            ..
        } = self.workspace;
        let removal = podman.remove_orphans(self.store, workplace, tmp, &chain.layers);
        removal.await.map_err(|fault| fault.fault)
    }

    /// A layer outlives its images while another layer without an image stands on it.
    async fn remove_orphans(
        &self,
        before: &Inventory,
        damage: &Damage,
        in_use: &[InUse],
    ) -> anyhow::Result<()> {
        let lasting = |inventory: &Inventory| {
            let lasts = |id: &&LayerId| inventory.layers.get(id) == before.layers.get(id);
            damage.layers.iter().find(lasts).cloned()
        };
        let inventory = self.store.inventory()?;
        if lasting(&inventory).is_none() {
            return Ok(());
        }
        let is_damaged = |layer: &StoredLayer| damage.layers.contains(&layer.id);
        for chain in plan_orphans(&inventory, in_use).chains {
            if chain.layers.iter().any(is_damaged) {
                self.remove_chain(&chain).await?;
            }
        }
        match lasting(&self.store.inventory()?) {
            None => Ok(()),
            Some(layer) => {
                let message = format!(
                    "it is damaged: {}, and layer {} cannot be removed",
                    damage.reason,
                    layer.short()
                );
                Err(Fault::new(FaultKind::Integrity, message).into())
            }
        }
    }

    fn warn_of_others(&self, inventory: &Inventory, victims: &BTreeSet<ImageId>) {
        let declared: BTreeSet<&ImageId> = self
            .declared
            .iter()
            .filter_map(|image| Some(&inventory.find(&image.name)?.id))
            .collect();
        for id in victims.iter().filter(|id| !declared.contains(id)) {
            self.host.warn(&format!(
                "image {} ({}) shares a damaged layer and is removed; \
                 pull again for the root that binds it",
                id.short(),
                inventory.images[id].names.join(", ")
            ));
        }
    }
}

fn victims(inventory: &Inventory, damaged: &StoredImage, damage: &Damage) -> BTreeSet<ImageId> {
    let stands_on_damage = |image: &StoredImage| {
        let mut layers = damage.layers.iter();
        layers.any(|layer| inventory.stands_on(image, layer))
    };
    // Records tell no layer; images that are broken and share one are broken together.
    let chain = inventory.chain(damaged);
    let is_broken_too = |image: &StoredImage| {
        image.health != Health::Complete
            && damaged.health == image.health
            && chain
                .iter()
                .any(|layer| inventory.stands_on(image, &layer.id))
    };
    inventory
        .images
        .values()
        .filter(|image| image.id == damaged.id || stands_on_damage(image) || is_broken_too(image))
        .map(|image| image.id.clone())
        .collect()
}

/// Who uses one of the images from outside of the store.
fn holder<'a>(
    inventory: &Inventory,
    ids: &BTreeSet<ImageId>,
    in_use: &'a [InUse],
) -> Option<&'a str> {
    let is_used = |in_use: &&InUse| {
        let stands = |id: &ImageId| inventory.stands_on(&inventory.images[id], &in_use.layer);
        ids.iter().any(stands)
    };
    Some(&in_use.iter().find(is_used)?.holder)
}
