//! Finds layers that no image stands on: what a killed pull or removal leaves behind.

use std::collections::BTreeSet;

use crate::model::{InUse, Inventory, LayerId, StoredLayer};

/// Layers that belong to no image and can be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Chains by which to remove them, in the order of their tops' IDs.
    pub chains: Vec<OrphanChain>,
    /// The layers themselves.
    pub layers: BTreeSet<LayerId>,
}

/// A chain of layers, the top of which belongs to no image and carries no other layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanChain {
    /// From base to top. Lower ones may belong to an image as well; those stay with it.
    pub layers: Vec<StoredLayer>,
}

/// Finds every orphan that can be removed.
///
/// Left out are layers that something outside of the store uses, and chains that lack a record
/// or a digest, since podman could not be told of them. Incomplete layers count as absent:
/// podman removes them by itself.
pub fn plan_orphans(inventory: &Inventory, in_use: &[InUse]) -> Orphans {
    let owned = owned_layers(inventory);
    let is_orphan = |layer: &&StoredLayer| !owned.contains(&layer.id);
    let is_used = |layer: &StoredLayer| in_use.iter().any(|in_use| in_use.layer == layer.id);
    let complete = || inventory.layers.values().filter(|layer| !layer.incomplete);
    let parents: BTreeSet<&LayerId> = complete()
        .filter_map(|layer| layer.parent.as_ref())
        .collect();
    let chains: Vec<OrphanChain> = complete()
        .filter(|layer| is_orphan(layer) && !parents.contains(&layer.id))
        .filter_map(|top| chain_down(inventory, top))
        .filter(|chain| !chain.layers.iter().filter(is_orphan).any(is_used))
        .collect();
    let layers = chains
        .iter()
        .flat_map(|chain| &chain.layers)
        .filter(is_orphan);
    Orphans {
        layers: layers.map(|layer| layer.id.clone()).collect(),
        chains,
    }
}

/// Layers that some image stands on.
fn owned_layers(inventory: &Inventory) -> BTreeSet<LayerId> {
    let images = inventory.images.values();
    images
        .flat_map(|image| inventory.chain(image))
        .map(|layer| layer.id.clone())
        .collect()
}

fn chain_down(inventory: &Inventory, top: &StoredLayer) -> Option<OrphanChain> {
    let mut layers = vec![top.clone()];
    while let Some(parent) = &layers.last()?.parent {
        let layer = inventory
            .layers
            .get(parent)
            .filter(|layer| !layer.incomplete)?;
        if layers.len() > inventory.layers.len() {
            return None;
        }
        layers.push(layer.clone());
    }
    layers.reverse();
    let have_digests = layers.iter().all(|layer| layer.diff_digest.is_some());
    have_digests.then_some(OrphanChain { layers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::prune::tests::{inventory, layer_id, stored};

    /// Removes the images' records and gives every layer a digest.
    fn without_images(mut inventory: Inventory, fills: &[&str]) -> Inventory {
        inventory
            .images
            .retain(|id, _| !fills.contains(&&id.as_str()[..1]));
        for layer in inventory.layers.values_mut() {
            layer.diff_digest = Some(format!("sha256:{}", layer.id).parse().unwrap());
        }
        inventory
    }

    fn chains(inventory: &Inventory, in_use: &[InUse]) -> Vec<String> {
        plan_orphans(inventory, in_use)
            .chains
            .iter()
            .map(|chain| {
                chain
                    .layers
                    .iter()
                    .map(|layer| &layer.id.as_str()[..1])
                    .collect()
            })
            .collect()
    }

    #[test]
    fn every_top_without_an_image_gives_a_chain() {
        let all = || {
            inventory(vec![
                stored("a", &[], &["0", "1"]),
                stored("b", &[], &["0", "2", "3"]),
                stored("c", &[], &["0", "2", "4"]),
                stored("d", &[], &["5"]),
            ])
        };
        for (gone, want) in [
            (&[][..], &[][..]),
            (&["a"], &["01"]),
            (&["b"], &["023"]),
            (&["b", "c", "d"], &["023", "024", "5"]),
        ] {
            assert_eq!(chains(&without_images(all(), gone), &[]), want, "{gone:?}");
        }
    }

    #[test]
    fn what_is_used_incomplete_or_unknown_is_left_alone() {
        let orphans = || without_images(inventory(vec![stored("a", &[], &["0", "1"])]), &["a"]);
        let in_use = |fill: &str| {
            [InUse {
                layer: layer_id(fill),
                holder: "container web".into(),
            }]
        };
        assert_eq!(chains(&orphans(), &in_use("0")), [""; 0]);
        assert_eq!(chains(&orphans(), &in_use("9")), ["01"]);
        let mut incomplete = orphans();
        incomplete
            .layers
            .get_mut(&layer_id("1"))
            .unwrap()
            .incomplete = true;
        assert_eq!(chains(&incomplete, &[]), ["0"]);
        let mut broken = orphans();
        broken.layers.remove(&layer_id("0"));
        assert_eq!(chains(&broken, &[]), [""; 0]);
        let mut undigested = orphans();
        undigested
            .layers
            .get_mut(&layer_id("0"))
            .unwrap()
            .diff_digest = None;
        assert_eq!(chains(&undigested, &[]), [""; 0]);
    }
}
