//! `pull`: what is fetched, what is left alone, and what the report says of it.

mod choices;
mod prerequisites;
mod runs;

use serde_json::{Value, json};
use tests_integration::{AppImage, Fault, Layer, Rule};

use super::bench::{App, Bench, column, items, with_base};

/// Blobs of layers that were requested, each with its size; panics if one was requested twice.
fn layer_bytes_requested(bench: &Bench, apps: &[&App]) -> u64 {
    let mut layers: Vec<(&String, u64)> = Vec::new();
    for app in apps {
        let sizes = app.pushed.layer_sizes_bytes.iter().copied();
        layers.extend(app.pushed.layer_digests.iter().zip(sizes));
    }
    layers.sort();
    layers.dedup();
    let requested = |(digest, size): (&String, u64)| {
        let count = bench.proxy.count_matching(&format!("/blobs/{digest}"));
        assert!(count <= 1, "{digest} was fetched {count} times");
        size * count as u64
    };
    layers.into_iter().map(requested).sum()
}

fn bytes_fetched(items: &[Value]) -> Vec<u64> {
    let bytes = |item: &Value| item["bytesFetched"].as_u64().expect("a number");
    items.iter().map(bytes).collect()
}

#[test]
fn privileged_a_pull_fetches_what_is_missing_and_counts_a_shared_base_once() {
    let bench = Bench::new();
    let apps = ["web", "api"].map(|name| bench.push(&with_base(name, 50_000), name));
    let [web, api] = &apps;
    bench.bind("2-web", web);
    bench.bind("1-api", api);

    let report = bench.pull(&[]).code(0).json();
    assert_eq!(report["kind"], "PullReport");
    let first = items(&bench.pull(&["--policy", "missing"]));
    let fetched = report["items"].as_array().expect("a list");
    for (item, (app, link)) in fetched.iter().zip([(api, "1-api"), (web, "2-web")]) {
        let file = format!("/usr/share/containers/systemd/{link}.image");
        let (name, bytes) = (bench.name(app), item["bytesFetched"].clone());
        let source =
            json!({ "link": format!("{link}.image"), "file": file, "line": 2, "image": name });
        let expected = json!({
            "image": name, "name": name, "digest": app.pushed.manifest_digest,
            "id": app.pushed.image_id, "result": "fetched", "bytesFetched": bytes,
            "error": null, "sources": [source],
        });
        assert_eq!(*item, expected);
        bench.assert_whole(app);
    }
    assert_eq!(column(&first, "result"), ["present", "present"]);
    let bytes = bytes_fetched(fetched);
    assert_eq!(bytes, [api.blob_bytes(), web.pushed.layer_sizes_bytes[1]]);
    assert_eq!(
        bytes.iter().sum::<u64>(),
        layer_bytes_requested(&bench, &[web, api])
    );
    assert_eq!(bench.host.store().images().len(), 2);
    bench.assert_swept();

    bench.proxy.clear();
    let again = bench.assert_completes(&[web, api]);
    assert_eq!(column(&again, "result"), ["present", "present"]);
    assert_eq!(
        column(&again, "id"),
        [api.pushed.image_id.as_str(), &web.pushed.image_id]
    );
    assert_eq!(bytes_fetched(&again), [0, 0]);
    assert_eq!(layer_bytes_requested(&bench, &[web, api]), 0);
    assert_eq!(
        bench.proxy.count_matching("GET /v2/web/manifests/v1"),
        1,
        "a tag is looked up"
    );
}

#[test]
fn privileged_a_moved_tag_is_fetched_by_newer_and_left_alone_by_missing() {
    let bench = Bench::new();
    let old = bench.push(&with_base("old", 10_000), "app");
    bench.bind("app", &old);
    bench.assert_completes(&[&old]);
    let new = bench.push(&with_base("new", 20_000), "app");
    assert_ne!(old.pushed.image_id, new.pushed.image_id);
    bench.proxy.clear();

    let kept = items(bench.pull(&["--policy", "missing"]).code(0));
    assert_eq!(column(&kept, "result"), ["present"]);
    assert_eq!(column(&kept, "id"), [old.pushed.image_id.as_str()]);
    assert_eq!(
        column(&kept, "digest"),
        [old.pushed.manifest_digest.as_str()]
    );
    bench.assert_whole(&old);
    assert_eq!(bench.proxy.requests().len(), 0, "missing asks nobody");

    let moved = items(bench.pull(&["--policy", "newer"]).code(0));
    assert_eq!(column(&moved, "result"), ["fetched"]);
    assert_eq!(
        column(&moved, "digest"),
        [new.pushed.manifest_digest.as_str()]
    );
    assert_eq!(
        bytes_fetched(&moved),
        [new.pushed.layer_sizes_bytes[1]],
        "the base was there"
    );
    assert_eq!(
        layer_bytes_requested(&bench, &[&new]),
        new.pushed.layer_sizes_bytes[1]
    );
    bench.assert_whole(&new);
    assert_eq!(
        bench.host.store().images().len(),
        2,
        "a pull removes no image"
    );
    old.assert_whole_in(&bench.host);
}

#[test]
fn privileged_a_tag_that_moved_back_is_fetched_without_bytes() {
    let bench = Bench::new();
    let old = bench.push(&with_base("old", 10_000), "app");
    bench.bind("app", &old);
    bench.assert_completes(&[&old]);
    let new = bench.push(&with_base("new", 20_000), "app");
    bench.assert_completes(&[&new]);

    let back = bench.push(&with_base("old", 10_000), "app");
    let items = bench.assert_completes(&[&back]);
    assert_eq!(column(&items, "result"), ["fetched"]);
    assert_eq!(column(&items, "id"), [old.pushed.image_id.as_str()]);
    assert_eq!(bytes_fetched(&items), [0]);
}

#[test]
fn privileged_a_digest_that_is_present_costs_no_request() {
    let bench = Bench::new();
    let app = bench.push(&with_base("app", 10_000), "app");
    let digest = &app.pushed.manifest_digest;
    let host = bench.proxy.host();
    let pinned = app.pushed.pinned_at(&host);
    bench.root.bind_image("pinned", &pinned);
    bench
        .root
        .bind_image("tagged", &format!("{host}/app:gone@{digest}"));

    let fetched = items(bench.pull(&[]).code(0));
    assert_eq!(
        fetched.len(),
        1,
        "two declarations of one image: {fetched:?}"
    );
    let item = &fetched[0];
    assert_eq!(item["name"], pinned.as_str());
    assert_eq!(item["result"], "fetched");
    assert_eq!(item["bytesFetched"], app.blob_bytes());
    let links = item["sources"].as_array().expect("a list");
    assert_eq!(column(links, "link"), ["pinned.image", "tagged.image"]);
    assert_eq!(
        bench.proxy.count_matching("/manifests/"),
        1,
        "one pull for both"
    );

    let id = bench.host.store().image_id_of(&pinned);
    assert_eq!(id.as_ref(), Some(&app.pushed.image_id));
    app.assert_whole_in(&bench.host);
    bench.proxy.clear();
    let unreachable = Rule::on("/", Fault::Reset);
    bench.proxy.set_rules([unreachable]);
    for policy in ["newer", "missing"] {
        let present = items(bench.pull(&["--policy", policy]).code(0));
        assert_eq!(column(&present, "result"), ["present"]);
        assert_eq!(column(&present, "digest"), [digest.as_str()]);
    }
    assert_eq!(bench.proxy.requests().len(), 0);
}

#[test]
fn privileged_a_pin_never_moves_the_tag_beside_it() {
    let bench = Bench::new();
    let old = bench.push(&with_base("old", 10_000), "app");
    bench.bind("app", &old);
    bench.assert_completes(&[&old]);
    let new = bench.push(&with_base("new", 10_000), "app");

    let pinned = new.pushed.pinned_at(&bench.proxy.host());
    bench
        .root
        .remove_link("app.image")
        .bind_image("new", &pinned);
    let fetched = items(bench.pull(&[]).code(0));
    assert_eq!(column(&fetched, "result"), ["fetched"]);
    bench.assert_whole(&old);
    new.assert_whole_in(&bench.host);
}

/// The tag alone gave the pinned image a name in its repository, which podman 5 needs to find it by its digest.
#[test]
fn privileged_a_pin_outlives_the_tag_that_carried_its_image() {
    let bench = Bench::new();
    let old = bench.push(&with_base("old", 10_000), "app");
    bench.bind("app", &old);
    bench.assert_completes(&[&old]);
    let pinned = old.pushed.pinned_at(&bench.proxy.host());
    bench.root.bind_image("a-pin", &pinned);
    let new = bench.push(&with_base("new", 10_000), "app");

    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(
        column(&pulled, "id"),
        [old.pushed.image_id.as_str(), &new.pushed.image_id]
    );
    let digits = &old.pushed.manifest_digest["sha256:".len()..][..12];
    let tag = format!("{}/app:bound-images-{digits}", bench.proxy.host());
    assert_eq!(
        bench.host.store().image_id_of(&tag),
        Some(old.pushed.image_id.clone())
    );
    bench
        .host
        .store_podman(&["image", "exists", &pinned])
        .code(0);
    let listed = ["list", "--json", "--root", bench.root.path().as_str()];
    let listed = items(bench.host.bound_images(&listed).code(0));
    assert_eq!(
        column(&listed, "state"),
        ["present", "present"],
        "{listed:?}"
    );
}

/// podman cannot mount it, but has it.
#[test]
fn privileged_an_image_without_layers_arrives() {
    let bench = Bench::new();
    let app = bench.push(&AppImage::new([]), "bare");
    bench.bind("bare", &app);
    for result in ["fetched", "present"] {
        let pulled = items(bench.pull(&[]).code(0));
        assert_eq!(column(&pulled, "result"), [result]);
        let id = bench.host.store().image_id_of(&bench.name(&app));
        assert_eq!(id.as_ref(), Some(&app.pushed.image_id));
    }
}

#[test]
fn privileged_images_without_files_or_with_one_layer_twice_arrive() {
    let bench = Bench::new();
    let layer = || Layer::new().file("etc/twice", "2");
    for (name, image) in [
        ("empty", AppImage::new([Layer::new()])),
        ("twice", AppImage::new([layer(), layer()])),
    ] {
        let app = bench.push(&image, name);
        bench.bind(name, &app);
        let fetched = items(bench.pull(&["--policy", "missing"]).code(0));
        let item = fetched
            .iter()
            .find(|item| item["id"] == app.pushed.image_id.as_str());
        assert_eq!(item.expect("it is reported")["result"], "fetched", "{name}");
        bench.assert_whole(&app);
    }
}
