//! Reads the records of a containers-storage with the overlay driver, without podman.
//!
//! `podman image list` fails for the whole store when one image lacks its manifest, and hides
//! some; the files themselves tell everything, in a millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::Context;
use camino::Utf8Path;
use cap_std_ext::cap_std::fs::Dir;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::health::Files;
use crate::model::{
    Digest, Fault, FaultKind, Health, ImageId, Inventory, LayerId, Platform, StoredImage,
    StoredLayer,
};

pub(super) const IMAGES_FILE: &str = "overlay-images/images.json";
pub(super) const LAYERS_FILE: &str = "overlay-layers/layers.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ImageRecord {
    pub(super) id: String,
    digest: Option<String>,
    names: Option<Vec<String>>,
    names_history: Option<Vec<String>>,
    pub(super) layer: Option<String>,
    big_data_sizes: Option<BTreeMap<String, u64>>,
    big_data_digests: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LayerRecord {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    created: Option<String>,
    diff_digest: Option<String>,
    compressed_diff_digest: Option<String>,
    diff_size: Option<i64>,
    compressed_size: Option<i64>,
    flags: Option<BTreeMap<String, serde_json::Value>>,
}

/// Reads all records. An absent file is an empty one.
///
/// An image is damaged when something of it is missing or does not fit. What cannot be read for
/// any other reason is an error: the answer to damage is removal.
pub(super) fn read(dir: &Dir, path: &Utf8Path) -> anyhow::Result<Inventory> {
    // Images first: a pull that runs meanwhile writes layers before the image that needs them.
    let way_out = format!("move {path} away and pull again to fetch all images anew");
    let image_records: Vec<ImageRecord> = read_records(dir, path, IMAGES_FILE, &way_out)?;
    let layer_records: Vec<LayerRecord> = read_records(dir, path, LAYERS_FILE, &way_out)?;
    let mut inventory = Inventory::default();
    for record in layer_records {
        let layer = stored_layer(record).with_context(|| in_file(path, LAYERS_FILE))?;
        inventory.layers.insert(layer.id.clone(), layer);
    }
    let files = Files { dir, path };
    for record in image_records {
        let mut image = stored_image(record).with_context(|| in_file(path, IMAGES_FILE))?;
        (image.platform, image.health) = files.look_at(&inventory, &image)?;
        inventory.images.insert(image.id.clone(), image);
    }
    Ok(inventory)
}

/// Parses one of a store's JSON arrays; `way_out` is said when it is damaged.
pub(super) fn read_records<T: DeserializeOwned>(
    dir: &Dir,
    path: &Utf8Path,
    name: &str,
    way_out: &str,
) -> anyhow::Result<Vec<T>> {
    let content = match dir.read(name) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| in_file(path, name)),
    };
    // podman writes null for an empty list.
    serde_json::from_slice::<Option<Vec<T>>>(&content)
        .map(Option::unwrap_or_default)
        .map_err(|error| {
            let file = path.join(name);
            let message = format!("{file} is damaged ({error}); nothing was changed; {way_out}");
            Fault::new(FaultKind::Integrity, message).into()
        })
}

pub(super) fn in_file(path: &Utf8Path, name: &str) -> String {
    format!("reading {}", path.join(name))
}

fn stored_layer(record: LayerRecord) -> anyhow::Result<StoredLayer> {
    let incomplete = record
        .flags
        .as_ref()
        .and_then(|flags| flags.get("incomplete"));
    let bytes = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
    let diff_bytes = bytes(record.diff_size).unwrap_or(0);
    Ok(StoredLayer {
        id: record.id.parse()?,
        parent: layer_id(record.parent)?,
        diff_digest: record.diff_digest.and_then(|digest| digest.parse().ok()),
        blob_digest: record
            .compressed_diff_digest
            .and_then(|digest| digest.parse().ok()),
        diff_bytes,
        blob_bytes: bytes(record.compressed_size).unwrap_or(diff_bytes),
        created: record.created.unwrap_or_default(),
        incomplete: incomplete == Some(&serde_json::Value::Bool(true)),
    })
}

fn stored_image(record: ImageRecord) -> anyhow::Result<StoredImage> {
    let manifest_digests: BTreeSet<Digest> = record
        .big_data_digests
        .iter()
        .flatten()
        .filter(|(key, _)| *key == "manifest" || key.starts_with("manifest-"))
        .filter_map(|(_, digest)| digest.parse().ok())
        .collect();
    let id: ImageId = record.id.parse()?;
    Ok(StoredImage {
        id,
        digest: record.digest.and_then(|digest| digest.parse().ok()),
        manifest_digests,
        names: record.names.unwrap_or_default(),
        names_history: record.names_history.unwrap_or_default(),
        top_layer: layer_id(record.layer)?,
        platform: Platform::default(),
        metadata_bytes: record
            .big_data_sizes
            .iter()
            .flat_map(BTreeMap::values)
            .sum(),
        health: Health::Complete,
    })
}

fn layer_id(text: Option<String>) -> anyhow::Result<Option<LayerId>> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => Ok(Some(text.parse()?)),
        None => Ok(None),
    }
}
