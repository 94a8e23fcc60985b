//! Lists a root's bound images with their state; changes nothing and needs no privileges.

use super::Host;
use super::glance::Glance;
use crate::auth::{self, AuthRoots};
use crate::declare;
use crate::model::{AuthSource, BoundImage, Health, ListedImage, StoredState};
use crate::root::OsRoot;

/// Lists the bound images of a root.
///
/// Fails when a declaration is invalid, or the store's records are damaged.
pub fn list(host: &Host<'_>, root: &OsRoot, current: &OsRoot) -> anyhow::Result<Vec<ListedImage>> {
    let declared = declare::read(root)?;
    for warning in &declared.warnings {
        host.warn(&warning.to_string());
    }
    let glance = Glance::take(host)?;
    let roots = AuthRoots { new: root, current };
    let listed = |image: BoundImage| ListedImage {
        state: state(&glance, &image),
        auth: auth_source(roots, &image),
        image,
    };
    Ok(declared.images.into_iter().map(listed).collect())
}

/// What the store says of one image.
fn state(glance: &Glance, image: &BoundImage) -> StoredState {
    let Glance::Readable { inventory, ledger } = glance else {
        return StoredState::Unknown;
    };
    let Some(stored) = inventory.find_bound(image) else {
        return StoredState::Missing;
    };
    let id = stored.id.clone();
    let digest = image
        .name
        .digest()
        .cloned()
        .or_else(|| stored.digest.clone());
    match &stored.health {
        Health::Complete => StoredState::Present {
            id,
            digest,
            size_bytes: inventory.size_bytes(stored),
            is_verified: ledger.unverified(inventory, stored).is_empty(),
        },
        Health::Damaged(reason) => StoredState::Damaged {
            id,
            digest,
            reason: reason.clone(),
        },
    }
}

/// Where credentials would come from; that there are none is no reason not to list.
pub(super) fn auth_source(roots: AuthRoots<'_>, image: &BoundImage) -> AuthSource {
    auth::find(roots, image).unwrap_or_else(|error| AuthSource::Unavailable(format!("{error:#}")))
}
