//! Says what a pull would do, without the network and without changing anything.

use std::collections::BTreeSet;

use super::Host;
use super::glance::Glance;
use super::list::auth_source;
use crate::auth::AuthRoots;
use crate::declare;
use crate::model::BoundImage;
use crate::plan::{ProposedImage, PullAction, PullPolicy, plan_pull};
use crate::root::OsRoot;

/// Plans the pull of a root's images from what can be seen now.
///
/// Damage that shows only when layers are read is found by the pull itself.
pub fn propose(
    host: &Host<'_>,
    root: &OsRoot,
    current: &OsRoot,
    policy: PullPolicy,
) -> anyhow::Result<Vec<ProposedImage>> {
    let declared = declare::read(root)?;
    for warning in &declared.warnings {
        host.warn(&warning.to_string());
    }
    let actions: Vec<Option<PullAction>> = match Glance::take(host)? {
        Glance::Unreadable => declared.images.iter().map(|_| None).collect(),
        Glance::Readable { inventory, .. } => {
            let steps = plan_pull(&declared.images, &inventory, &BTreeSet::new(), policy);
            steps.into_iter().map(|step| Some(step.action)).collect()
        }
    };
    let roots = AuthRoots { new: root, current };
    let proposed = |(image, action): (BoundImage, Option<PullAction>)| ProposedImage {
        auth: auth_source(roots, &image),
        image,
        action,
    };
    Ok(declared
        .images
        .into_iter()
        .zip(actions)
        .map(proposed)
        .collect())
}
