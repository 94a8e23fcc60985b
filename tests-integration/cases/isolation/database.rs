//! Stores that another podman, another path or bad luck left with records that podman refuses.

use camino::Utf8Path;
use tests_integration::TestHost;

use super::super::bench::{App, Bench, column, items};

fn podman_major(host: &TestHost) -> u32 {
    let version = host.run("podman", &["--version"]).stdout();
    let number = version
        .rsplit(' ')
        .next()
        .and_then(|number| number.split('.').next());
    number
        .and_then(|number| number.parse().ok())
        .expect("podman tells its version")
}

/// A store with one image, and a second image to pull.
fn filled() -> (Bench, [App; 2]) {
    let bench = Bench::new();
    let first = bench.bind_tiny("first");
    bench.assert_completes(&[&first]);
    let second = bench.bind_tiny("second");
    (bench, [first, second])
}

fn assert_pulls(bench: &Bench, apps: &[App; 2]) {
    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(
        column(&pulled, "result"),
        ["present", "fetched"],
        "no image was lost"
    );
    bench.assert_completes(&[&apps[0], &apps[1]]);
}

/// podman 5 leaves the note; podman 4 then looks for the program and fails without it.
#[test]
fn privileged_a_note_about_the_network_that_podman_5_left_stops_no_pull() {
    let (bench, apps) = filled();
    let note = bench.host.store_path().join("defaultNetworkBackend");
    std::fs::write(&note, "netavark").expect("writing the note");
    // podman 5 needs the program in any case.
    if podman_major(&bench.host) == 4 {
        for directory in ["/usr/lib/podman", "/usr/libexec/podman"] {
            if Utf8Path::new(directory).join("netavark").exists() {
                let hide = ["-t", "tmpfs", "hidden", directory];
                bench.host.run("mount", &hide).code(0);
            }
        }
        let broken = bench.host.store_podman(&["image", "list"]);
        assert!(broken.code(125).stderr().contains("netavark"), "{broken}");
    }
    assert_pulls(&bench, &apps);
}

#[test]
fn privileged_a_database_made_under_another_path_is_made_anew() {
    let (bench, apps) = filled();
    let store = bench.host.store_path();
    let _ = std::fs::remove_file(store.join("db.sql"));
    let _ = std::fs::remove_dir_all(store.join("libpod"));
    let elsewhere = ["--root", store.as_str(), "--runroot", "/run/elsewhere"];
    bench
        .host
        .run("podman", &[&elsewhere[..], &["image", "list"]].concat())
        .code(0);
    let broken = bench.host.store_podman(&["image", "list"]);
    assert!(
        broken
            .code(125)
            .stderr()
            .contains("database configuration mismatch"),
        "{broken}"
    );

    assert_pulls(&bench, &apps);
}

#[test]
fn privileged_a_garbage_database_is_made_anew() {
    let database = |store: &Utf8Path| {
        let files = ["db.sql", "libpod/bolt_state.db"].map(|name| store.join(name));
        files
            .into_iter()
            .find(|file| file.exists())
            .expect("podman has a database")
    };
    for garbage in ["garbage ".repeat(2000).as_str(), "x"] {
        let (bench, apps) = filled();
        let file = database(&bench.host.store_path());
        std::fs::write(&file, garbage).expect("overwriting the database");
        // podman 5 takes a file that is too short for a header for an empty database.
        if garbage.len() > 1 {
            bench.host.store_podman(&["image", "list"]).code(125);
        }
        assert_pulls(&bench, &apps);
    }
}

/// A power cut leaves an empty file, which is no database and no error of podman 4 or 5.
#[test]
fn privileged_an_empty_database_stops_no_pull() {
    let (bench, apps) = filled();
    for name in ["db.sql", "libpod/bolt_state.db"] {
        let file = bench.host.store_path().join(name);
        if file.exists() {
            std::fs::write(&file, "").expect("emptying the database");
        }
    }
    assert_pulls(&bench, &apps);
}
