//! Tries again what may go better a moment later, with growing pauses.

use std::time::Duration;

use crate::child::Interrupt;

/// How often to try again, and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times after the first.
    pub retries: u32,
    /// Pause before the first repetition; each further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

/// A failed try that will be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which try it was, from 1.
    pub number: u32,
    /// The pause that follows.
    pub pause: Duration,
}

impl RetryPolicy {
    /// The pause after a failed try, counted from 1; `None` when it was the last.
    fn pause_after(&self, attempt: u32) -> Option<Duration> {
        if attempt > self.retries {
            return None;
        }
        let factor = 2u32.saturating_pow(attempt - 1);
        Some(
            self.first_pause
                .saturating_mul(factor)
                .min(self.longest_pause),
        )
    }
}

/// Runs `operation` until it succeeds, fails for good, or has failed once too often.
///
/// `is_worthwhile` says whether a failure is worth another try; `before_pause` is told of each
/// failure that is. An interrupt ends a pause; the operation itself has to notice it.
pub async fn with_retries<T, E>(
    policy: RetryPolicy,
    interrupt: &Interrupt,
    is_worthwhile: impl Fn(&E) -> bool,
    mut before_pause: impl FnMut(&E, Attempt),
    mut operation: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut number = 1;
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(pause) = policy.pause_after(number).filter(|_| is_worthwhile(&error)) else {
            return Err(error);
        };
        before_pause(&error, Attempt { number, pause });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = interrupt.requested() => {}
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(25),
    };

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn it_is_tried_as_often_as_it_is_worth() {
        // (failures before success, worth another try) → (succeeds, tries, pauses in ms)
        for (failures, worthwhile, want) in [
            (0, true, (true, 1, vec![])),
            (2, true, (true, 3, vec![10, 20])),
            (9, true, (false, 4, vec![10, 20, 25])),
            (9, false, (false, 1, vec![])),
        ] {
            let (_sender, interrupt) = Interrupt::new();
            let mut tries = 0;
            let mut pauses = Vec::new();
            let result = with_retries(
                POLICY,
                &interrupt,
                |_: &()| worthwhile,
                |(), attempt| pauses.push(attempt.pause.as_millis()),
                async || {
                    tries += 1;
                    if tries > failures { Ok(()) } else { Err(()) }
                },
            )
            .await;
            assert_eq!((result.is_ok(), tries, pauses), want);
        }
    }
}
