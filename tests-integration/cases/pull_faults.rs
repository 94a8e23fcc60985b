//! Registries, networks, disks and people that fail during a pull: what is tried again, how it ends, what is left.
//!
//! After every fault the store is as it was before, nothing half-made is left, no podman runs on, and the same command
//! works once the cause is gone.

mod refusals;
mod signals;
mod space;
mod stalls;
mod tampering;

use serde_json::Value;
use tests_integration::{Outcome, Rule};

use super::bench::{App, Bench, column, items, with_base};

/// A host with an image in its store, `kept`, and a second one that is not there yet, `wanted`.
struct Victim {
    bench: Bench,
    kept: App,
    wanted: App,
}

/// How a pull of the wanted image ended.
struct Failure {
    outcome: Outcome,
    reason: String,
}

impl Victim {
    fn new() -> Self {
        Self::on(Bench::new())
    }

    fn on(bench: Bench) -> Self {
        let kept = bench.push(&with_base("kept", 10_000), "kept");
        // By digest, so that it needs no network and stays out of the way.
        let pin = kept.pushed.pinned_at(&bench.proxy.host());
        bench.root.bind_image("kept", &pin);
        bench.pull(&[]).code(0);
        let wanted = bench.push(&with_base("wanted", 200_000), "wanted");
        bench.bind("wanted", &wanted);
        bench.proxy.clear();
        Self {
            bench,
            kept,
            wanted,
        }
    }

    /// Pulls while these rules hold; the wanted image fails with this code, and nothing is worse than before.
    #[track_caller]
    fn fails(&self, rules: impl IntoIterator<Item = Rule>, options: &[&str], exit: i32) -> Failure {
        self.bench.proxy.clear();
        self.bench.proxy.set_rules(rules);
        let outcome = self.bench.pull(options);
        let reported = items(outcome.code(exit));
        assert_eq!(
            column(&reported, "result"),
            ["present", "failed"],
            "{outcome}"
        );
        assert_eq!(reported[1]["bytesFetched"], 0);
        let reason = reported[1]["error"].as_str().expect("a reason").to_owned();
        let line = format!("error: {}: {reason}\n", self.bench.name(&self.wanted));
        assert!(
            outcome.stderr().contains(&line),
            "{line} is not in {outcome}"
        );
        assert_eq!(reason.lines().count(), 1, "{reason}");
        self.assert_nothing_is_worse();
        Failure { outcome, reason }
    }

    #[track_caller]
    fn assert_nothing_is_worse(&self) {
        assert_eq!(self.bench.podmans(), [] as [u32; 0], "podman runs on");
        self.bench.assert_swept();
        assert_eq!(
            self.bench.host.store().image_ids(),
            [self.kept.pushed.image_id.as_str()]
        );
        self.kept.assert_whole_in(&self.bench.host);
    }

    /// The same command works once the cause is gone. Afterwards the store is as at the start.
    #[track_caller]
    fn recovers(&self) -> Vec<Value> {
        self.bench.proxy.set_rules([]);
        let pulled = items(self.bench.pull(&[]).code(0));
        assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
        self.has_arrived();
        pulled
    }

    /// Panics unless both images are whole, then takes the wanted one away again.
    #[track_caller]
    fn has_arrived(&self) {
        self.bench.assert_whole(&self.wanted);
        self.kept.assert_whole_in(&self.bench.host);
        self.bench.assert_swept();
        let name = self.bench.name(&self.wanted);
        self.bench
            .host
            .store_podman(&["image", "rm", &name])
            .code(0);
    }

    fn manifest_requests(&self) -> usize {
        self.bench.proxy.count_matching("GET /v2/wanted/manifests/")
    }

    /// Requests for the blob of the layer that only the wanted image has.
    fn blob_requests(&self) -> usize {
        let digest = &self.wanted.pushed.layer_digests[1];
        self.bench.proxy.count_matching(&format!("/blobs/{digest}"))
    }
}

impl Failure {
    /// How often the run said that it tries again.
    fn retries(&self) -> usize {
        self.outcome.stderr().matches(" failed, next in ").count()
    }
}

/// The requests of manifests, and those of the wanted image's own layer.
const MANIFEST: &str = "/v2/wanted/manifests/";
const BLOB: &str = "/v2/wanted/blobs/";
