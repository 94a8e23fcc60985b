//! When the needs of one root cannot be known, or anything else is not as it must be, nothing is removed.

use serde_json::json;
use tests_integration::host::binary_under_test;
use tests_integration::scratch::ScratchDir;
use tests_integration::tree::Snapshot;
use tests_integration::{OsRoot, PushedImage, TestHost};

use super::{Bench, ids, ids_of, prune_args, root_binding};

/// A store with one image that no root needs, and a root that needs nothing.
struct Refusal {
    bench: Bench,
    unneeded: PushedImage,
    good: OsRoot,
}

impl Refusal {
    fn new() -> Self {
        let bench = Bench::new();
        let unneeded = bench.push("unneeded", "v1");
        bench.pull(&root_binding(&[&unneeded.reference]));
        Self {
            bench,
            unneeded,
            good: OsRoot::new(),
        }
    }

    /// Prunes for real and dry; both must fail alike and change nothing. Returns what was said.
    #[track_caller]
    fn assert_refused(&self, args: &[&str], code: i32) -> String {
        let before = Snapshot::of(&self.bench.host.store_path());
        let mut messages = Vec::new();
        for extra in [&["--dry-run"][..], &[]] {
            let outcome = self.bench.host.bound_images(&[args, extra].concat());
            assert_eq!(outcome.code(code).stdout(), "", "a report of nothing");
            messages.push(outcome.stderr());
        }
        let changes = Snapshot::of(&self.bench.host.store_path()).changes_since(&before);
        assert_eq!(changes, Vec::<String>::new(), "something was changed");
        let first_lines = |message: &String| message.split("\n\n").next().map(str::to_owned);
        assert_eq!(
            first_lines(&messages[0]),
            first_lines(&messages[1]),
            "the dry run said something else"
        );
        messages.remove(0)
    }

    /// The cause is gone: the same store can be pruned.
    #[track_caller]
    fn assert_works_now(&self) {
        let report = self.bench.prune(&[&self.good]);
        assert_eq!(ids(&report, "removed"), ids_of(&[&self.unneeded]));
    }
}

const NOTHING_REMOVED: &str = "nothing was removed, since the needs of a root cannot be known";

#[test]
fn privileged_a_stray_file_among_the_links_of_one_root_stops_all() {
    let refusal = Refusal::new();
    let stray = OsRoot::new();
    stray.write("/usr/lib/bootc/bound-images.d/README", "links live here\n");
    let broken = OsRoot::new();
    broken.link("gone.image", "/usr/share/containers/systemd/gone.image");
    let roots = [&refusal.good, &stray, &broken];

    let said = refusal.assert_refused(&prune_args(&roots, &[]), 10);
    assert!(
        said.starts_with(&format!("error: {NOTHING_REMOVED}\n")),
        "{said}"
    );
    assert!(said.contains(stray.path().as_str()), "{said}");
    assert!(
        said.contains("bound-images.d/README: it is not a symlink"),
        "{said}"
    );
    assert!(
        said.contains(broken.path().as_str()),
        "each bad root is named: {said}"
    );
    assert!(said.contains("bound-images.d/gone.image"), "{said}");
    assert!(!said.contains(refusal.good.path().as_str()), "{said}");
    refusal.assert_works_now();
}

#[test]
fn privileged_a_root_that_cannot_be_read_stops_all() {
    let refusal = Refusal::new();
    let no_list = OsRoot::new();
    no_list.write("/usr/lib/bootc/bound-images.d", "not a directory");
    let scratch = ScratchDir::new("no-os");
    let file = scratch.file("file", "");
    let empty = scratch.subdirectory("empty");
    let missing = scratch.path().join("missing");
    let good = refusal.good.path();
    let bad_roots = [(no_list.path(), 10), (&file, 1), (&empty, 1), (&missing, 1)];
    for (bad, code) in bad_roots {
        for roots in [[good, bad], [bad, good]] {
            let args = [
                "prune",
                "--root",
                roots[0].as_str(),
                "--root",
                roots[1].as_str(),
            ];
            let said = refusal.assert_refused(&args, code);
            assert!(
                said.starts_with(&format!("error: {NOTHING_REMOVED}\n")),
                "{said}"
            );
            assert!(said.contains(bad.as_str()), "{bad} is not named: {said}");
        }
    }
    refusal.assert_works_now();
}

#[test]
fn privileged_every_root_that_is_at_fault_is_named() {
    let refusal = Refusal::new();
    let stray = OsRoot::new();
    stray.write("/usr/lib/bootc/bound-images.d/README", "");
    let scratch = ScratchDir::new("no-os");
    let [missing, empty] = [
        scratch.path().join("missing"),
        scratch.subdirectory("empty"),
    ];
    let mut args = prune_args(&[&stray], &[]);
    args.extend(["--root", missing.as_str(), "--root", empty.as_str()]);

    let said = refusal.assert_refused(&args, 10);
    for bad in [stray.path(), &missing, &empty] {
        assert!(said.contains(bad.as_str()), "{bad} is not named: {said}");
    }
}

#[test]
fn privileged_no_root_at_all_is_wrong_usage() {
    let refusal = Refusal::new();
    let said = refusal.assert_refused(&["prune"], 2);
    assert!(said.contains("--root <DIR>"), "{said}");
    refusal.assert_works_now();
}

#[test]
fn privileged_where_there_is_no_store_there_is_nothing_to_prune() {
    let host = TestHost::new();
    let root = root_binding(&["127.0.0.1:1/app:v1"]);
    let before = Snapshot::of(host.sysroot());
    for (options, dry_run) in [(&["--json", "--dry-run"][..], true), (&["--json"], false)] {
        let report = host
            .bound_images(&prune_args(&[&root], options))
            .code(0)
            .json();
        let empty = json!({
            "apiVersion": "bound-images/v1", "kind": "PruneReport",
            "removed": [], "kept": [], "removedLayers": [], "freedBytes": 0, "dryRun": dry_run,
        });
        assert_eq!(report, empty);
    }
    let changes = Snapshot::of(host.sysroot()).changes_since(&before);
    assert_eq!(changes, Vec::<String>::new(), "nothing is created");
    let bad = OsRoot::new();
    bad.write("/usr/lib/bootc/bound-images.d/README", "");
    host.bound_images(&prune_args(&[&bad], &[])).code(10);
}

#[test]
fn privileged_damaged_records_of_the_store_stop_all() {
    let refusal = Refusal::new();
    for file in ["overlay-images/images.json", "overlay-layers/layers.json"] {
        let path = refusal.bench.host.store_path().join(file);
        let whole = std::fs::read(&path).expect("reading records");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("damaging records");
        let said = refusal.assert_refused(&prune_args(&[&refusal.good], &[]), 14);
        assert!(said.contains(path.as_str()), "{said}");
        assert!(said.contains("is damaged"), "{said}");
        assert!(said.contains("nothing was changed; move"), "{said}");
        std::fs::write(&path, &whole).expect("mending records");
    }
    refusal.assert_works_now();
}

#[test]
fn privileged_without_podman_nothing_is_changed() {
    let refusal = Refusal::new();
    let bench = &refusal.bench;
    let before = Snapshot::of(bench.host.sysroot());
    let binary = binary_under_test();
    let sysroot = ["--sysroot", bench.host.sysroot().as_str()];
    let arguments = prune_args(&[&refusal.good], &["--json"]);
    let program = ["PATH=/nonexistent", binary.to_str().expect("a UTF-8 path")];
    let outcome = bench
        .host
        .run("env", &[&program[..], &sysroot, &arguments].concat());
    let said = outcome.code(17).stderr();
    assert!(said.contains("podman"), "{said}");
    let changes = Snapshot::of(bench.host.sysroot()).changes_since(&before);
    assert_eq!(changes, Vec::<String>::new());

    let dry = [&program[..], &sysroot, &arguments, &["--dry-run"]].concat();
    let report = bench.host.run("env", &dry).code(0).json();
    assert_eq!(
        ids(&report, "removed"),
        ids_of(&[&refusal.unneeded]),
        "no podman is needed"
    );
    refusal.assert_works_now();
}

#[test]
fn privileged_who_is_not_root_may_not_prune() {
    let refusal = Refusal::new();
    let host = &refusal.bench.host;
    // What nobody may execute and read has to lie where nobody may look.
    let binary = host.var_tmp().join("bound-images");
    std::fs::copy(binary_under_test(), &binary).expect("copying the binary");
    let before = Snapshot::of(host.sysroot());
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let prune = [
        "/var/tmp/bound-images",
        "--sysroot",
        "/",
        "prune",
        "--root",
        "/",
    ];
    let outcome = host.run("setpriv", &[&nobody[..], &prune].concat());
    let said = outcome.code(17).stderr();
    assert!(said.starts_with("error: prune must run as root"), "{said}");
    assert_eq!(
        Snapshot::of(host.sysroot()).changes_since(&before),
        Vec::<String>::new()
    );
}
