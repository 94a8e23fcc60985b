//! Our own state beside the store: the lock, the ledger of verified layers, the private TMPDIR.

mod ledger;
mod lock;
mod state_dir;

pub use ledger::Ledger;
pub use lock::{Lock, Patience};
pub use state_dir::StateDir;
