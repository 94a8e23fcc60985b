//! The verbs. They compose the other rooms; no room calls them.

mod bind;
mod collect;
mod fetch;
mod glance;
mod host;
mod list;
mod mend;
mod propose;
mod trust;
mod workspace;

pub use bind::{BindRequest, bind};
pub use collect::{CollectRequest, collect};
pub use host::Host;
pub use list::list;
pub use propose::propose;
