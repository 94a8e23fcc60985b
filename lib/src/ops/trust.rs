//! Which layers of the store are trusted, and what is done about those that are not.
//!
//! A layer is trusted when the ledger vouches for it, when podman unpacked it in this run, or
//! when it was compared with its digest. Each is compared once in a run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;

use super::Host;
use super::fetch::interrupted;
use crate::model::{BoundImage, Event, Inventory, LayerId, StoredImage, StoredLayer};
use crate::record::{Ledger, StateDir};
use crate::store::{LayerCheck, Store};

/// The trust of one run.
pub(super) struct Trust<'a> {
    host: &'a Host<'a>,
    store: &'a Store,
    ledger: RefCell<Ledger>,
    /// The store before anything was pulled in this run.
    before: Inventory,
    /// Layers that were compared in this run, with what is wrong with them.
    compared: RefCell<BTreeMap<LayerId, LayerCheck>>,
}

impl<'a> Trust<'a> {
    /// Starts from the ledger and what the store holds now.
    pub(super) fn new(
        host: &'a Host<'a>,
        store: &'a Store,
        state: &StateDir,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            host,
            store,
            ledger: RefCell::new(Ledger::read(state)?),
            before: store.inventory()?,
            compared: RefCell::default(),
        })
    }

    /// The store before anything was pulled in this run.
    pub(super) fn before(&self) -> &Inventory {
        &self.before
    }

    /// Compares every layer of `images` that is not trusted yet, and returns the damaged ones.
    ///
    /// Whole ones are flushed and entered into the ledger.
    pub(super) async fn check_present(
        &self,
        state: &StateDir,
        images: &[BoundImage],
    ) -> anyhow::Result<BTreeSet<LayerId>> {
        let present: Vec<&StoredImage> = images
            .iter()
            .filter_map(|image| self.before.find_bound(image))
            .collect();
        let has_suspects = |stored: &&&StoredImage| !self.suspects(&self.before, stored).is_empty();
        if !present.iter().any(|stored| has_suspects(&stored)) {
            return Ok(BTreeSet::new());
        }
        // What is whole in memory only would be empty after the next power cut.
        self.store.flush()?;
        let mut damaged = BTreeSet::new();
        for stored in present {
            damaged.extend(self.damaged_layers(&self.before, stored).await?);
            self.enter(&self.before, stored);
        }
        self.write(state, &self.before)?;
        Ok(damaged)
    }

    /// Layers of an image that do not match their digest.
    pub(super) async fn damaged_layers(
        &self,
        inventory: &Inventory,
        stored: &StoredImage,
    ) -> anyhow::Result<BTreeSet<LayerId>> {
        let suspects = self.suspects(inventory, stored);
        let open = |layer: &&StoredLayer| !self.compared.borrow().contains_key(&layer.id);
        let bytes: u64 = suspects
            .iter()
            .filter(|layer| open(layer))
            .map(|l| l.diff_bytes)
            .sum();
        if bytes > 0 {
            let id = stored.id.short();
            let image = stored.names.first().map_or(id, String::as_str);
            self.host.reporter.report(&Event::Checking { image, bytes });
        }
        let mut damaged = BTreeSet::new();
        for layer in suspects {
            if self.compare(layer).await? != LayerCheck::Whole {
                damaged.insert(layer.id.clone());
            }
        }
        Ok(damaged)
    }

    /// Whether a layer was in the store already when this run began.
    pub(super) fn was_there(&self, layer: &StoredLayer) -> bool {
        let before = self.before.layers.get(&layer.id);
        before.is_some_and(|before| before.created == layer.created)
    }

    /// Whether the ledger has this very layer.
    pub(super) fn is_vouched_for(&self, layer: &StoredLayer) -> bool {
        self.ledger.borrow().vouches_for(layer)
    }

    /// Enters the trusted layers of an image; the caller has flushed them.
    pub(super) fn enter(&self, inventory: &Inventory, stored: &StoredImage) {
        let compared = self.compared.borrow();
        let mut ledger = self.ledger.borrow_mut();
        for layer in inventory.chain(stored) {
            let is_whole = compared.get(&layer.id) == Some(&LayerCheck::Whole);
            if is_whole || !self.was_there(layer) {
                ledger.enter(layer);
            }
        }
    }

    /// Writes the ledger, without layers that the store has lost.
    pub(super) fn write(&self, state: &StateDir, inventory: &Inventory) -> anyhow::Result<()> {
        self.ledger.borrow_mut().write(state, inventory)
    }

    /// Layers that were here before this run, and that nobody vouches for.
    fn suspects<'i>(&self, inventory: &'i Inventory, stored: &StoredImage) -> Vec<&'i StoredLayer> {
        let mut suspects = self.ledger.borrow().unverified(inventory, stored);
        suspects.retain(|layer| self.was_there(layer));
        suspects
    }

    async fn compare(&self, layer: &StoredLayer) -> anyhow::Result<LayerCheck> {
        if let Some(known) = self.compared.borrow().get(&layer.id) {
            return Ok(known.clone());
        }
        let store = Arc::new(self.store.try_clone()?);
        let candidate = layer.clone();
        let check = tokio::task::spawn_blocking(move || store.check_layer(&candidate));
        let check = tokio::select! {
            check = check => check.context("checking a layer")??,
            () = self.host.interrupt.requested() => return Err(interrupted().into()),
        };
        if let LayerCheck::Damaged(reason) = &check {
            tracing::debug!(layer = %layer.id, reason, "layer is damaged");
        }
        self.compared
            .borrow_mut()
            .insert(layer.id.clone(), check.clone());
        Ok(check)
    }
}
