//! Damage to one image neither keeps others from going nor makes a needed one go.

use camino::Utf8PathBuf;
use tests_integration::{OsRoot, PushedImage};

use super::{Bench, ids, ids_of, root_binding};

/// One way to damage an image: what it is called, and how it is done.
type Damage = (&'static str, fn(&Bench, &PushedImage));

const DAMAGES: [Damage; 5] = [
    ("manifest gone", |bench, image| {
        remove(
            bench
                .host
                .store_path()
                .join("overlay-images")
                .join(&image.image_id)
                .join("manifest"),
        );
    }),
    ("metadata gone", |bench, image| {
        remove(
            bench
                .host
                .store_path()
                .join("overlay-images")
                .join(&image.image_id),
        );
    }),
    ("layer directory gone", |bench, image| {
        remove(
            bench
                .host
                .store_path()
                .join("overlay")
                .join(own_layer(bench, image)),
        );
    }),
    ("layer content gone", |bench, image| {
        remove(
            bench
                .host
                .store_path()
                .join("overlay")
                .join(own_layer(bench, image))
                .join("diff"),
        );
    }),
    ("layer record gone", |bench, image| {
        let own = own_layer(bench, image);
        let mut records = bench.records("overlay-layers/layers.json");
        records.retain(|record| record["id"] != *own);
        bench.write_records("overlay-layers/layers.json", &records);
    }),
];

fn remove(path: Utf8PathBuf) {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(&path),
        false => std::fs::remove_file(&path),
    };
    removed.unwrap_or_else(|error| panic!("removing {path}: {error}"));
}

fn own_layer(bench: &Bench, image: &PushedImage) -> String {
    let records = bench.records("overlay-images/images.json");
    let record = records
        .iter()
        .find(|record| record["id"] == *image.image_id);
    super::text(record.expect("the image is there"), "layer")
}

#[test]
fn privileged_a_damaged_image_that_no_root_needs_goes() {
    let bench = Bench::new();
    let [needed, unneeded] = ["needed", "unneeded"].map(|name| bench.push(name, "v1"));
    let root = root_binding(&[&needed.reference]);
    for (damage, inflict) in DAMAGES {
        bench.pull(&root_binding(&[&needed.reference, &unneeded.reference]));
        inflict(&bench, &unneeded);
        let report = bench.prune(&[&root]);
        assert_eq!(ids(&report, "removed"), ids_of(&[&unneeded]), "{damage}");
        bench.assert_whole(&root, &needed, "needed:v1");
        assert_eq!(bench.layers().len(), 2, "{damage}");
    }
}

#[test]
fn privileged_a_damaged_image_that_a_root_needs_stays_for_a_pull_to_repair() {
    for (damage, inflict) in DAMAGES {
        let bench = Bench::new();
        let [needed, unneeded] = ["needed", "unneeded"].map(|name| bench.push(name, "v1"));
        let root = root_binding(&[&needed.reference]);
        bench.pull(&root_binding(&[&needed.reference, &unneeded.reference]));
        inflict(&bench, &needed);

        let report = bench.try_prune(&[&root], &["--json"]).code(0).json();
        assert_eq!(ids(&report, "removed"), ids_of(&[&unneeded]), "{damage}");
        assert_eq!(ids(&report, "kept"), ids_of(&[&needed]), "{damage}");
        let records = bench.records("overlay-images/images.json");
        assert_eq!(records.len(), 1, "{damage}");
        bench.pull(&root);
        bench.assert_whole(&root, &needed, "needed:v1");
        bench.prune(&[&OsRoot::new()]);
    }
}
