//! A look at the store that needs neither lock nor privileges.

use std::io;

use super::Host;
use crate::model::Inventory;
use crate::record::{Ledger, StateDir};
use crate::store::Store;

/// What can be seen of the store.
pub(super) enum Glance {
    /// All of it; nothing where there is no store.
    Readable {
        inventory: Inventory,
        ledger: Ledger,
    },
    /// This user may not look into it.
    Unreadable,
}

impl Glance {
    /// Looks, and warns when this user may not.
    pub(super) fn take(host: &Host<'_>) -> anyhow::Result<Self> {
        match Self::look(host) {
            Err(error) if is_permission_denied(&error) => {
                host.warn(&format!(
                    "{}/storage cannot be read by this user, so what is in it is unknown; \
                     run as root to see it",
                    host.bootc_path()
                ));
                Ok(Self::Unreadable)
            }
            other => other,
        }
    }

    fn look(host: &Host<'_>) -> anyhow::Result<Self> {
        let path = host.bootc_path();
        let mut inventory = Inventory::default();
        let mut ledger = Ledger::default();
        if let Some(bootc_dir) = host.open_bootc_dir_optional()?
            && let Some(store) = Store::open_optional(&bootc_dir, &path)?
        {
            inventory = store.inventory()?;
            if let Some(state) = StateDir::open_optional(&bootc_dir, &path)? {
                ledger = Ledger::read(&state)?;
            }
        }
        Ok(Self::Readable { inventory, ledger })
    }
}

fn is_permission_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}
