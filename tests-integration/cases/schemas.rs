//! Every document that the command prints fits the schema that is published for it, in `docs/schema/`.

use std::collections::BTreeSet;

use camino::Utf8Path;
use jsonschema::Validator;
use serde_json::{Value, json};
use tests_integration::{AppImage, Layer, OsRoot, PushedImage, Registry, TestHost};

use super::nobody::{bound_images_as_nobody, readable_root, set_mode};

/// The schemas of all kinds, as they are committed.
struct Schemas;

impl Schemas {
    fn of(kind: &str) -> Value {
        let directory = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
        let path = directory.join(format!("{kind}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("reading {path}: {error}"));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn validator(kind: &str) -> Validator {
        let schema = Self::of(kind);
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    /// Panics with all that does not fit.
    #[track_caller]
    fn assert_fits(kind: &str, document: &Value) {
        let validator = Self::validator(kind);
        let errors: Vec<String> = validator
            .iter_errors(document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?} in {document:#}");
        assert_eq!(document["kind"], kind);
    }
}

/// A host, a registry, and documents that are checked as they are printed.
struct Printer {
    host: TestHost,
    registry: Registry,
}

impl Printer {
    fn new() -> Self {
        let registry = Registry::plain();
        let host = TestHost::new();
        host.set_insecure_registries(&[&registry.host()]);
        Self { host, registry }
    }

    /// Runs a verb on a root; its output must fit the schema, whatever the exit code.
    #[track_caller]
    fn print(&self, kind: &str, code: i32, args: &[&str], root: &OsRoot) -> Value {
        let all = [args, &["--json", "--root", root.path().as_str()]].concat();
        let document = self.host.bound_images(&all).code(code).json();
        Schemas::assert_fits(kind, &document);
        document
    }

    fn push(&self, name: &str) -> PushedImage {
        let own = Layer::new().file("etc/version", name);
        AppImage::new([own]).push(&self.registry, name, "v1")
    }

    fn top_layer_directory(&self, image: &PushedImage) -> camino::Utf8PathBuf {
        let path = self.host.store_path().join("overlay-images/images.json");
        let text = std::fs::read(path).expect("reading the image records");
        let records: Vec<Value> = serde_json::from_slice(&text).expect("records are JSON");
        let record = records
            .iter()
            .find(|record| record["id"] == *image.image_id);
        let layer = record.expect("the image is there")["layer"].as_str();
        let store = self.host.store_path();
        store.join("overlay").join(layer.expect("it has a layer"))
    }
}

/// The values of a field in all items of a document, sorted.
fn values(document: &Value, list: &str, pointer: &str) -> BTreeSet<String> {
    let items = document[list].as_array().expect("a list of items");
    let value = |item: &Value| {
        let value = item.pointer(pointer);
        let value = value.unwrap_or_else(|| panic!("no {pointer} in {item}"));
        value.as_str().expect("a text").to_owned()
    };
    items.iter().map(value).collect()
}

fn set<const N: usize>(values: [&str; N]) -> BTreeSet<String> {
    values.map(str::to_owned).into()
}

#[test]
fn privileged_a_list_fits_its_schema_in_every_state() {
    let printer = Printer::new();
    let [verified, unverified, damaged, missing] =
        ["verified", "unverified", "damaged", "missing"].map(|name| printer.push(name));
    let root = OsRoot::new();
    root.bind_image("verified", &verified.reference);
    root.bind_image("damaged", &damaged.reference);
    let before = printer.print("BoundImageList", 0, &["list"], &root);
    assert_eq!(values(&before, "items", "/state"), set(["missing"]));
    printer.print("PullReport", 0, &["pull"], &root);
    let pull = ["pull", "--quiet", &unverified.reference];
    printer.host.store_podman(&pull).code(0);
    let directory = printer.top_layer_directory(&damaged);
    std::fs::remove_dir_all(directory).expect("damaging an image");

    let current = OsRoot::new();
    current.write("/etc/ostree/auth.json", "{}");
    root.bind_image("unverified", &unverified.reference)
        .bind_image("missing", &missing.pinned_at(&printer.registry.host()))
        .quadlet(
            "/usr/share/containers/systemd/auth.image",
            "[Image]\nImage=r.io/a:1\nAuthFile=/etc/own.json\n",
        )
        .write("/etc/own.json", "{}")
        .link("auth.image", "/usr/share/containers/systemd/auth.image")
        .quadlet(
            "/usr/share/containers/systemd/no-auth.image",
            "[Image]\nImage=r.io/b:1\nAuthFile=/etc/nowhere.json\n",
        )
        .link(
            "no-auth.image",
            "/usr/share/containers/systemd/no-auth.image",
        );
    let option = ["list", "--current-root", current.path().as_str()];
    let list = printer.print("BoundImageList", 0, &option, &root);
    assert_eq!(
        values(&list, "items", "/state"),
        set(["present", "missing", "damaged"])
    );
    let sources = set(["newRoot", "currentRoot", "unavailable"]);
    assert_eq!(values(&list, "items", "/auth/source"), sources);
    let verified: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| item["state"] == "present")
        .map(|item| &item["verified"])
        .collect();
    assert_eq!(verified, [&json!(false), &json!(true)]);
    let empty = printer.print("BoundImageList", 0, &["list"], &OsRoot::new());
    assert_eq!(empty["items"], json!([]));
}

#[test]
fn privileged_what_nobody_sees_fits_the_schemas() {
    let printer = Printer::new();
    let image = printer.push("app");
    let root = readable_root();
    root.bind_image("app", &image.reference);
    printer.print("PullReport", 0, &["pull"], &root);
    set_mode(&printer.host.store_path(), 0o700);
    let root = root.path().as_str();
    for (kind, verb, field) in [
        ("BoundImageList", "list", "/state"),
        ("PullPlan", "plan", "/action"),
    ] {
        let args = [verb, "--json", "--root", root];
        let document = bound_images_as_nobody(&printer.host, &args).code(0).json();
        Schemas::assert_fits(kind, &document);
        assert_eq!(values(&document, "items", field), set(["unknown"]));
    }
    let check = ["check", "--json", "--root", root];
    let document = bound_images_as_nobody(&printer.host, &check).code(0).json();
    Schemas::assert_fits("CheckReport", &document);
}

#[test]
fn privileged_a_check_fits_its_schema() {
    let printer = Printer::new();
    let root = OsRoot::new();
    root.bind_image("app", "r.io/app").quadlet(
        "/usr/share/containers/systemd/web.container",
        "[Container]\nImage=r.io/app\nExec=run \\\n  this\n",
    );
    let ignored = "[Image]\nImage=r.io/other\nPodmanArgs=--log-level=debug\n";
    root.quadlet("/usr/share/containers/systemd/other.image", ignored)
        .link("other.image", "/usr/share/containers/systemd/other.image");
    root.link(
        "web.container",
        "../../../share/containers/systemd/web.container",
    );
    let report = printer.print("CheckReport", 0, &["check"], &root);
    assert_eq!(report["items"][0]["name"], "r.io/app:latest");
    assert_eq!(
        report["items"][0]["sources"].as_array().map(Vec::len),
        Some(2)
    );
    let warnings = report["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 1, "{report}");
    assert_eq!(warnings[0]["line"], 3);
    printer.print("CheckReport", 0, &["check"], &OsRoot::new());
}

#[test]
fn privileged_a_plan_fits_its_schema_whatever_would_be_done() {
    let printer = Printer::new();
    let [kept, tagged, replaced, fetched] =
        ["kept", "tagged", "replaced", "fetched"].map(|name| printer.push(name));
    let host = printer.registry.host();
    let root = OsRoot::new();
    root.bind_image("kept", &kept.pinned_at(&host))
        .bind_image("tagged", &tagged.reference)
        .bind_image("replaced", &replaced.pinned_at(&host));
    printer.print("PullReport", 0, &["pull"], &root);
    let directory = printer.top_layer_directory(&replaced);
    std::fs::remove_dir_all(directory).expect("damaging an image");
    root.bind_image("fetched", &fetched.reference);

    let plan = printer.print("PullPlan", 0, &["plan"], &root);
    let actions = set(["keep", "lookUp", "replace", "fetch"]);
    assert_eq!(values(&plan, "items", "/action"), actions);
    let plan = printer.print("PullPlan", 0, &["plan", "--policy=missing"], &root);
    assert_eq!(
        values(&plan, "items", "/action"),
        set(["keep", "replace", "fetch"])
    );
}

#[test]
fn privileged_a_pull_fits_its_schema_also_when_it_fails() {
    let mut printer = Printer::new();
    let [present, new] = ["present", "new"].map(|name| printer.push(name));
    let root = OsRoot::new();
    root.bind_image("present", &present.reference);
    printer.print("PullReport", 0, &["pull"], &root);
    let absent = format!("{}/absent:v1", printer.registry.host());
    root.bind_image("new", &new.reference)
        .bind_image("absent", &absent);

    let report = printer.print("PullReport", 18, &["pull"], &root);
    let results = set(["present", "fetched", "failed"]);
    assert_eq!(values(&report, "items", "/result"), results);
    printer.registry.stop();
    let report = printer.print("PullReport", 12, &["pull", "--retries=0"], &root);
    assert_eq!(values(&report, "items", "/result"), set(["failed"]));
    printer.print("PullReport", 0, &["pull"], &OsRoot::new());
}

#[test]
fn privileged_a_prune_fits_its_schema() {
    let printer = Printer::new();
    let root = OsRoot::new();
    printer.print("PruneReport", 0, &["prune"], &root);
    let [needed, unneeded] = ["needed", "unneeded"].map(|name| printer.push(name));
    root.bind_image("needed", &needed.reference)
        .bind_image("unneeded", &unneeded.reference);
    printer.print("PullReport", 0, &["pull"], &root);
    root.remove_link("unneeded.image");
    let tag = ["tag", &needed.image_id, "localhost/spare:1"];
    printer.host.store_podman(&tag).code(0);

    for option in ["--dry-run", "--quiet"] {
        let report = printer.print("PruneReport", 0, &["prune", option], &root);
        assert_eq!(report["removed"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            report["kept"][0]["removedNames"],
            json!(["localhost/spare:1"])
        );
    }
}

/// What a schema lets through proves nothing unless it also refuses.
#[test]
fn schemas_refuse_what_programs_could_not_rely_on() {
    let good = json!({
        "apiVersion": "bound-images/v1", "kind": "PruneReport", "removed": [],
        "kept": [{"id": "a", "names": [], "removedNames": [], "sizeBytes": 1, "reason": "x"}],
        "removedLayers": [], "freedBytes": 0, "dryRun": false,
    });
    let validator = Schemas::validator("PruneReport");
    assert!(validator.is_valid(&good));
    let mut later = good.clone();
    later["addedLater"] = json!(1);
    assert!(validator.is_valid(&later), "fields may be added");
    for (pointer, bad) in [
        ("/apiVersion", json!("bound-images/v2")),
        ("/kind", json!("PullReport")),
        ("/freedBytes", json!(-1)),
        ("/freedBytes", json!(null)),
        ("/kept/0/names", json!(null)),
        ("/kept/0", json!({"id": "a"})),
    ] {
        let mut spoilt = good.clone();
        *spoilt.pointer_mut(pointer).expect("it is there") = bad;
        assert!(!validator.is_valid(&spoilt), "{spoilt}");
    }
    let item = &Schemas::of("BoundImageList")["$defs"]["BoundImageItem"];
    let required = item["required"].as_array().expect("required fields");
    let properties = item["properties"].as_object().expect("properties");
    assert_eq!(
        required.len(),
        properties.len(),
        "null is printed, never left out"
    );
}
