//! `prune`: what goes, what stays, and when nothing does.
//!
//! Every prune of [`Bench::prune`] is tried with `--dry-run` first, which must say the same and change nothing.

mod damaged;
mod families;
mod killed;
mod leftovers;
mod locked;
mod names;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests_integration::tree::Snapshot;
use tests_integration::{AppImage, Layer, OsRoot, Outcome, PushedImage, Registry, TestHost};

/// A host, and a registry that it may use without TLS.
struct Bench {
    host: TestHost,
    registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::plain();
        let host = TestHost::new();
        host.set_insecure_registries(&[&registry.host()]);
        Self { host, registry }
    }

    /// Pushes an image with a base that all of them share and a layer of its own.
    fn push(&self, repository: &str, tag: &str) -> PushedImage {
        app(&format!("{repository}:{tag}")).push(&self.registry, repository, tag)
    }

    fn pull(&self, root: &OsRoot) {
        self.host
            .bound_images(&["pull", "--root", root.path().as_str()])
            .code(0);
    }

    /// Pulls with podman itself, as any other program could.
    fn podman_pull(&self, name: &str) {
        self.host.store_podman(&["pull", "--quiet", name]).code(0);
    }

    fn try_prune(&self, roots: &[&OsRoot], options: &[&str]) -> Outcome {
        self.host.bound_images(&prune_args(roots, options))
    }

    /// Prunes after a dry run that says the same and changes nothing; returns the report.
    #[track_caller]
    fn prune(&self, roots: &[&OsRoot]) -> Value {
        let before = Snapshot::of(self.host.sysroot());
        let dry = self.try_prune(roots, &["--json", "--dry-run"]);
        let mut dry = dry.code(0).json();
        let changes = Snapshot::of(self.host.sysroot()).changes_since(&before);
        assert_eq!(changes, Vec::<String>::new(), "a dry run changed something");
        assert_eq!(dry["dryRun"], true);

        let report = self.try_prune(roots, &["--json"]).code(0).json();
        assert_eq!(report["dryRun"], false);
        assert_eq!(report["kind"], "PruneReport");
        dry["dryRun"] = false.into();
        assert_eq!(dry, report, "the dry run told something else");
        self.assert_store_is_as_reported(&report);
        report
    }

    /// Compares the report with what podman says: images, and the names of each.
    #[track_caller]
    fn assert_store_is_as_reported(&self, report: &Value) {
        let reported: BTreeMap<String, Vec<String>> = items(report, "kept")
            .iter()
            .map(|item| (text(item, "id"), sorted_texts(&item["names"])))
            .collect();
        let stored = self.host.store().images().into_iter();
        let stored: BTreeMap<String, Vec<String>> =
            stored.map(|image| (image.id, image.names)).collect();
        assert_eq!(
            stored, reported,
            "podman (left) sees another store: {report}"
        );
    }

    /// IDs and unpacked sizes of all layers, as podman recorded them.
    fn layers(&self) -> BTreeMap<String, u64> {
        let records = self.records("overlay-layers/layers.json");
        let size = |record: &Value| record["diff-size"].as_u64().expect("a layer has a size");
        records
            .iter()
            .map(|record| (text(record, "id"), size(record)))
            .collect()
    }

    /// Bytes of manifests and configurations of an image, as podman recorded them.
    fn metadata_bytes(&self, image_id: &str) -> u64 {
        let records = self.records("overlay-images/images.json");
        let record = records.iter().find(|record| record["id"] == image_id);
        let sizes = &record.expect("the image is there")["big-data-sizes"];
        let sizes = sizes.as_object().expect("an image has metadata");
        sizes.values().filter_map(Value::as_u64).sum()
    }

    fn records(&self, file: &str) -> Vec<Value> {
        let path = self.host.store_path().join(file);
        let content = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_slice(&content).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn write_records(&self, file: &str, records: &[Value]) {
        let path = self.host.store_path().join(file);
        let content = serde_json::to_vec(records).expect("records are JSON");
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Whether every file of the image can be read, and `list` says that it is present and whole.
    #[track_caller]
    fn assert_whole(&self, root: &OsRoot, image: &PushedImage, version: &str) {
        let listed = ["list", "--json", "--root", root.path().as_str()];
        let listed = self.host.bound_images(&listed).code(0).json();
        let items = items(&listed, "items");
        let item = items.iter().find(|item| item["id"] == *image.image_id);
        let item = item.unwrap_or_else(|| panic!("{} is not listed: {listed}", image.reference));
        assert_eq!(
            (&item["state"], &item["verified"]),
            (&"present".into(), &true.into()),
            "{listed}"
        );
        let store = self.host.store();
        let seen = store.read_image_file(&image.image_id, "etc/version");
        assert_eq!(seen, version);
        assert_eq!(
            store.read_image_file(&image.image_id, "base/data").len(),
            BASE_BYTES
        );
    }
}

const BASE_BYTES: usize = 100_000;

/// An image whose base layer is that of every other one; the text is in `etc/version`.
fn app(text: &str) -> AppImage {
    AppImage::new([base_layer(), Layer::new().file("etc/version", text)])
}

fn base_layer() -> Layer {
    Layer::new().file("base/data", "b".repeat(BASE_BYTES))
}

fn prune_args<'a>(roots: &[&'a OsRoot], options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["prune"];
    for root in roots {
        args.extend(["--root", root.path().as_str()]);
    }
    args.extend(options);
    args
}

/// A root that binds these images.
fn root_binding(images: &[&str]) -> OsRoot {
    let root = OsRoot::new();
    for (index, image) in images.iter().enumerate() {
        root.bind_image(&format!("app{index}"), image);
    }
    root
}

fn items(report: &Value, list: &str) -> Vec<Value> {
    let items = report[list].as_array();
    items
        .unwrap_or_else(|| panic!("no {list} in {report}"))
        .clone()
}

/// The IDs in one list of a report, sorted.
fn ids(report: &Value, list: &str) -> Vec<String> {
    let ids: BTreeSet<String> = items(report, list)
        .iter()
        .map(|item| text(item, "id"))
        .collect();
    ids.into_iter().collect()
}

fn ids_of(images: &[&PushedImage]) -> Vec<String> {
    let ids: BTreeSet<String> = images.iter().map(|image| image.image_id.clone()).collect();
    ids.into_iter().collect()
}

/// The entry of one image in one list of a report.
#[track_caller]
fn item(report: &Value, list: &str, image: &PushedImage) -> Value {
    let items = items(report, list).into_iter();
    let mut found = items.filter(|item| item["id"] == *image.image_id);
    found
        .next()
        .unwrap_or_else(|| panic!("{} is not in {list}: {report}", image.reference))
}

fn text(value: &Value, key: &str) -> String {
    let text = value[key].as_str();
    text.unwrap_or_else(|| panic!("{key} is no text in {value}"))
        .to_owned()
}

fn sorted_texts(value: &Value) -> Vec<String> {
    let values = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    let texts: BTreeSet<String> = values
        .iter()
        .map(|value| value.as_str().expect("a list of texts").to_owned())
        .collect();
    texts.into_iter().collect()
}
