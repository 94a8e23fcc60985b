//! Damaged records: those of podman, and our own.

use tests_integration::tree::Snapshot;

use super::super::bench::{Bench, column, items, with_base};

#[test]
fn privileged_records_that_cannot_be_read_are_code_14_and_nothing_is_changed() {
    for (file, keep) in [
        ("overlay-images/images.json", 50),
        ("overlay-layers/layers.json", 50),
        ("overlay-images/images.json", 0),
    ] {
        let bench = Bench::new();
        let app = bench.push(&with_base("app", 1000), "app");
        bench.bind("app", &app);
        bench.assert_completes(&[&app]);
        let store = bench.host.store_path();
        let records = std::fs::File::options().write(true).open(store.join(file));
        records
            .and_then(|records| records.set_len(keep))
            .expect("truncating records");
        let before = Snapshot::of(&store);
        bench.proxy.clear();

        let failed = bench.pull(&[]);
        let stderr = failed.code(14).stderr();
        assert!(
            stderr.contains(&format!("error: {} is damaged (", store.join(file))),
            "{stderr}"
        );
        let way_out = format!(
            "nothing was changed; move {store} away and pull again to fetch all images anew"
        );
        assert!(stderr.contains(&way_out), "{stderr}");
        assert_eq!(failed.stdout(), "");
        assert_eq!(
            Snapshot::of(&store).changes_since(&before),
            Vec::<String>::new()
        );
        assert_eq!(bench.proxy.requests().len(), 0);

        std::fs::rename(&store, store.with_extension("away")).expect("moving the store away");
        let pulled = bench.assert_completes(&[&app]);
        assert_eq!(
            column(&pulled, "result"),
            ["fetched"],
            "the way out leads out"
        );
    }
}

#[test]
fn privileged_a_layer_that_its_records_lost_is_fetched() {
    let bench = Bench::new();
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.assert_completes(&[&app]);
    let file = bench.host.store_path().join("overlay-layers/layers.json");
    let text = std::fs::read(&file).expect("reading layers.json");
    let mut records: Vec<serde_json::Value> = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(records.len(), 2);
    records.retain(|record| record["parent"].is_null());
    std::fs::write(&file, serde_json::to_vec(&records).expect("JSON")).expect("writing");

    let pulled = bench.assert_completes(&[&app]);
    assert_eq!(column(&pulled, "result"), ["fetched"]);
}

#[test]
fn privileged_a_lost_or_broken_ledger_costs_a_check_and_no_image() {
    let bench = Bench::new();
    let app = bench.push(&with_base("app", 1000), "app");
    bench.bind("app", &app);
    bench.assert_completes(&[&app]);
    let ledger = bench.state_directory().join("verified-layers.json");
    assert!(ledger.exists());
    for content in [None, Some("{ broken"), Some("")] {
        match content {
            None => std::fs::remove_file(&ledger).expect("removing the ledger"),
            Some(text) => std::fs::write(&ledger, text).expect("writing the ledger"),
        }
        let listed = ["list", "--json", "--root", bench.root.path().as_str()];
        let listed = items(bench.host.bound_images(&listed).code(0));
        assert_eq!(column(&listed, "verified"), [false], "{content:?}");
        let pulled = bench.pull(&["--policy", "missing"]);
        assert_eq!(column(&items(pulled.code(0)), "result"), ["present"]);
        assert!(pulled.stderr().contains("Checking layers of "), "{pulled}");
        bench.assert_completes(&[&app]);
    }
}
