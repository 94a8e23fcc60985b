//! A prune and a pull never run at the same time.

use tests_integration::{AppImage, Fault, FaultProxy, Layer, OsRoot, Rule};

use super::leftovers::wait_until;
use super::{Bench, ids, ids_of, prune_args, root_binding};

#[test]
fn privileged_a_prune_waits_for_a_pull_or_gives_up() {
    let bench = Bench::new();
    let proxy = FaultProxy::in_front_of(&bench.registry);
    bench.host.set_insecure_registries(&[&proxy.host()]);
    let image = AppImage::new([Layer::new().random("data", 400_000, 1)]).push(
        &bench.registry,
        "slow",
        "v1",
    );
    let blob = format!("GET /v2/slow/blobs/{}", image.layer_digests[0]);
    let slow = Fault::Slow {
        bytes_per_sec: 50_000,
    };
    proxy.set_rules([Rule::on(&blob, slow)]);
    let staged = root_binding(&[&image.at(&proxy.host())]);
    let pull = bench
        .host
        .spawn(&["pull", "--root", staged.path().as_str()]);
    wait_until("the blob is asked for", || proxy.count_matching(&blob) > 0);

    let root = OsRoot::new();
    let waiting = bench.host.spawn(&prune_args(&[&root], &["--json"]));
    let impatient = bench.try_prune(&[&root], &["--no-wait"]);
    let said = impatient.code(15).stderr();
    let holder = format!("is held by bound-images pull (pid {})", pull.pid());
    assert!(said.contains(&holder), "{said}");
    assert!(said.contains("run again when it has ended"), "{said}");
    let dry = bench.try_prune(&[&root], &["--json", "--dry-run", "--no-wait"]);
    assert_eq!(
        dry.code(0).json()["removed"],
        serde_json::json!([]),
        "it takes no lock"
    );
    wait_until("it says for whom it waits", || {
        let said = waiting.stderr_so_far();
        said.contains(&format!(
            "Waiting for bound-images pull (pid {})",
            pull.pid()
        ))
    });

    pull.wait().code(0);
    let report = waiting.wait().code(0).json();
    assert_eq!(
        ids(&report, "removed"),
        ids_of(&[&image]),
        "planned after the pull"
    );
    assert!(bench.host.store().images().is_empty());
}
