//! Content that is not what its digest says.

use tests_integration::{AppImage, Fault, Layer, Rule};

use super::super::bench::{Bench, column, items};
use super::{BLOB, Victim};

#[test]
fn privileged_a_wrong_byte_is_code_14_and_never_reaches_the_store() {
    let victim = Victim::new();
    let config = format!("{BLOB}sha256:{}", victim.wanted.pushed.image_id);
    let own_layer = format!("{BLOB}{}", victim.wanted.pushed.layer_digests[1]);
    for place in [&own_layer, &config] {
        let failure = victim.fails([Rule::on(place, Fault::FlipByte)], &[], 14);
        assert_eq!(failure.retries(), 0, "{place}: {}", failure.reason);
        assert_eq!(victim.manifest_requests(), 1);
    }
    victim.recovers();
}

#[test]
fn privileged_a_manifest_that_does_not_match_its_pin_is_code_14() {
    let bench = Bench::new();
    let app = bench.push(&AppImage::tiny("1"), "app");
    bench
        .root
        .bind_image("app", &app.pushed.pinned_at(&bench.proxy.host()));
    bench
        .proxy
        .set_rules([Rule::on("/manifests/", Fault::FlipByte)]);
    let failed = items(bench.pull(&[]).code(14));
    assert_eq!(column(&failed, "result"), ["failed"]);
    assert_eq!(
        bench.proxy.count_matching("/manifests/"),
        1,
        "not tried again"
    );
    assert_eq!(bench.host.store().images(), []);
    bench.proxy.set_rules([]);
    bench.pull(&[]).code(0);
    app.assert_whole_in(&bench.host);
}

/// podman 4 accepts such an image without a word.
#[test]
fn privileged_an_image_whose_config_names_other_layers_is_code_14_and_discarded() {
    let victim = Victim::new();
    let honest = AppImage::new([
        Layer::new().random("base", 20_000, 1),
        Layer::new().file("etc/version", "honest"),
    ]);
    let bench = &victim.bench;
    for layer in [0, 1] {
        let lying = honest.clone().lying_about_layer(layer);
        let lying = lying.push(&bench.registry, "wanted", "v1");
        let failure = victim.fails([], &[], 14);
        assert_eq!(failure.retries(), 0, "{}", failure.reason);
        assert!(!bench.host.store().image_ids().contains(&lying.image_id));
        let listed = ["list", "--json", "--root", bench.root.path().as_str()];
        let listed = items(bench.host.bound_images(&listed).code(0));
        assert_eq!(column(&listed, "state"), ["present", "missing"]);
    }
    let honest = bench.push(&honest, "wanted");
    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    bench.assert_whole(&honest);
}

#[test]
fn privileged_a_moved_tag_with_wrong_content_leaves_the_old_image_its_name() {
    let bench = Bench::new();
    let old = bench.bind_tiny("app");
    bench.assert_completes(&[&old]);
    let bad = AppImage::tiny("other").lying_about_layer(0);
    let bad = bad.push(&bench.registry, "app", "v1");
    let failed = items(bench.pull(&[]).code(14));
    assert_eq!(column(&failed, "result"), ["failed"]);
    assert!(!bench.host.store().image_ids().contains(&bad.image_id));
    bench.assert_whole(&old);
    let listed = ["list", "--json", "--root", bench.root.path().as_str()];
    let listed = items(bench.host.bound_images(&listed).code(0));
    assert_eq!(column(&listed, "id"), [old.pushed.image_id.as_str()]);

    let new = bench.push(&AppImage::tiny("new"), "app");
    bench.assert_completes(&[&new]);
}
