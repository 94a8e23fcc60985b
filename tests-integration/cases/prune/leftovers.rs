//! What an interrupted pull, a crash or another program left is gone after a prune.

use std::time::{Duration, Instant};

use tests_integration::tree::{Snapshot, walk};
use tests_integration::{AppImage, Fault, FaultProxy, Layer, OsRoot, Rule, TestHost};

use super::{BASE_BYTES, Bench, ids, ids_of, item, root_binding};

/// Waits until the condition holds; panics when it takes too long.
#[track_caller]
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn privileged_what_a_killed_pull_left_is_gone() {
    let bench = Bench::new();
    let proxy = FaultProxy::in_front_of(&bench.registry);
    bench
        .host
        .set_insecure_registries(&[&bench.registry.host(), &proxy.host()]);
    let needed = bench.push("needed", "v1");
    let root = root_binding(&[&needed.reference]);
    bench.pull(&root);
    let complete = bench.push("complete", "v1");
    let stalled = AppImage::new([Layer::new().random("data", 400_000, 1)]).push(
        &bench.registry,
        "stalled",
        "v1",
    );
    let blob = format!("GET /v2/stalled/blobs/{}", stalled.layer_digests[0]);
    proxy.set_rules([Rule::on(&blob, Fault::StallAfter(200_000))]);

    let staged = root_binding(&[&complete.reference, &stalled.at(&proxy.host())]);
    let pull = bench
        .host
        .spawn(&["pull", "--root", staged.path().as_str()]);
    let state = bench.host.sysroot().join("ostree/bootc/bound-images");
    let tmp = state.join("tmp");
    let bytes_in_tmp = || -> u64 {
        let files = walk(&tmp).into_iter();
        files
            .filter_map(|path| Some(path.symlink_metadata().ok()?.len()))
            .sum()
    };
    wait_until("half of a blob is in TMPDIR", || bytes_in_tmp() > 100_000);
    assert_eq!(pull.kill_9().signal_optional(), Some(9));
    wait_until("podman has ended as well", || {
        bench.host.processes().is_empty()
    });
    assert!(bytes_in_tmp() > 100_000, "a killed pull leaves its blobs");
    let unfinished = bench.host.sysroot().join("ostree/bootc/storage.tmp");
    std::fs::create_dir_all(unfinished.join("overlay")).expect("leaving an unfinished store");

    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), ids_of(&[&complete]));
    assert_eq!(walk(&tmp), Vec::<String>::new());
    assert!(!unfinished.exists());
    assert_eq!(
        bench.layers().len(),
        2,
        "base and own layer of the needed image"
    );
    bench.assert_whole(&root, &needed, "needed:v1");
}

#[test]
fn privileged_an_unfinished_store_is_gone_though_there_is_no_other() {
    let host = TestHost::new();
    let bootc = host.sysroot().join("ostree/bootc");
    std::fs::create_dir_all(bootc.join("storage.tmp/overlay")).expect("leaving a store");
    std::fs::create_dir_all(bootc.join("bound-images/tmp/storage1")).expect("leaving a blob");
    std::fs::write(bootc.join("bound-images/tmp/storage1/1"), "blob").expect("leaving a blob");
    let root = OsRoot::new();
    let prune = ["prune", "--json", "--root", root.path().as_str()];
    let before = Snapshot::of(host.sysroot());
    let dry = host.bound_images(&[&prune[..], &["--dry-run"]].concat());
    assert_eq!(dry.code(0).json()["freedBytes"], 0);
    let changes = Snapshot::of(host.sysroot()).changes_since(&before);
    assert_eq!(changes, Vec::<String>::new());

    let report = host.bound_images(&prune).code(0).json();
    assert_eq!(ids(&report, "removed"), Vec::<String>::new());
    assert_eq!(ids(&report, "kept"), Vec::<String>::new());
    assert!(!bootc.join("storage.tmp").exists());
    assert_eq!(walk(&bootc.join("bound-images/tmp")), Vec::<String>::new());
    assert!(!bootc.join("storage").exists(), "a prune needs no store");
}

#[test]
fn privileged_an_image_of_another_program_is_pruned() {
    let bench = Bench::new();
    let needed = bench.push("needed", "v1");
    let root = root_binding(&[&needed.reference]);
    bench.pull(&root);
    let foreign = bench.push("foreign", "v1");
    bench.podman_pull(&foreign.reference);
    let archive = bench.host.var_tmp().join("rootfs.tar");
    let tar = ["--create", "--file", archive.as_str(), "/etc/hostname"];
    bench.host.run("tar", &tar).code(0);
    let import = ["import", "--quiet", "/var/tmp/rootfs.tar"];
    let imported = bench.host.store_podman(&import).code(0).stdout();
    let imported = imported.trim().trim_start_matches("sha256:").to_owned();

    let report = bench.prune(&[&root]);
    let mut foreigners = vec![foreign.image_id.clone(), imported];
    foreigners.sort();
    assert_eq!(ids(&report, "removed"), foreigners);
    assert_eq!(bench.layers().len(), 2);
}

#[test]
fn privileged_an_image_record_without_manifest_goes() {
    let bench = Bench::new();
    let needed = bench.push("needed", "v1");
    let root = root_binding(&[&needed.reference]);
    let half = bench.push("half", "v1");
    bench.pull(&root_binding(&[&needed.reference, &half.reference]));
    // What podman leaves when it is killed before it has written the manifest and the names.
    let mut records = bench.records("overlay-images/images.json");
    for record in &mut records {
        if record["id"] != *half.image_id {
            continue;
        }
        for key in ["names", "digest", "names-history"] {
            record.as_object_mut().expect("a record").remove(key);
        }
        for key in ["big-data-names", "big-data-sizes", "big-data-digests"] {
            record.as_object_mut().expect("a record").remove(key);
        }
    }
    bench.write_records("overlay-images/images.json", &records);
    assert_eq!(bench.layers().len(), 3);

    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), ids_of(&[&half]));
    assert_eq!(
        item(&report, "removed", &half)["names"],
        serde_json::json!([])
    );
    let records = bench.records("overlay-images/images.json");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(bench.layers().len(), 2);
    let freed = report["freedBytes"].as_u64().expect("a number");
    assert!(freed > 0 && freed < BASE_BYTES as u64, "{report}");
    bench.assert_whole(&root, &needed, "needed:v1");
}

/// podman removes an image's record first and its layers then, so a kill in between leaves them.
#[test]
fn privileged_layers_that_no_image_has_are_gone() {
    let bench = Bench::new();
    let [needed, lost] = ["needed", "lost"].map(|name| bench.push(name, "v1"));
    let root = root_binding(&[&needed.reference]);
    bench.pull(&root_binding(&[&needed.reference, &lost.reference]));
    let mut records = bench.records("overlay-images/images.json");
    records.retain(|record| record["id"] == *needed.image_id);
    bench.write_records("overlay-images/images.json", &records);
    assert_eq!(bench.layers().len(), 3);

    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "kept"), ids_of(&[&needed]));
    bench.assert_whole(&root, &needed, "needed:v1");
    assert_eq!(
        bench.layers().len(),
        2,
        "a layer that nothing refers to is left"
    );
}
