//! Layers that are in the store for another reason than the image that is pulled onto them.

use tests_integration::{AppImage, Fault, Layer, Rule};

use super::super::bench::{Bench, column, items, wait_until, with_base};
use super::{base_directory, empty_layer_files, layer_files};

type Archive = tar::Builder<Vec<u8>>;

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

fn add(archive: &mut Archive, path: &str, mode: u32, text: &str) {
    let kind = if path.ends_with('/') {
        tar::EntryType::Directory
    } else {
        tar::EntryType::Regular
    };
    let mut header = header(kind, mode, text.len());
    let added = archive.append_data(&mut header, path, text.as_bytes());
    added.unwrap_or_else(|error| panic!("adding {path}: {error}"));
}

/// Every kind of entry that a layer of a real image has.
fn odd_layer() -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(150));
    for (path, mode, text) in [
        ("usr/", 0o755, ""),
        ("usr/gone/", 0o755, ""),
        ("usr/opaque/", 0o1777, ""),
        ("usr/file", 0o644, "file"),
        ("usr/empty", 0o644, ""),
        ("usr/setuid", 0o4755, "setuid"),
        ("usr/secret", 0o000, "secret"),
        ("usr/gone/file", 0o644, "gone"),
        ("usr/opaque/file", 0o644, "hidden"),
        ("usr/n\u{e4}me with blanks", 0o644, "name"),
        (&long, 0o644, "long"),
    ] {
        add(&mut archive, path, mode, text);
    }
    for (kind, path, target) in [
        (tar::EntryType::Link, "usr/hard", "usr/file"),
        (tar::EntryType::Symlink, "usr/soft", "file"),
        (tar::EntryType::Symlink, "usr/dangling", "/nowhere/at/all"),
    ] {
        let added = archive.append_link(&mut header(kind, 0o777, 0), path, target);
        added.expect("adding a link");
    }
    let mut device = header(tar::EntryType::Char, 0o600, 0);
    let numbered = device
        .set_device_major(1)
        .and_then(|()| device.set_device_minor(3));
    numbered.expect("a GNU header has device numbers");
    let pipe = header(tar::EntryType::Fifo, 0o600, 0);
    for (mut header, path) in [(device, "usr/null"), (pipe, "usr/pipe")] {
        let added = archive.append_data(&mut header, path, &[][..]);
        added.expect("adding a special file");
    }
    archive.into_inner().expect("writing to memory")
}

/// Hides files of the layer below in all three ways.
fn hiding_layer() -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    for path in ["usr/.wh.gone", "usr/opaque/.wh..wh..opq", "usr/.wh.file"] {
        add(&mut archive, path, 0o644, "");
    }
    add(&mut archive, "usr/secret", 0o600, "new");
    archive.into_inner().expect("writing to memory")
}

/// A whole layer that is taken for a damaged one would be fetched anew for ever.
#[test]
fn privileged_layers_with_every_kind_of_entry_are_known_to_be_whole() {
    let bench = Bench::new();
    let image = AppImage::new([odd_layer(), hiding_layer()].map(Layer::from_tar));
    let app = bench.push(&image, "odd");
    bench.bind("odd", &app);
    bench.host.store().create_directory();
    bench.podman_pull(&app);
    let pulled = bench.pull(&["--policy", "missing"]);
    assert_eq!(
        column(&items(pulled.code(0)), "result"),
        ["present"],
        "{pulled}"
    );
    assert!(pulled.stderr().contains("Checking layers of "), "{pulled}");

    let listed = ["list", "--json", "--root", bench.root.path().as_str()];
    let listed = items(bench.host.bound_images(&listed).code(0));
    assert_eq!(column(&listed, "verified"), [true]);
    let secret = bench
        .host
        .store()
        .read_image_file(&app.pushed.image_id, "usr/secret");
    assert_eq!(secret, "new");
}

/// Empties every file of the base, as a power cut does.
fn empty_base(bench: &Bench) {
    let base = base_directory(&bench.host);
    for path in layer_files(&bench.host) {
        if path.starts_with(&base) {
            std::fs::write(&path, "").unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
    assert_eq!(empty_layer_files(&bench.host).len(), 16);
}

#[test]
fn privileged_a_damaged_base_of_an_unbound_image_is_not_built_upon() {
    let bench = Bench::new();
    let unbound = bench.push(&with_base("unbound", 1000), "unbound");
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.host.store().create_directory();
    bench.podman_pull(&unbound);
    empty_base(&bench);

    let pulled = bench.pull(&[]);
    assert_eq!(column(&items(pulled.code(0)), "result"), ["fetched"]);
    let warning = "shares a damaged layer and is removed; pull again for the root that binds it";
    assert!(pulled.stderr().contains(warning), "{pulled}");
    bench.assert_completes(&[&app]);
}

#[test]
fn privileged_a_whole_base_of_an_unbound_image_is_built_upon_and_not_fetched() {
    let bench = Bench::new();
    let unbound = bench.push(&with_base("unbound", 1000), "unbound");
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.host.store().create_directory();
    bench.podman_pull(&unbound);
    bench.proxy.clear();

    let pulled = bench.assert_completes(&[&app]);
    assert_eq!(pulled[0]["bytesFetched"], app.pushed.layer_sizes_bytes[1]);
    let base = format!("/blobs/{}", app.pushed.layer_digests[0]);
    assert_eq!(bench.proxy.count_matching(&base), 0);
    bench.assert_whole(&unbound);
}

/// Fetching the second image finds the base damaged and removes what stands on it, also what this very run fetched.
#[test]
fn privileged_two_images_on_one_damaged_orphan_both_end_whole() {
    let bench = Bench::new();
    let unbound = bench.push(&with_base("unbound", 1000), "unbound");
    let apps = ["first", "second"].map(|name| bench.push(&with_base(name, 1000), name));
    for app in &apps {
        bench.bind(&app.pushed.repository, app);
    }
    bench.host.store().create_directory();
    bench.podman_pull(&unbound);
    empty_base(&bench);
    bench.pull(&[]).code(0);
    bench.assert_completes(&[&apps[0], &apps[1]]);
}

#[test]
fn privileged_a_bound_image_that_a_removal_took_along_is_fetched_again() {
    let bench = Bench::new();
    let apps = ["first", "second"].map(|name| bench.push(&with_base(name, 1000), name));
    bench.bind("second", &apps[1]);
    bench.bind("first", &apps[0]);
    bench.host.store().create_directory();
    // The second one is whole to the eye; a tag that moves makes the first land on the same base.
    bench.podman_pull(&apps[1]);
    empty_base(&bench);
    let pulled = items(bench.pull(&["--policy", "missing"]).code(0));
    assert_eq!(column(&pulled, "result"), ["fetched", "fetched"]);
    bench.assert_completes(&[&apps[0], &apps[1]]);
}

/// The damaged layer stays in the store while a layer without an image stands on it.
#[test]
fn privileged_a_damaged_base_below_an_orphan_is_not_built_upon() {
    let bench = Bench::new();
    let lost = bench.push(&with_base("lost", 1000), "lost");
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.host.store().create_directory();
    bench.podman_pull(&lost);
    // As after a kill between the layers and the image that was to have them.
    let records = bench.host.store_path().join("overlay-images/images.json");
    std::fs::write(&records, "[]").expect("writing the records");
    empty_base(&bench);

    let pulled = bench.pull(&[]);
    assert_eq!(column(&items(pulled.code(0)), "result"), ["fetched"]);
    bench.assert_completes(&[&app]);
}

/// Nothing may go before the registry has shown that it can be had again.
#[test]
fn privileged_damaged_images_stay_while_the_registry_is_down() {
    let mut bench = Bench::new();
    let other = bench.push(&with_base("other", 1000), "other");
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.host.store().create_directory();
    bench.podman_pull(&other);
    bench.podman_pull(&app);
    empty_base(&bench);
    let before = bench.host.store().images();

    bench.registry.stop();
    let pulled = bench.pull(&["--retries", "0"]);
    assert_eq!(column(&items(pulled.code(12)), "result"), ["failed"]);
    assert_eq!(bench.host.store().images(), before);

    bench.registry.start();
    let pulled = bench.pull(&[]);
    assert_eq!(column(&items(pulled.code(0)), "result"), ["fetched"]);
    bench.assert_completes(&[&app]);
}

/// podman cannot build upon such a layer, and no image tells of it.
#[test]
fn privileged_an_orphan_whose_link_a_cut_emptied_is_replaced() {
    let bench = Bench::new();
    let app = bench.push(&with_base("app", 300_000), "app");
    bench.bind("app", &app);
    let own_layer = format!("/blobs/{}", app.pushed.layer_digests[1]);
    bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::StallAfter(100_000))]);
    let running = bench.spawn_pull(&[]);
    let records = bench.host.store_path().join("overlay-layers/layers.json");
    wait_until("the base to be unpacked", || {
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        text.contains(&app.pushed.layer_diff_ids[0]) && !text.contains("incomplete")
    });
    let _ = running.kill_9();
    bench.assert_no_process_remains();
    let link = base_directory(&bench.host).join("link");
    std::fs::write(&link, "").expect("emptying the link");
    bench.proxy.set_rules([]);
    bench.assert_completes(&[&app]);
}
