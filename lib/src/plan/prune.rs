//! Chooses images to remove; never removes.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use super::orphans::{OrphanChain, Orphans, plan_orphans};
use crate::model::{
    BoundImage, Digest, ImageId, ImageName, InUse, Inventory, LayerId, StoredImage,
};

/// Whether a prune removes, or only says what it would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneMode {
    /// It removes.
    Remove,
    /// It changes nothing, and takes no lock.
    DryRun,
}

/// What one root needs.
#[derive(Debug, Clone)]
pub struct RootNeeds {
    /// The root, as the operator named it.
    pub root: Utf8PathBuf,
    /// The images that it binds.
    pub images: Vec<BoundImage>,
}

/// What a prune will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Images that go, with all of their names.
    pub removed: Vec<RemovedImage>,
    /// Images that stay.
    pub kept: Vec<KeptImage>,
    /// Layers that belong to no image; they go as well.
    pub orphans: Orphans,
    /// Bytes of layers and metadata that are gone once all of this has gone.
    pub freed_bytes: u64,
}

impl PrunePlan {
    /// Makes the plan say what came of it, where some orphans could not be removed.
    pub fn without_lasting_orphans(&mut self, before: &Inventory, after: &Inventory) {
        let remain = |layer: &LayerId| after.layers.contains_key(layer);
        self.orphans.layers.retain(|layer| !remain(layer));
        let lasts = |chain: &OrphanChain| chain.layers.last().is_some_and(|top| remain(&top.id));
        self.orphans.chains.retain(|chain| !lasts(chain));
        self.freed_bytes = freed_bytes(self, before);
    }
}

/// An image that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    /// Its ID.
    pub id: ImageId,
    /// All of its names.
    pub names: Vec<String>,
    /// Its size in bytes, with layers that other images share.
    pub size_bytes: u64,
    /// Why it goes.
    pub reason: String,
}

/// An image that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptImage {
    /// Its ID.
    pub id: ImageId,
    /// The names that it keeps.
    pub names: Vec<String>,
    /// Names that it loses, since no root needs them.
    pub removed_names: Vec<String>,
    /// Its size in bytes, with layers that other images share.
    pub size_bytes: u64,
    /// Why it stays.
    pub reason: String,
}

/// Plans the removal of every image that no root needs and nothing uses.
///
/// Needs are turned into image IDs first; no image goes because of how a name is written.
pub fn plan_prune(roots: &[RootNeeds], inventory: &Inventory, in_use: &[InUse]) -> PrunePlan {
    let needs = Needs::new(roots, inventory);
    let mut plan = PrunePlan::default();
    for image in inventory.images.values() {
        let size_bytes = inventory.size_bytes(image);
        let needed_by = needs.of(image);
        let used_by = in_use
            .iter()
            .find(|in_use| inventory.stands_on(image, &in_use.layer));
        let (reason, removed_names) = match (needed_by, used_by) {
            (Some(reason), _) => (reason, needs.superfluous_names(image)),
            (None, Some(in_use)) => (format!("in use by {}", in_use.holder), Vec::new()),
            (None, None) => {
                plan.removed.push(RemovedImage {
                    id: image.id.clone(),
                    names: image.names.clone(),
                    size_bytes,
                    reason: "no root needs it".to_owned(),
                });
                continue;
            }
        };
        let is_kept = |name: &&String| !removed_names.contains(name);
        plan.kept.push(KeptImage {
            id: image.id.clone(),
            names: image.names.iter().filter(is_kept).cloned().collect(),
            removed_names,
            size_bytes,
            reason,
        });
    }
    plan.orphans = plan_orphans(inventory, in_use);
    plan.freed_bytes = freed_bytes(&plan, inventory);
    plan
}

struct Needs<'a> {
    /// Every need with the root that has it.
    needs: Vec<(&'a BoundImage, &'a RootNeeds)>,
    /// Names that some image of the store has now.
    held_names: BTreeSet<&'a str>,
}

impl<'a> Needs<'a> {
    fn new(roots: &'a [RootNeeds], inventory: &'a Inventory) -> Self {
        let with_root = |root: &'a RootNeeds| root.images.iter().map(move |image| (image, root));
        Self {
            needs: roots.iter().flat_map(with_root).collect(),
            held_names: inventory
                .images
                .values()
                .flat_map(|image| image.names.iter().map(String::as_str))
                .collect(),
        }
    }

    /// Why an image is needed; `None` when it is not.
    fn of(&self, image: &StoredImage) -> Option<String> {
        self.needs.iter().find_map(|(need, root)| {
            let how = self.match_with(&need.name, image)?;
            let link = &need.declarations[0].position.link;
            Some(format!("{how} by bound-images.d/{link} of {}", root.root))
        })
    }

    fn match_with(&self, name: &ImageName, image: &StoredImage) -> Option<&'static str> {
        let holds = |names: &[String]| names.iter().any(|known| known == name.as_str());
        let is_pinned = |digest: &Digest| image.has_digest(digest);
        if holds(&image.names) || name.digest().is_some_and(is_pinned) {
            return Some("bound");
        }
        // The name is gone from the store, so the image that had it may be the one that is meant.
        let is_lost = !self.held_names.contains(name.as_str());
        (is_lost && holds(&image.names_history)).then_some("formerly held a name that is bound")
    }

    /// Tags of a needed image that no root needs. Removing them never removes the last name.
    ///
    /// Names with a digest stay: podman could not give them back. So do tags where a digest is
    /// needed and no name has one: podman 5 finds an image by digest only while it has a name in
    /// that repository.
    fn superfluous_names(&self, image: &StoredImage) -> Vec<String> {
        let has_digest_name = |repository: &str| {
            let prefix = format!("{repository}@");
            image.names.iter().any(|name| name.starts_with(&prefix))
        };
        let is_needed = |known: &String| {
            known.contains('@')
                || self.needs.iter().any(|(need, _)| {
                    let name = &need.name;
                    let keeps_digest_reachable =
                        name.digest().is_some_and(|digest| image.has_digest(digest))
                            && known.starts_with(&format!("{}:", name.repository()))
                            && !has_digest_name(name.repository());
                    known == name.as_str() || keeps_digest_reachable
                })
        };
        let (kept, superfluous): (Vec<String>, Vec<String>) =
            image.names.iter().cloned().partition(is_needed);
        match kept.is_empty() {
            true => Vec::new(),
            false => superfluous,
        }
    }
}

/// Layers that go are those below a removed image or orphan, unless one that stays is on them.
fn freed_bytes(plan: &PrunePlan, inventory: &Inventory) -> u64 {
    let layers_of = |id: &ImageId| {
        let chain = inventory.chain(&inventory.images[id]);
        chain.into_iter().map(|layer| layer.id.clone())
    };
    let orphans = plan.orphans.chains.iter().flat_map(|chain| &chain.layers);
    let mut gone: BTreeSet<LayerId> = orphans.map(|layer| layer.id.clone()).collect();
    gone.extend(plan.removed.iter().flat_map(|image| layers_of(&image.id)));
    let kept_by_images = plan.kept.iter().flat_map(|image| layers_of(&image.id));
    let mut kept: BTreeSet<LayerId> = kept_by_images.collect();
    // An orphan that cannot be removed holds what is below it.
    for layer in inventory
        .layers
        .values()
        .filter(|layer| !gone.contains(&layer.id))
    {
        let mut next = layer.parent.as_ref();
        while let Some(below) = next.and_then(|id| inventory.layers.get(id)) {
            next = below
                .parent
                .as_ref()
                .filter(|_| kept.insert(below.id.clone()));
        }
    }
    let freed = gone
        .difference(&kept)
        .map(|id| inventory.layers[id].diff_bytes);
    let metadata = |image: &RemovedImage| inventory.images[&image.id].metadata_bytes;
    freed.sum::<u64>() + plan.removed.iter().map(metadata).sum::<u64>()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Declaration, Health, Platform, Position, PullOptions, StoredLayer};

    pub(in crate::plan) fn layer_id(fill: &str) -> LayerId {
        fill.repeat(64).parse().unwrap()
    }

    /// An image with the digest and ID `fill…`, standing on `layers` from base to top.
    pub(in crate::plan) fn stored(fill: &str, names: &[&str], layers: &[&str]) -> StoredImage {
        let digest: Digest = format!("sha256:{}", fill.repeat(64)).parse().unwrap();
        StoredImage {
            id: fill.repeat(64).parse().unwrap(),
            digest: Some(digest.clone()),
            manifest_digests: BTreeSet::from([digest]),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            names_history: layers
                .iter()
                .map(|layer| format!("layer {layer}"))
                .collect(),
            top_layer: layers.last().map(|fill| layer_id(fill)),
            platform: Platform::default(),
            metadata_bytes: 1,
            health: Health::Complete,
        }
    }

    /// A store of images; layers have 100 bytes each.
    pub(in crate::plan) fn inventory(images: Vec<StoredImage>) -> Inventory {
        let mut inventory = Inventory::default();
        for image in images {
            let mut parent = None;
            for entry in &image.names_history {
                let Some(fill) = entry.strip_prefix("layer ") else {
                    continue;
                };
                let id = layer_id(fill);
                let layer = StoredLayer {
                    id: id.clone(),
                    parent: parent.replace(id.clone()),
                    diff_digest: None,
                    blob_digest: None,
                    diff_bytes: 100,
                    blob_bytes: 50,
                    created: String::new(),
                    incomplete: false,
                };
                inventory.layers.insert(id, layer);
            }
            inventory.images.insert(image.id.clone(), image);
        }
        inventory
    }

    pub(in crate::plan) fn bound(raw: &str) -> BoundImage {
        BoundImage {
            name: ImageName::parse(raw).unwrap(),
            options: PullOptions::default(),
            declarations: vec![Declaration {
                position: Position {
                    link: "web.image".into(),
                    file: "/usr/web.image".into(),
                    line: 2,
                },
                raw: raw.into(),
            }],
        }
    }

    fn root(raws: &[&str]) -> RootNeeds {
        RootNeeds {
            root: "/root-a".into(),
            images: raws.iter().map(|raw| bound(raw)).collect(),
        }
    }

    fn removed(plan: &PrunePlan) -> Vec<&str> {
        plan.removed
            .iter()
            .map(|image| &image.id.as_str()[..1])
            .collect()
    }

    #[test]
    fn what_is_needed_stays_however_it_is_written() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let tag_and_digest = format!("r.io/a:v1@{digest}");
        let digest_name = format!("r.io/a@{digest}");
        for (need, names) in [
            ("r.io/a", &["r.io/a:latest"][..]),
            ("docker://r.io/a:v1", &["r.io/a:v1"]),
            (&tag_and_digest, &[&digest_name]),
            (&tag_and_digest, &["r.io/a:v1"]),
            (&digest_name, &[]),
        ] {
            let store = inventory(vec![stored("a", names, &["0"]), stored("b", &[], &["0"])]);
            let plan = plan_prune(&[root(&[need])], &store, &[]);
            assert_eq!(removed(&plan), ["b"], "{need}");
            assert_eq!(plan.freed_bytes, 1, "the layer is shared");
        }
    }

    #[test]
    fn several_roots_add_up_and_the_rest_goes() {
        let store = inventory(vec![
            stored("a", &["r.io/a:1"], &["0", "1"]),
            stored("b", &["r.io/b:1"], &["0", "2"]),
            stored("c", &["r.io/c:1", "r.io/c:2"], &["0", "3"]),
        ]);
        let plan = plan_prune(&[root(&["r.io/a:1"]), root(&["r.io/b:1"])], &store, &[]);
        assert_eq!(removed(&plan), ["c"]);
        assert_eq!(plan.removed[0].names, ["r.io/c:1", "r.io/c:2"]);
        assert_eq!(plan.freed_bytes, 101);
        assert_eq!(
            plan.kept[0].reason,
            "bound by bound-images.d/web.image of /root-a"
        );
    }

    #[test]
    fn a_needed_image_loses_names_that_nobody_needs_but_not_the_last() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let digest_name = format!("r.io/a@{digest}");
        for (need, names, gone) in [
            ("r.io/a:1", &["r.io/a:1", "r.io/b:1"][..], &["r.io/b:1"][..]),
            ("r.io/a:1", &["r.io/a:1", &digest_name], &[]),
            (&digest_name, &["r.io/a:1", "r.io/b:1"], &["r.io/b:1"]),
            (&digest_name, &["r.io/b:1"], &[]),
            (&digest_name, &["r.io/a:1", &digest_name], &["r.io/a:1"]),
        ] {
            let store = inventory(vec![stored("a", names, &["0"])]);
            let plan = plan_prune(&[root(&[need])], &store, &[]);
            assert_eq!(plan.kept[0].removed_names, gone, "{need} {names:?}");
        }
    }

    #[test]
    fn an_image_that_lost_a_needed_name_stays_until_another_has_it() {
        let mut nameless = stored("a", &[], &["0"]);
        nameless.names_history.push("r.io/a:1".into());
        let lost = inventory(vec![nameless.clone()]);
        assert!(removed(&plan_prune(&[root(&["r.io/a:1"])], &lost, &[])).is_empty());
        let moved = inventory(vec![nameless, stored("b", &["r.io/a:1"], &["1"])]);
        assert_eq!(
            removed(&plan_prune(&[root(&["r.io/a:1"])], &moved, &[])),
            ["a"]
        );
    }

    #[test]
    fn what_a_container_stands_on_stays_with_its_names() {
        let store = inventory(vec![stored("a", &["r.io/a:1", "r.io/a:2"], &["0", "1"])]);
        for layer in ["0", "1"] {
            let in_use = InUse {
                layer: layer_id(layer),
                holder: "container web".into(),
            };
            let plan = plan_prune(&[], &store, &[in_use]);
            assert_eq!(plan.kept[0].reason, "in use by container web");
            assert_eq!(plan.kept[0].names.len(), 2);
        }
        assert_eq!(removed(&plan_prune(&[], &store, &[])), ["a"]);
    }
}
