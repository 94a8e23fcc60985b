//! Moving bytes: when to try again, and how long to wait before it.

mod retry;

pub use retry::{Attempt, RetryPolicy, with_retries};
