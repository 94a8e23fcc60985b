//! Our own state beside the store: the lock, the ledger of verified layers, the receipts of
//! deployments, the private TMPDIR.

mod ledger;
mod lock;
mod receipts;
mod state_dir;

pub use ledger::Ledger;
pub use lock::{Lock, Patience};
pub use receipts::{read_receipts, remove_receipt, write_receipt};
pub use state_dir::StateDir;
