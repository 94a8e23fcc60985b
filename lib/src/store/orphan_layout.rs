//! An OCI layout that stands for layers which are in the store already.
//!
//! No podman command removes a layer that belongs to no image. But an image can be made of such
//! layers by copying a layout that has none of their blobs: skopeo finds them in the store by
//! digest. The image's removal then takes them along.

use std::io;

use cap_std_ext::cap_std::fs::Dir;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::{ImageId, StoredLayer};

/// The files of a layout with one image, and the ID that the image will have.
#[derive(Debug)]
pub(super) struct OrphanLayout {
    files: Vec<(String, Vec<u8>)>,
    pub(super) id: ImageId,
}

/// Describes an image of `layers`, from base to top; each must have a digest.
pub(super) fn orphan_layout(layers: &[StoredLayer]) -> OrphanLayout {
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_digest).collect();
    let config = blob(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }));
    let descriptors: Vec<Value> = layers.iter().map(layer_descriptor).collect();
    let manifest = blob(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": descriptors,
    }));
    let index = blob(&json!({
        "schemaVersion": 2,
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)],
    }));
    let layout = blob(&json!({ "imageLayoutVersion": "1.0.0" }));
    let id = config.hex.parse().expect("a SHA-256 has 64 digits");
    let files = vec![
        (format!("blobs/sha256/{}", config.hex), config.content),
        (format!("blobs/sha256/{}", manifest.hex), manifest.content),
        ("index.json".to_owned(), index.content),
        ("oci-layout".to_owned(), layout.content),
    ];
    OrphanLayout { files, id }
}

impl OrphanLayout {
    /// Writes the layout into the directory `name`, which is made anew.
    pub(super) fn write(&self, tmp: &Dir, name: &str) -> io::Result<()> {
        tmp.create_dir_all(format!("{name}/blobs/sha256"))?;
        for (path, content) in &self.files {
            tmp.write(format!("{name}/{path}"), content)?;
        }
        Ok(())
    }
}

struct Blob {
    content: Vec<u8>,
    hex: String,
}

fn blob(document: &Value) -> Blob {
    let content = document.to_string().into_bytes();
    let hex = format!("{:x}", Sha256::digest(&content));
    Blob { content, hex }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{}", blob.hex),
        "size": blob.content.len(),
    })
}

fn layer_descriptor(layer: &StoredLayer) -> Value {
    let (media_type, digest) = match &layer.blob_digest {
        Some(digest) => ("application/vnd.oci.image.layer.v1.tar+gzip", Some(digest)),
        None => (
            "application/vnd.oci.image.layer.v1.tar",
            layer.diff_digest.as_ref(),
        ),
    };
    json!({ "mediaType": media_type, "digest": digest, "size": layer.blob_bytes })
}

#[cfg(test)]
mod tests {
    use cap_std_ext::cap_std::ambient_authority;

    use super::*;

    #[test]
    fn the_layout_names_layers_without_having_them() {
        let digest = |fill: &str| format!("sha256:{}", fill.repeat(64));
        let layer = StoredLayer {
            id: "a".repeat(64).parse().unwrap(),
            parent: None,
            diff_digest: Some(digest("b").parse().unwrap()),
            blob_digest: Some(digest("c").parse().unwrap()),
            diff_bytes: 10,
            blob_bytes: 5,
            created: String::new(),
            incomplete: false,
        };
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let layout = orphan_layout(&[layer]);
        layout.write(&dir, "orphan").unwrap();
        let read = |path: &str| -> Value {
            let text = dir.read_to_string(format!("orphan/{path}")).expect(path);
            serde_json::from_str(&text).expect(path)
        };
        let blob_of = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().to_owned();
            read(&digest.replace("sha256:", "blobs/sha256/"))
        };
        let manifest = blob_of(&read("index.json")["manifests"][0]);
        assert_eq!(manifest["layers"][0]["digest"], digest("c"));
        assert_eq!(
            manifest["config"]["digest"],
            format!("sha256:{}", layout.id)
        );
        let config = blob_of(&manifest["config"]);
        assert_eq!(config["rootfs"]["diff_ids"][0], digest("b"));
        assert_eq!(
            std::fs::read_dir(temp.path().join("orphan/blobs/sha256"))
                .unwrap()
                .count(),
            2
        );
    }
}
