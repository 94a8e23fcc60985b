//! Needs are compared by what a name means, never by how it is written.

use tests_integration::{AppImage, OsRoot};

use super::{Bench, app, ids, ids_of, item, root_binding, sorted_texts};

#[test]
fn privileged_what_any_root_needs_stays_and_all_else_goes() {
    let bench = Bench::new();
    let [first, second, third] = ["one", "two", "three"].map(|name| bench.push(name, "v1"));
    let all = root_binding(&[&first.reference, &second.reference, &third.reference]);
    bench.pull(&all);
    let old = root_binding(&[&first.reference]);
    let new = root_binding(&[&second.reference]);
    let unbound = OsRoot::new();

    let report = bench.prune(&[&old, &unbound, &new]);
    assert_eq!(ids(&report, "kept"), ids_of(&[&first, &second]));
    assert_eq!(ids(&report, "removed"), ids_of(&[&third]));
    let removed = item(&report, "removed", &third);
    assert_eq!(sorted_texts(&removed["names"]), [third.reference]);
    assert_eq!(removed["reason"], "no root needs it");
    for (image, root) in [(&first, &old), (&second, &new)] {
        let reason = format!("bound by bound-images.d/app0.image of {}", root.path());
        assert_eq!(item(&report, "kept", image)["reason"], reason);
    }
    bench.assert_whole(&old, &first, "one:v1");
    bench.assert_whole(&new, &second, "two:v1");

    let again = bench.prune(&[&old, &new]);
    assert_eq!(ids(&again, "removed"), Vec::<String>::new());
    assert_eq!(again["freedBytes"], 0);
    let none = bench.prune(&[&unbound]);
    assert_eq!(ids(&none, "removed"), ids_of(&[&first, &second]));
    assert!(bench.layers().is_empty(), "{:?}", bench.layers());
}

#[test]
fn privileged_the_table_says_what_goes_and_what_went() {
    let bench = Bench::new();
    let [needed, unneeded] = ["needed", "unneeded"].map(|name| bench.push(name, "v1"));
    bench.pull(&root_binding(&[&needed.reference, &unneeded.reference]));
    let root = root_binding(&[&needed.reference]);
    bench
        .host
        .store_podman(&["tag", &needed.image_id, "localhost/other:x"])
        .code(0);

    let short = &unneeded.image_id[..12];
    let dry = bench.try_prune(&[&root], &["-n"]).code(0).stdout();
    let row = |table: &str, id: &str| {
        let row = table.lines().find(|line| line.starts_with(id));
        row.unwrap_or_else(|| panic!("no row {id}: {table}"))
            .to_owned()
    };
    assert!(row(&dry, short).contains("would go"), "{dry}");
    assert!(row(&dry, short).ends_with("no root needs it"), "{dry}");
    let kept = row(&dry, &needed.image_id[..12]);
    assert!(kept.contains("would stay"), "{kept}");
    assert!(kept.ends_with("; would lose localhost/other:x"), "{kept}");
    assert!(
        dry.contains("\nWould remove 1 image, keep 1 and free "),
        "{dry}"
    );
    assert!(dry.ends_with("; nothing was changed.\n"), "{dry}");

    let real = bench.try_prune(&[&root], &[]).code(0).stdout();
    assert!(row(&real, short).contains("removed"), "{real}");
    assert!(row(&real, &needed.image_id[..12]).ends_with("; lost localhost/other:x"));
    assert!(real.contains("\nRemoved 1 image, kept 1, freed "), "{real}");
}

#[test]
fn privileged_a_needed_image_stays_however_it_is_declared() {
    let bench = Bench::new();
    let untagged = bench.push("untagged", "latest");
    let [tag_and_digest, transport, digest] =
        ["tag-and-digest", "transport", "digest"].map(|name| bench.push(name, "v1"));
    let host = bench.registry.host();
    let root = root_binding(&[
        &format!("{host}/untagged"),
        &format!(
            "{}@{}",
            tag_and_digest.reference, tag_and_digest.manifest_digest
        ),
        &format!("docker://{}", transport.reference),
        &digest.pinned_at(&host),
    ]);
    bench.pull(&root);

    let needed = ids_of(&[&untagged, &tag_and_digest, &transport, &digest]);
    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), Vec::<String>::new());
    assert_eq!(ids(&report, "kept"), needed);
    for kept in super::items(&report, "kept") {
        assert_eq!(kept["removedNames"], serde_json::json!([]), "{report}");
    }
    bench.assert_whole(&root, &tag_and_digest, "tag-and-digest:v1");
}

#[test]
fn privileged_a_digest_keeps_an_image_that_is_stored_by_tag() {
    let bench = Bench::new();
    let image = bench.push("app", "v1");
    let host = bench.registry.host();
    let index = AppImage::push_index(
        &[
            app("a"),
            app("b").architecture(tests_integration::app_image::other_architecture()),
        ],
        &bench.registry,
        "multi",
        "v1",
    );
    bench.pull(&root_binding(&[&image.reference, &index.reference]));
    let by_digest = root_binding(&[
        &format!("{host}/app:other@{}", image.manifest_digest),
        &format!("{host}/multi@{}", index.index_digest),
    ]);

    let report = bench.prune(&[&by_digest]);
    assert_eq!(ids(&report, "kept"), ids_of(&[&image, &index.instances[0]]));
    let again = ["pull", "--json", "--root", by_digest.path().as_str()];
    let again = bench.host.bound_images(&again).code(0).json();
    for item in super::items(&again, "items") {
        assert_eq!(
            item["result"], "present",
            "it is no longer found by digest: {again}"
        );
    }
}

#[test]
fn privileged_an_unneeded_image_goes_with_all_of_its_names() {
    let bench = Bench::new();
    let [needed, unneeded] = ["needed", "unneeded"].map(|name| bench.push(name, "v1"));
    let root = root_binding(&[&needed.reference]);
    bench.pull(&root);
    bench.podman_pull(&unneeded.reference);
    bench.podman_pull(&unneeded.pinned_at(&bench.registry.host()));
    let more = ["tag", &unneeded.image_id, "localhost/x:1", "localhost/x:2"];
    bench.host.store_podman(&more).code(0);

    let report = bench.prune(&[&root]);
    let mut names = vec![
        unneeded.reference.clone(),
        unneeded.pinned_at(&bench.registry.host()),
        "localhost/x:1".to_owned(),
        "localhost/x:2".to_owned(),
    ];
    names.sort();
    let removed = item(&report, "removed", &unneeded);
    assert_eq!(sorted_texts(&removed["names"]), names);
    assert_eq!(bench.host.store().image_ids(), ids_of(&[&needed]));
}

#[test]
fn privileged_an_unneeded_name_of_a_needed_image_goes() {
    let bench = Bench::new();
    let host = bench.registry.host();
    let image = bench.push("app", "v1");
    let pinned = image.pinned_at(&host);
    let spare_tag = format!("{host}/app:spare");
    // The name that a root needs, the names that the image has besides, and those that must go.
    let cases = [
        (
            &image.reference,
            vec!["localhost/x:1"],
            vec!["localhost/x:1"],
        ),
        (&image.reference, vec![&spare_tag], vec![&spare_tag]),
        (&pinned, vec!["localhost/x:1"], vec!["localhost/x:1"]),
        (&pinned, vec![&spare_tag], vec![&spare_tag]),
        (
            &pinned,
            vec![&spare_tag, "localhost/x:1"],
            vec!["localhost/x:1", &spare_tag],
        ),
    ];
    for (needed, others, mut gone) in cases {
        let root = root_binding(&[needed]);
        bench.pull(&root);
        let tag = [&["tag", &image.image_id][..], &others].concat();
        bench.host.store_podman(&tag).code(0);

        let report = bench.prune(&[&root]);
        let kept = item(&report, "kept", &image);
        gone.sort_unstable();
        assert_eq!(
            sorted_texts(&kept["removedNames"]),
            gone,
            "{needed} {report}"
        );
        assert_eq!(sorted_texts(&kept["names"]), [needed.as_str()]);
        assert_eq!(ids(&report, "removed"), Vec::<String>::new());
        assert_eq!(report["freedBytes"], 0);
        bench.assert_whole(&root, &image, "app:v1");
        bench.prune(&[&OsRoot::new()]);
    }
}

#[test]
fn privileged_nameless_images_go_unless_a_digest_needs_them() {
    let bench = Bench::new();
    let host = bench.registry.host();
    let root = root_binding(&[&format!("{host}/app:v1")]);
    let push = |text: &str| app(text).push(&bench.registry, "app", "v1");
    let first = push("first");
    bench.pull(&root);
    let second = push("second");
    bench.pull(&root);
    let third = push("third");
    bench.pull(&root);
    let nameless = bench.host.store().images().into_iter();
    let nameless: Vec<String> = nameless
        .filter(|image| image.names.is_empty())
        .map(|image| image.id)
        .collect();
    assert_eq!(nameless, ids_of(&[&first, &second]), "the tag moved away");

    let old = root_binding(&[&first.pinned_at(&host)]);
    let report = bench.prune(&[&old, &root]);
    assert_eq!(ids(&report, "kept"), ids_of(&[&first, &third]));
    let removed = item(&report, "removed", &second);
    assert_eq!(removed["names"], serde_json::json!([]));
    assert_eq!(
        bench
            .host
            .store()
            .read_image_file(&first.image_id, "etc/version"),
        "first"
    );

    let report = bench.prune(&[&root]);
    assert_eq!(ids(&report, "removed"), ids_of(&[&first]));
    bench.assert_whole(&root, &third, "third");
}
