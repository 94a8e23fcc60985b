//! A store that cannot be read, podmans that cannot start, readers that leave: nothing is taken for damage or for a
//! fault of the registry that is none.

use camino::Utf8PathBuf;
use rustix::fs::{CWD, FileType, Mode};
use tests_integration::OsRoot;
use tests_integration::host::binary_under_test;

use super::bench::{App, Bench, column, items, with_base};
use super::nobody::{bound_images_as_nobody, set_mode};

fn own_layer_directory(bench: &Bench, app: &App) -> Utf8PathBuf {
    let layers = bench.host.store_path().join("overlay-layers/layers.json");
    let layers = std::fs::read(layers).expect("layers.json");
    let layers: serde_json::Value = serde_json::from_slice(&layers).expect("JSON");
    let diff_id = app.pushed.layer_diff_ids.last().expect("a layer");
    let layers = layers.as_array().expect("an array");
    let layer = layers
        .iter()
        .find(|layer| layer["diff-digest"] == **diff_id);
    let id = layer.expect("the layer is there")["id"].as_str();
    bench
        .host
        .store_path()
        .join("overlay")
        .join(id.expect("an ID"))
}

#[test]
fn privileged_a_store_of_which_a_part_may_not_be_read_is_unknown_not_damaged() {
    let bench = Bench::new();
    let app = bench.bind_tiny("app");
    bench.pull(&[]).code(0);
    set_mode(bench.root.path(), 0o755);
    let store = bench.host.store_path();
    let metadata = store.join("overlay-images").join(&app.pushed.image_id);
    let layer = own_layer_directory(&bench, &app);
    // What is verified must be readable as well, or it alone makes the state unknown.
    let all = bench.host.sysroot().join("ostree");
    bench
        .host
        .run("chmod", &["-R", "a+rX", all.as_str()])
        .code(0);
    let list = || {
        let args = ["list", "--json", "--root", bench.root.path().as_str()];
        let listed = items(bound_images_as_nobody(&bench.host, &args).code(0));
        column(&listed, "state")
    };
    assert_eq!(list(), ["present"]);
    for forbidden in [layer, metadata] {
        set_mode(&forbidden, 0o700);
        assert_eq!(list(), ["unknown"], "{forbidden}");
        set_mode(&forbidden, 0o755);
    }
}

#[test]
fn privileged_a_fifo_or_a_parents_file_is_not_taken_for_the_layers_own() {
    for is_fifo in [true, false] {
        let bench = Bench::new();
        let app = bench.push(&with_base("app", 20_000), "app");
        bench.bind("app", &app);
        bench.host.store().create_directory();
        bench.podman_pull(&app);
        let file = own_layer_directory(&bench, &app).join("diff/own/data");
        std::fs::remove_file(&file).expect("the file was there");
        if is_fifo {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(CWD, file.as_str(), FileType::Fifo, mode, 0).expect("a FIFO");
        }
        let pulled = items(bench.pull(&["--policy", "missing"]).code(0));
        assert_eq!(column(&pulled, "result"), ["fetched"]);
        bench.assert_completes(&[&app]);
    }
}

#[test]
fn privileged_a_name_of_odd_words_is_not_taken_for_the_fault() {
    let mut bench = Bench::new();
    let names = ["signature-service", "unauthorized/denied", "no/x509"];
    let apps = names.map(|name| bench.push(&tests_integration::AppImage::tiny("1"), name));
    for (link, app) in ["a", "b", "c"].into_iter().zip(&apps) {
        bench.root.bind_image(link, &app.pushed.reference);
    }
    bench.registry.stop();
    let failed = bench.pull(&["--retries", "0"]);
    for item in items(failed.code(12)) {
        let reason = item["error"].as_str().expect("a reason");
        assert!(reason.contains("connection refused"), "{reason}");
    }
}

#[test]
fn privileged_a_missing_privilege_is_named() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let (binary, sysroot) = (binary_under_test(), bench.host.sysroot());
    let binary = binary.to_str().expect("a UTF-8 path");
    let pull = [
        "--bounding-set=-sys_admin",
        "--",
        binary,
        "--sysroot",
        sysroot.as_str(),
        "pull",
        "--root",
        bench.root.path().as_str(),
    ];
    let refused = bench.host.run("setpriv", &pull);
    let stderr = refused.code(17).stderr();
    let reason = "podman could not be given a mount namespace of its own: ";
    assert!(stderr.contains(reason), "{stderr}");
    assert!(stderr.contains("CAP_SYS_ADMIN is needed"), "{stderr}");
}

#[test]
fn privileged_a_reader_that_leaves_is_no_error() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let (binary, sysroot) = (binary_under_test(), bench.host.sysroot());
    // The pipe has no reader before anything is written.
    let script = r#"
        exec 3>&1
        { sleep 0.5; "$@"; echo "$?" >&3; } | exec true
    "#;
    let empty = OsRoot::new();
    let (full, empty) = (bench.root.path().as_str(), empty.path().as_str());
    for (args, exit) in [
        (&["list", "--root", full][..], "0"),
        (&["list", "--json", "--root", full], "0"),
        (&["list", "--root", empty], "0"),
        (&["check", "--root", full], "0"),
        (&["prune", "--dry-run", "--root", full], "0"),
        (&["pull", "--root", full], "0"),
    ] {
        let command = [
            binary.to_str().expect("UTF-8"),
            "--sysroot",
            sysroot.as_str(),
        ];
        let shell = ["-c", script, "sh"];
        let outcome = bench.host.run("sh", &[&shell[..], &command, args].concat());
        assert_eq!(outcome.code(0).stdout().trim(), exit, "{args:?}: {outcome}");
        assert!(!outcome.stderr().contains("roken pipe"), "{outcome}");
    }
}
