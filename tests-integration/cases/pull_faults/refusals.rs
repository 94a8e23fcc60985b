//! Registries that are down, refuse, or answer nonsense.

use tests_integration::{Fault, FaultProxy, OsRoot, Rule};

use super::super::bench::{Bench, column, items};
use super::{BLOB, MANIFEST, Victim};

fn status(code: u16) -> Fault {
    Fault::Status(code, String::new())
}

#[test]
fn privileged_a_registry_that_is_down_is_code_12_and_works_later() {
    let mut bench = Bench::new();
    let app = bench.push(&tests_integration::AppImage::tiny("1"), "app");
    bench.root.bind_image("app", &app.pushed.reference);
    bench.registry.stop();
    for retries in [0, 1] {
        let failed = bench.pull(&["--retries", &retries.to_string()]);
        let reported = items(failed.code(12));
        let reason = reported[0]["error"].as_str().expect("a reason");
        assert!(reason.contains("connection refused"), "{reason}");
        assert_eq!(
            failed.stderr().matches(" failed, next in 1 s: ").count(),
            retries
        );
        bench.assert_swept();
    }
    assert_eq!(bench.host.store().images(), []);
    bench.registry.start();
    let fetched = items(bench.pull(&[]).code(0));
    assert_eq!(column(&fetched, "id"), [app.pushed.image_id.as_str()]);
    app.assert_whole_in(&bench.host);
}

#[test]
fn privileged_a_registry_that_fails_is_asked_again_and_then_succeeds() {
    let victim = Victim::new();
    for fault in [status(500), status(503), Fault::Reset, Fault::Html] {
        victim.bench.proxy.clear();
        victim
            .bench
            .proxy
            .set_rules([Rule::on(MANIFEST, fault.clone()).times(2)]);
        let pulled = victim.bench.pull(&["--retries", "2"]);
        let reported = items(pulled.code(0));
        assert_eq!(
            column(&reported, "result"),
            ["present", "fetched"],
            "{fault:?}"
        );
        assert!(
            victim.manifest_requests() >= 3 || fault == Fault::Reset,
            "{fault:?}"
        );
        victim.has_arrived();
    }
}

#[test]
fn privileged_a_registry_that_keeps_failing_is_asked_as_often_as_allowed() {
    let victim = Victim::new();
    for (code, retries) in [(503, 2), (502, 1), (500, 0)] {
        let options = ["--retries", &retries.to_string()];
        let failure = victim.fails([Rule::on(MANIFEST, status(code))], &options, 12);
        assert_eq!(victim.manifest_requests(), 1 + retries, "{code}");
        assert_eq!(failure.retries(), retries);
        assert!(
            failure.reason.contains(&code.to_string()),
            "{}",
            failure.reason
        );
    }
    let failure = victim.fails([Rule::on(BLOB, status(503))], &["--retries", "1"], 12);
    assert_eq!(failure.retries(), 1);
    victim.recovers();
}

#[test]
fn privileged_a_refusal_is_not_asked_for_twice() {
    let victim = Victim::new();
    for (code, exit) in [(401, 11), (403, 11), (404, 18)] {
        let failure = victim.fails([Rule::on(MANIFEST, status(code))], &[], exit);
        assert_eq!(victim.manifest_requests(), 1, "{code}");
        assert_eq!(failure.retries(), 0, "{code}");
    }
    // podman itself asks four times for a blob that is refused.
    for (code, exit) in [(401, 11), (403, 11), (404, 18)] {
        let failure = victim.fails([Rule::on(BLOB, status(code))], &[], exit);
        assert_eq!(
            (failure.retries(), victim.manifest_requests()),
            (0, 1),
            "{code}"
        );
    }
    victim.recovers();
}

#[test]
fn privileged_a_busy_registry_is_asked_again_when_it_says() {
    let victim = Victim::new();
    let busy = Fault::TooManyRequests {
        retry_after_secs: 1,
    };
    victim
        .bench
        .proxy
        .set_rules([Rule::on(MANIFEST, busy.clone()).times(1)]);
    let pulled = items(victim.bench.pull(&["--retries", "0"]).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    assert_eq!(victim.manifest_requests(), 2);
    victim.has_arrived();

    // podman waits for longer than it may make no progress.
    let failure = victim.fails(
        [Rule::on(
            MANIFEST,
            Fault::TooManyRequests {
                retry_after_secs: 600,
            },
        )],
        &["--retries", "0", "--stall-timeout", "2"],
        12,
    );
    assert!(
        failure.reason.contains("no progress for 2 s"),
        "{}",
        failure.reason
    );
    victim.recovers();
}

#[test]
fn privileged_broken_connections_and_portals_are_code_12() {
    let victim = Victim::new();
    for (place, fault) in [
        (MANIFEST, Fault::Reset),
        (BLOB, Fault::Reset),
        (BLOB, Fault::Truncate(1000)),
        ("GET /v2/", Fault::Html),
        (MANIFEST, Fault::Html),
    ] {
        let failure = victim.fails([Rule::on(place, fault.clone())], &["--retries", "1"], 12);
        assert_eq!(failure.retries(), 1, "{place} {fault:?}");
    }
    victim.recovers();
}

#[test]
fn privileged_a_truncated_blob_is_fetched_again() {
    let victim = Victim::new();
    let own_layer = format!("{BLOB}{}", victim.wanted.pushed.layer_digests[1]);
    victim
        .bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::Truncate(1000)).times(1)]);
    let pulled = items(victim.bench.pull(&["--retries", "1"]).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    assert_eq!(victim.blob_requests(), 2);
    victim.has_arrived();
}

#[test]
fn privileged_one_registry_that_is_down_does_not_stop_another() {
    let bench = Bench::new();
    let good = bench.bind_tiny("good");
    let other = FaultProxy::in_front_of(&bench.registry);
    bench
        .host
        .set_insecure_registries(&[&bench.proxy.host(), &other.host()]);
    bench
        .root
        .bind_image("a-down", &good.pushed.at(&other.host()));
    other.set_rules([Rule::on("/", Fault::Reset)]);
    let pulled = items(bench.pull(&["--retries", "0"]).code(12));
    assert_eq!(column(&pulled, "result"), ["failed", "fetched"]);
    bench.assert_whole(&good);
    let empty = OsRoot::new();
    bench
        .host
        .bound_images(&["pull", "--root", empty.path().as_str()])
        .code(0);
    bench.assert_whole(&good);
}
