//! Damage that podman does not notice or cannot repair: every row of `store-behaviour.md` §6 that a pull can meet.

use camino::Utf8Path;

use super::super::bench::{App, Bench, column, items, with_base};
use super::{base_directory, own_layer_directory};

/// Two bound images on one base; a third one on it that nobody binds, if asked for.
struct Shelf {
    bench: Bench,
    apps: [App; 2],
}

impl Shelf {
    fn new() -> Self {
        let bench = Bench::new();
        let apps = ["first", "second"].map(|name| bench.push(&with_base(name, 20_000), name));
        for app in &apps {
            bench.bind(&app.pushed.repository, app);
        }
        bench.host.store().create_directory();
        Self { bench, apps }
    }

    /// With a store that podman alone filled, so that nobody vouches for a layer.
    fn unverified() -> Self {
        let shelf = Self::new();
        for app in &shelf.apps {
            shelf.bench.podman_pull(app);
        }
        shelf
    }

    /// With a store that an earlier pull filled and verified.
    fn verified() -> Self {
        let shelf = Self::new();
        shelf
            .bench
            .assert_completes(&[&shelf.apps[0], &shelf.apps[1]]);
        shelf
    }

    /// Pulls; these must be the results, and afterwards all is whole.
    #[track_caller]
    fn heals(&self, results: [&str; 2], what: &str) {
        let pulled = self.bench.pull(&["--policy", "missing"]);
        let reported = items(pulled.code(0));
        assert_eq!(column(&reported, "result"), results, "{what}: {pulled}");
        self.bench.assert_completes(&[&self.apps[0], &self.apps[1]]);
    }
}

type Damage = fn(&Utf8Path);

fn remove_directory(path: &Utf8Path) {
    std::fs::remove_dir_all(path).unwrap_or_else(|error| panic!("removing {path}: {error}"));
}

fn truncate(path: &Utf8Path) {
    let file = std::fs::File::options().write(true).open(path);
    file.and_then(|file| file.set_len(5))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn flip_a_bit(path: &Utf8Path) {
    let mut contents = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    contents[7] ^= 1;
    std::fs::write(path, contents).unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn delete(path: &Utf8Path) {
    std::fs::remove_file(path).unwrap_or_else(|error| panic!("{path}: {error}"));
}

#[test]
fn privileged_files_that_nobody_vouches_for_are_compared_and_replaced() {
    let damages: [(&str, Damage); 3] = [
        ("truncated", truncate),
        ("bit flipped", flip_a_bit),
        ("deleted", delete),
    ];
    for (what, damage) in damages {
        let shelf = Shelf::unverified();
        let own = own_layer_directory(&shelf.bench.host, &shelf.apps[0]);
        damage(&own.join("diff/own/data"));
        shelf.heals(["fetched", "present"], what);

        let shelf = Shelf::unverified();
        damage(&base_directory(&shelf.bench.host).join("diff/base/3"));
        shelf.heals(["fetched", "fetched"], what);
    }
}

#[test]
fn privileged_a_layer_without_its_directory_is_fetched_even_if_it_was_verified() {
    for shelf in [Shelf::verified(), Shelf::unverified()] {
        remove_directory(&own_layer_directory(&shelf.bench.host, &shelf.apps[1]));
        shelf.heals(["present", "fetched"], "top layer");
        remove_directory(&base_directory(&shelf.bench.host));
        shelf.heals(["fetched", "fetched"], "base");
        remove_directory(&base_directory(&shelf.bench.host).join("diff"));
        shelf.heals(["fetched", "fetched"], "contents of the base");
    }
}

/// podman forces these little files to disk no more than those of the layer.
#[test]
fn privileged_layers_that_cannot_be_mounted_are_fetched_although_their_files_are_whole() {
    let empty = |path: &Utf8Path| std::fs::write(path, "").expect("emptying a file");
    for (file, damage) in [
        ("link", empty as Damage),
        ("lower", empty),
        ("lower", delete),
    ] {
        let shelf = Shelf::verified();
        damage(&own_layer_directory(&shelf.bench.host, &shelf.apps[0]).join(file));
        shelf.heals(["fetched", "present"], file);
    }
    let shelf = Shelf::verified();
    empty(&base_directory(&shelf.bench.host).join("link"));
    shelf.heals(["fetched", "fetched"], "link of the base");
}

#[test]
fn privileged_an_image_without_its_manifest_is_fetched_and_hides_no_other() {
    let shelf = Shelf::verified();
    let images = shelf.bench.host.store_path().join("overlay-images");
    let id = &shelf.apps[0].pushed.image_id;
    delete(&images.join(id).join("manifest"));
    shelf.heals(["fetched", "present"], "manifest gone");

    remove_directory(&images.join(id));
    shelf.heals(["fetched", "present"], "all metadata gone");

    truncate(&images.join(id).join("manifest"));
    shelf.heals(["fetched", "present"], "manifest truncated");
}

#[test]
fn privileged_an_unbound_image_on_a_damaged_base_goes_and_is_named() {
    let shelf = Shelf::unverified();
    let bench = &shelf.bench;
    let unbound = bench.push(&with_base("unbound", 1000), "unbound");
    bench.podman_pull(&unbound);
    remove_directory(&base_directory(&bench.host));

    let pulled = bench.pull(&["--policy", "missing"]);
    let reported = items(pulled.code(0));
    assert_eq!(column(&reported, "result"), ["fetched", "fetched"]);
    let id = &unbound.pushed.image_id[..12];
    let warning = format!(
        "warning: image {id} ({}) shares a damaged layer and is removed; \
         pull again for the root that binds it\n",
        bench.name(&unbound)
    );
    assert!(
        pulled.stderr().contains(&warning),
        "{warning} is not in {pulled}"
    );
    bench.assert_completes(&[&shelf.apps[0], &shelf.apps[1]]);
    assert_eq!(bench.host.store().images().len(), 2);
}

#[test]
fn privileged_a_damaged_image_that_a_container_uses_is_left_and_reported() {
    let shelf = Shelf::unverified();
    let bench = &shelf.bench;
    let name = bench.name(&shelf.apps[0]);
    let create = [
        "create",
        "--pull=never",
        "--network=none",
        "--name=user",
        &name,
        "/x",
    ];
    bench.host.store().main_podman(&create).code(0);
    let own = own_layer_directory(&bench.host, &shelf.apps[0]);
    truncate(&own.join("diff/own/data"));

    let failed = bench.pull(&["--policy", "missing"]);
    let reported = items(failed.code(14));
    assert_eq!(column(&reported, "result"), ["failed", "present"]);
    let reason = reported[0]["error"].as_str().expect("a reason");
    assert!(
        reason.starts_with("it is damaged: the files of layer "),
        "{reason}"
    );
    let way_out = "it cannot be replaced while container user uses it; remove that and pull again";
    assert!(reason.contains(way_out), "{reason}");
    assert_eq!(bench.host.store().images().len(), 2, "nothing is removed");

    bench.host.store().main_podman(&["rm", "user"]).code(0);
    shelf.heals(["fetched", "present"], "the container is gone");
}
