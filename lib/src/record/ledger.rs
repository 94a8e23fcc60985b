//! The ledger of layers that are known to be whole and on disk.
//!
//! podman never forces layer files to disk, so after a power cut a layer can be listed and
//! empty. A layer counts as *in progress* until it stands here; it is entered only after its
//! filesystem was flushed. Whatever a run finds in the store that does not stand here (left by
//! a crash, or pulled by another program) is compared with its digest before it is trusted.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::StateDir;
use crate::model::{Fault, FaultKind, Inventory, LayerId, StoredImage, StoredLayer};

const LEDGER_FILE: &str = "verified-layers.json";
const FORMAT_VERSION: u32 = 1;

/// Layers that were compared with their digest or unpacked by us, and then flushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Creation time by layer: a layer that was removed and came back is another one.
    created: BTreeMap<LayerId, String>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    layers: BTreeMap<LayerId, String>,
}

impl Ledger {
    /// Reads the ledger. A missing or broken one is empty: every layer is then checked again.
    ///
    /// Fails when it was written by a newer version.
    pub fn read(state: &StateDir) -> anyhow::Result<Self> {
        let path = state.path().join(LEDGER_FILE);
        let content = match state.dir().read(LEDGER_FILE) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).with_context(|| format!("reading {path}")),
        };
        let Ok(document) = serde_json::from_slice::<Document>(&content) else {
            tracing::warn!(%path, "ledger is malformed, all layers will be checked");
            return Ok(Self::default());
        };
        if document.version > FORMAT_VERSION {
            let message = format!(
                "{path} has version {}, this program knows {FORMAT_VERSION}; use the newer program",
                document.version
            );
            return Err(Fault::new(FaultKind::Other, message).into());
        }
        Ok(Self {
            created: document.layers,
        })
    }

    /// Writes the ledger so that it survives a crash, without layers that the store has lost.
    pub fn write(&mut self, state: &StateDir, inventory: &Inventory) -> anyhow::Result<()> {
        self.created
            .retain(|id, created| match inventory.layers.get(id) {
                Some(layer) => layer.created == *created,
                None => false,
            });
        let document = Document {
            version: FORMAT_VERSION,
            layers: self.created.clone(),
        };
        let mut content = serde_json::to_vec_pretty(&document)?;
        content.push(b'\n');
        state.replace(LEDGER_FILE, &content)
    }

    /// Whether this very layer is known to be whole and on disk.
    pub fn vouches_for(&self, layer: &StoredLayer) -> bool {
        self.created.get(&layer.id) == Some(&layer.created)
    }

    /// Enters a layer. The caller has flushed its filesystem.
    pub fn enter(&mut self, layer: &StoredLayer) {
        self.created.insert(layer.id.clone(), layer.created.clone());
    }

    /// Layers of an image that are not known to be whole, top first.
    pub fn unverified<'a>(
        &self,
        inventory: &'a Inventory,
        image: &StoredImage,
    ) -> Vec<&'a StoredLayer> {
        let mut chain = inventory.chain(image);
        chain.retain(|layer| !self.vouches_for(layer));
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;
    use cap_std_ext::cap_std::fs::Dir;

    fn layer(fill: &str, created: &str) -> StoredLayer {
        StoredLayer {
            id: fill.repeat(64).parse().unwrap(),
            parent: None,
            diff_digest: None,
            blob_digest: None,
            diff_bytes: 0,
            blob_bytes: 0,
            created: created.into(),
            incomplete: false,
        }
    }

    #[test]
    fn it_vouches_for_the_very_layer_and_forgets_what_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let bootc = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let state = StateDir::create(&bootc, "/x".into()).unwrap();
        let (kept, gone) = (layer("a", "1"), layer("b", "1"));
        let mut ledger = Ledger::read(&state).unwrap();
        assert!(!ledger.vouches_for(&kept));
        ledger.enter(&kept);
        ledger.enter(&gone);
        let mut inventory = Inventory::default();
        inventory.layers.insert(kept.id.clone(), kept.clone());
        ledger.write(&state, &inventory).unwrap();

        let read = Ledger::read(&state).unwrap();
        assert!(read.vouches_for(&kept));
        assert!(!read.vouches_for(&layer("a", "2")), "it came back");
        assert!(!read.vouches_for(&gone));

        std::fs::write(temp.path().join("bound-images").join(LEDGER_FILE), "{").unwrap();
        assert_eq!(Ledger::read(&state).unwrap(), Ledger::default());
        let newer = "{\"version\": 2, \"layers\": {}}";
        std::fs::write(temp.path().join("bound-images").join(LEDGER_FILE), newer).unwrap();
        assert!(Ledger::read(&state).is_err());
    }
}
