//! Images that stand on each other, and the space that comes free.

use serde_json::Value;
use tests_integration::tree::walk;
use tests_integration::{AppImage, Layer, OsRoot, PushedImage};

use super::{BASE_BYTES, Bench, base_layer, ids, ids_of, item, root_binding, text};

/// A parent, and a child made of its layers and one more.
struct Family {
    bench: Bench,
    parent: PushedImage,
    child: PushedImage,
}

impl Family {
    fn new() -> Self {
        let bench = Bench::new();
        let shared = [base_layer(), Layer::new().file("etc/version", "family")];
        let parent = AppImage::new(shared.clone()).push(&bench.registry, "parent", "v1");
        let own = Layer::new().random("own/data", 50_000, 1);
        let child =
            AppImage::new(shared.into_iter().chain([own])).push(&bench.registry, "child", "v1");
        Self {
            bench,
            parent,
            child,
        }
    }

    fn pull_both(&self) {
        let both = root_binding(&[&self.parent.reference, &self.child.reference]);
        self.bench.pull(&both);
    }
}

#[test]
fn privileged_a_child_stays_whole_when_its_parent_goes() {
    let family = Family::new();
    family.pull_both();
    let root = root_binding(&[&family.child.reference]);
    let report = family.bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), ids_of(&[&family.parent]));
    family.bench.assert_whole(&root, &family.child, "family");
    assert_eq!(family.bench.layers().len(), 3);
}

#[test]
fn privileged_a_parent_stays_whole_when_its_child_goes() {
    let family = Family::new();
    family.pull_both();
    let root = root_binding(&[&family.parent.reference]);
    let report = family.bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), ids_of(&[&family.child]));
    family.bench.assert_whole(&root, &family.parent, "family");
    assert_eq!(family.bench.layers().len(), 2);
}

#[test]
fn privileged_parent_and_child_go_together() {
    let family = Family::new();
    family.pull_both();
    let report = family.bench.prune(&[&OsRoot::new()]);
    let both = ids_of(&[&family.parent, &family.child]);
    assert_eq!(ids(&report, "removed"), both);
    assert!(family.bench.layers().is_empty());
}

/// podman takes a nameless parent along when its last child goes.
#[test]
fn privileged_a_nameless_parent_that_a_digest_needs_outlives_its_child() {
    let family = Family::new();
    family.pull_both();
    let bench = &family.bench;
    AppImage::tiny("moved").push(&bench.registry, "parent", "v1");
    bench.podman_pull(&family.parent.reference);
    let parents = bench.host.store().images().into_iter();
    let mut parents = parents.filter(|image| image.id == family.parent.image_id);
    assert_eq!(
        parents.next().expect("it is there").names,
        Vec::<String>::new()
    );

    let root = root_binding(&[&family.parent.pinned_at(&bench.registry.host())]);
    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "kept"), ids_of(&[&family.parent]));
    let store = bench.host.store();
    assert_eq!(
        store.read_image_file(&family.parent.image_id, "etc/version"),
        "family"
    );
}

#[test]
fn privileged_a_nameless_parent_goes_in_the_same_run_as_its_child() {
    let family = Family::new();
    family.pull_both();
    let bench = &family.bench;
    let moved = AppImage::tiny("moved").push(&bench.registry, "parent", "v1");
    bench.podman_pull(&family.parent.reference);
    let root = root_binding(&[&moved.reference]);
    let report = bench.prune(&[&root]);
    assert_eq!(
        ids(&report, "removed"),
        ids_of(&[&family.parent, &family.child])
    );
    assert_eq!(ids(&report, "kept"), ids_of(&[&moved]));
}

#[test]
fn privileged_freed_bytes_are_those_of_layers_that_are_gone() {
    let bench = Bench::new();
    let image = |name: &str, seed: u64| {
        let own = Layer::new()
            .file("etc/version", name)
            .random("own/data", 300_000, seed);
        AppImage::new([base_layer(), own]).push(&bench.registry, name, "v1")
    };
    let [needed, first, second] = [("a", 1), ("b", 2), ("c", 3)].map(|(n, s)| image(n, s));
    bench.pull(&root_binding(&[
        &needed.reference,
        &first.reference,
        &second.reference,
    ]));
    let root = root_binding(&[&needed.reference]);
    let layers = bench.layers();
    let metadata = [&first, &second].map(|image| bench.metadata_bytes(&image.image_id));
    let disk_before = layer_file_bytes(&bench);

    let report = bench.prune(&[&root]);
    let remaining = bench.layers();
    let gone = layers.iter().filter(|(id, _)| !remaining.contains_key(*id));
    let layer_bytes: u64 = gone.map(|(_, size_bytes)| size_bytes).sum();
    assert_eq!(remaining.len(), 2);
    let freed = report["freedBytes"].as_u64().expect("a number");
    assert_eq!(freed, layer_bytes + metadata.iter().sum::<u64>());
    let on_disk = disk_before - layer_file_bytes(&bench);
    assert_eq!(on_disk, 2 * (300_000 + 1), "files of the shared base stay");
    assert!(
        (on_disk..on_disk + 20_000).contains(&freed),
        "{freed} {on_disk}"
    );
    let size = item(&report, "removed", &first)["sizeBytes"].as_u64();
    assert!(
        size.expect("a number") > 300_000 + BASE_BYTES as u64,
        "with the base: {report}"
    );

    let last = bench.prune(&[&OsRoot::new()]);
    let freed = last["freedBytes"].as_u64().expect("a number");
    assert!(
        freed > 300_000 + BASE_BYTES as u64,
        "nobody shares the base now: {last}"
    );
    assert_eq!(layer_file_bytes(&bench), 0);
}

fn layer_file_bytes(bench: &Bench) -> u64 {
    let files = walk(&bench.host.store_path().join("overlay"));
    let metadata = files.iter().filter(|path| path.as_str().contains("/diff/"));
    let metadata = metadata.filter_map(|path| path.symlink_metadata().ok());
    metadata
        .filter(|file| file.is_file())
        .map(|file| file.len())
        .sum()
}

#[test]
fn privileged_a_hundred_and_one_images_go_in_one_run() {
    let bench = Bench::new();
    let parent = bench.push("app", "v1");
    bench.pull(&root_binding(&[&parent.reference]));
    // Records of further images on the same layers, as tags of different configurations would give.
    let records = bench.records("overlay-images/images.json");
    let images = bench.host.store_path().join("overlay-images");
    let mut many = records.clone();
    for number in 0..100 {
        let id = format!("{number:064x}");
        let mut record: Value = records[0].clone();
        record["id"] = id.clone().into();
        record["names"] = serde_json::json!([format!("localhost/many:{number}")]);
        bench
            .host
            .run(
                "cp",
                &[
                    "-a",
                    images.join(text(&records[0], "id")).as_str(),
                    images.join(&id).as_str(),
                ],
            )
            .code(0);
        many.push(record);
    }
    bench.write_records("overlay-images/images.json", &many);
    let report = bench.prune(&[&OsRoot::new()]);
    assert_eq!(ids(&report, "removed").len(), 101);
    assert!(bench.layers().is_empty());
}
