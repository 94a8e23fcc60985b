//! Chooses what to pull.

use std::collections::BTreeSet;

use crate::model::{AuthSource, BoundImage, Health, ImageId, Inventory, LayerId, StoredImage};

/// Whether a tag that is present is looked up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// It is.
    Newer,
    /// What is present is left as it is.
    Missing,
}

/// What happens to one bound image.
#[derive(Debug, PartialEq, Eq)]
pub struct PullStep<'a> {
    /// The image.
    pub image: &'a BoundImage,
    /// What happens.
    pub action: PullAction,
}

/// What a pull does with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullAction {
    /// Nothing is fetched: it is present and may stay as it is.
    Keep {
        /// Its ID.
        id: ImageId,
        /// A tag to give it, so that it is found by its digest when other tags move on.
        pin: Option<String>,
    },
    /// It is present, and its tag is looked up again.
    LookUp(ImageId),
    /// It is missing.
    Fetch,
    /// It is present and damaged; says how. It is fetched anew.
    Replace(String),
}

/// What a pull would do with one image, for whoever shows it.
#[derive(Debug)]
pub struct ProposedImage {
    /// The image and its declarations.
    pub image: BoundImage,
    /// What would be done; `None` when this user may not look into the store.
    pub action: Option<PullAction>,
    /// Where credentials would come from.
    pub auth: AuthSource,
}

/// Plans the pull of a root's images, one step each, in their order.
///
/// `damaged` are layers whose files are known not to match their digest.
pub fn plan_pull<'a>(
    images: &'a [BoundImage],
    inventory: &Inventory,
    damaged: &BTreeSet<LayerId>,
    policy: PullPolicy,
) -> Vec<PullStep<'a>> {
    let step = |image: &'a BoundImage| PullStep {
        image,
        action: match inventory.find_bound(image) {
            None => PullAction::Fetch,
            Some(stored) => present_action(image, stored, inventory, damaged, policy),
        },
    };
    images.iter().map(step).collect()
}

fn present_action(
    image: &BoundImage,
    stored: &StoredImage,
    inventory: &Inventory,
    damaged: &BTreeSet<LayerId>,
    policy: PullPolicy,
) -> PullAction {
    if let Some(reason) = damage_of(stored, inventory, damaged) {
        return PullAction::Replace(reason);
    }
    let id = stored.id.clone();
    match policy {
        PullPolicy::Newer if image.name.digest().is_none() => PullAction::LookUp(id),
        PullPolicy::Newer | PullPolicy::Missing => PullAction::Keep {
            id,
            pin: missing_pin(image, stored),
        },
    }
}

/// What is wrong with an image, as far as its records and `damaged` tell.
pub fn damage_of(
    stored: &StoredImage,
    inventory: &Inventory,
    damaged: &BTreeSet<LayerId>,
) -> Option<String> {
    if let Health::Damaged(reason) = &stored.health {
        return Some(reason.clone());
    }
    let chain = inventory.chain(stored);
    let layer = chain.iter().find(|layer| damaged.contains(&layer.id))?;
    Some(format!(
        "the files of layer {} do not match their digest",
        layer.id.short()
    ))
}

/// The tag that a digest needs to be found by podman 5 once other tags of its repository moved.
///
/// podman gives names with a digest only by a pull, so an image that is present under a tag
/// alone gets a tag of ours, in its own repository.
fn missing_pin(image: &BoundImage, stored: &StoredImage) -> Option<String> {
    let digits = image.name.digest()?.as_str().trim_start_matches("sha256:");
    let pin = format!("{}:bound-images-{}", image.name.repository(), &digits[..12]);
    let holds = |name: &str| stored.names.iter().any(|known| known == name);
    let is_found = holds(image.name.as_str()) || holds(&pin);
    (!is_found).then_some(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Platform;
    use crate::plan::prune::tests::{bound, inventory, layer_id, stored};

    fn action(
        image: BoundImage,
        inventory: &Inventory,
        damaged: &BTreeSet<LayerId>,
        policy: PullPolicy,
    ) -> PullAction {
        plan_pull(&[image], inventory, damaged, policy)
            .remove(0)
            .action
    }

    fn keep(id: &ImageId) -> PullAction {
        PullAction::Keep {
            id: id.clone(),
            pin: None,
        }
    }

    #[test]
    fn tags_are_looked_up_and_digests_are_not() {
        let digest = format!("r.io/a@sha256:{}", "a".repeat(64));
        let a = stored("a", &["r.io/a:1", &digest], &["0"]);
        let id = a.id.clone();
        let inventory = inventory(vec![a]);
        for (name, policy, want) in [
            (
                "r.io/a:1",
                PullPolicy::Newer,
                PullAction::LookUp(id.clone()),
            ),
            ("r.io/a:1", PullPolicy::Missing, keep(&id)),
            (&digest, PullPolicy::Newer, keep(&id)),
            ("r.io/b:1", PullPolicy::Newer, PullAction::Fetch),
            ("r.io/b:1", PullPolicy::Missing, PullAction::Fetch),
        ] {
            let action = action(bound(name), &inventory, &BTreeSet::new(), policy);
            assert_eq!(action, want, "{name} {policy:?}");
        }
    }

    #[test]
    fn a_digest_that_is_present_under_a_tag_alone_is_pinned_once() {
        let digest = format!("r.io/a@sha256:{}", "a".repeat(64));
        let pin = "r.io/a:bound-images-aaaaaaaaaaaa";
        for (names, want) in [
            (&["r.io/a:1"][..], Some(pin)),
            (&["r.io/a:1", pin], None),
            (&["r.io/a:1", &digest], None),
        ] {
            let inventory = inventory(vec![stored("a", names, &["0"])]);
            let action = action(
                bound(&digest),
                &inventory,
                &BTreeSet::new(),
                PullPolicy::Newer,
            );
            let PullAction::Keep { pin, .. } = action else {
                panic!("{action:?}");
            };
            assert_eq!(pin.as_deref(), want, "{names:?}");
        }
    }

    #[test]
    fn damage_of_records_or_layers_is_replaced() {
        let mut broken = stored("a", &["r.io/a:1"], &["0", "1"]);
        broken.health = Health::Damaged("its manifest is missing".into());
        let inventory = inventory(vec![broken, stored("b", &["r.io/b:1"], &["2"])]);
        let damaged = BTreeSet::from([layer_id("2")]);
        for (name, want) in [
            ("r.io/a:1", "its manifest is missing"),
            (
                "r.io/b:1",
                "the files of layer 222222222222 do not match their digest",
            ),
        ] {
            for policy in [PullPolicy::Newer, PullPolicy::Missing] {
                let action = action(bound(name), &inventory, &damaged, policy);
                assert_eq!(action, PullAction::Replace(want.into()));
            }
        }
    }

    #[test]
    fn another_platform_is_not_the_image_that_is_asked_for() {
        let platform = |arch: Option<&str>| Platform {
            arch: arch.map(str::to_owned),
            ..Platform::default()
        };
        let this = Platform::of_this_machine().arch;
        let index = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
        for (wanted, actual, is_of_index, is_kept) in [
            (Some("s390x"), Some("s390x"), false, true),
            (Some("s390x"), this.as_deref(), false, false),
            (None, Some("s390x"), false, true),
            (None, Some("s390x"), true, false),
            (None, this.as_deref(), true, true),
        ] {
            let mut a = stored("a", &["r.io/a:1"], &["0"]);
            a.platform = platform(actual);
            if is_of_index {
                a.manifest_digests.insert(Clone::clone(&index));
            }
            let mut image = bound("r.io/a:1");
            image.options.platform = platform(wanted);
            let inventory = inventory(vec![a]);
            let action = action(image, &inventory, &BTreeSet::new(), PullPolicy::Missing);
            let was_kept = matches!(action, PullAction::Keep { .. });
            assert_eq!(was_kept, is_kept, "{wanted:?} {actual:?} {is_of_index}");
        }
    }
}
