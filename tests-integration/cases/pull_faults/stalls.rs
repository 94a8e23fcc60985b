//! Registries that stop in the middle of an answer: podman alone would wait for ever.

use tests_integration::{Fault, Rule};

use super::super::bench::{column, items};
use super::{BLOB, MANIFEST, Victim};

const IMPATIENT: [&str; 4] = ["--stall-timeout", "2", "--retries", "1"];

#[test]
fn privileged_a_registry_that_stalls_is_given_up_tried_again_and_code_12() {
    let victim = Victim::new();
    for (place, fault) in [
        (MANIFEST, Fault::Stall),
        (MANIFEST, Fault::StallAfter(10)),
        (BLOB, Fault::Stall),
        (BLOB, Fault::StallAfter(1000)),
    ] {
        let failure = victim.fails([Rule::on(place, fault.clone())], &IMPATIENT, 12);
        let expected = "podman made no progress for 2 s";
        assert_eq!(failure.reason, expected, "{place} {fault:?}");
        assert_eq!(failure.retries(), 1);
        assert_eq!(victim.manifest_requests(), 2);
    }
    victim.recovers();
}

#[test]
fn privileged_a_registry_that_stalled_once_is_asked_again() {
    let victim = Victim::new();
    let own_layer = format!("{BLOB}{}", victim.wanted.pushed.layer_digests[1]);
    victim
        .bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::StallAfter(5000)).times(1)]);
    let pulled = items(victim.bench.pull(&IMPATIENT).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    assert_eq!(victim.blob_requests(), 2);
    victim.has_arrived();
}

#[test]
fn privileged_a_slow_registry_is_not_taken_for_a_stalled_one() {
    let victim = Victim::new();
    // 200 kB take twice as long as podman may make no progress at all.
    let slow = Fault::Slow {
        bytes_per_sec: 50_000,
    };
    victim.bench.proxy.set_rules([Rule::on(BLOB, slow)]);
    let pulled = items(
        victim
            .bench
            .pull(&["--stall-timeout", "2", "--retries", "0"])
            .code(0),
    );
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    victim.has_arrived();
}
