//! What a store holds at one moment, as values.

use std::collections::{BTreeMap, BTreeSet};

use super::{BoundImage, Digest, ImageId, ImageName, LayerId, Platform};

/// The images and layers of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Every image record, also those that `podman image list` hides.
    pub images: BTreeMap<ImageId, StoredImage>,
    /// Every layer record, also those that no image uses.
    pub layers: BTreeMap<LayerId, StoredLayer>,
}

/// An image record of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its ID.
    pub id: ImageId,
    /// The digest that the store reports for it; of a manifest or of an index.
    pub digest: Option<Digest>,
    /// Digests of every manifest and index recorded with it.
    pub manifest_digests: BTreeSet<Digest>,
    /// Names that refer to it now.
    pub names: Vec<String>,
    /// Names that referred to it at some time.
    pub names_history: Vec<String>,
    /// Topmost layer; none for an image without layers.
    pub top_layer: Option<LayerId>,
    /// The platform that its configuration names; empty where that cannot be read.
    pub platform: Platform,
    /// Bytes of its manifests and configuration.
    pub metadata_bytes: u64,
    /// Whether everything it consists of is there, as far as a look without reading layers tells.
    pub health: Health,
}

/// What a look at an image's records and directories tells; file contents are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Records, manifest, configuration and all layer directories are there.
    Complete,
    /// Something is missing or contradicts its digest; says what.
    Damaged(String),
}

/// A layer record of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// Its ID.
    pub id: LayerId,
    /// The layer below.
    pub parent: Option<LayerId>,
    /// Digest of the uncompressed tar stream.
    pub diff_digest: Option<Digest>,
    /// Digest of the blob that it was pulled as.
    pub blob_digest: Option<Digest>,
    /// Bytes of its files.
    pub diff_bytes: u64,
    /// Bytes of the blob that it was pulled as; those of its files where that is not known.
    pub blob_bytes: u64,
    /// When it was created, verbatim; tells a layer from a later one with the same ID.
    pub created: String,
    /// Podman was interrupted while it unpacked this layer.
    pub incomplete: bool,
}

/// A layer of the private store that something outside of it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The layer.
    pub layer: LayerId,
    /// Who uses it, such as `container web`.
    pub holder: String,
}

impl Inventory {
    /// The image that a consumer gets when it asks the store for `name`.
    ///
    /// A digest counts only when the image also has a name in that repository:
    /// podman 5 finds it by nothing less.
    pub fn find(&self, name: &ImageName) -> Option<&StoredImage> {
        let by_name = |image: &&StoredImage| image.names.iter().any(|known| known == name.as_str());
        self.images.values().find(by_name).or_else(|| {
            let digest = name.digest()?;
            self.images.values().find(|image| {
                image.has_digest(digest)
                    && image
                        .names
                        .iter()
                        .any(|known| in_repository(known, name.repository()))
            })
        })
    }

    /// The image that a bound image means, if it is here and of the right platform.
    pub fn find_bound(&self, bound: &BoundImage) -> Option<&StoredImage> {
        self.find(&bound.name)
            .filter(|stored| stored.fits(&bound.options.platform))
    }

    /// The layers of an image from its top to its base.
    ///
    /// Ends early where a record is missing; [`StoredImage::health`] tells of that.
    pub fn chain(&self, image: &StoredImage) -> Vec<&StoredLayer> {
        let mut chain = Vec::new();
        let mut next = image.top_layer.as_ref();
        while let Some(layer) = next.and_then(|id| self.layers.get(id)) {
            if chain.len() > self.layers.len() {
                break;
            }
            chain.push(layer);
            next = layer.parent.as_ref();
        }
        chain
    }

    /// Whether `image` stands on `layer`.
    pub fn stands_on(&self, image: &StoredImage, layer: &LayerId) -> bool {
        image.top_layer.as_ref() == Some(layer)
            || self
                .chain(image)
                .iter()
                .any(|link| link.id == *layer || link.parent.as_ref() == Some(layer))
    }

    /// Size of an image in bytes: its unpacked layers, shared ones included, and its metadata.
    pub fn size_bytes(&self, image: &StoredImage) -> u64 {
        let layers: u64 = self.chain(image).iter().map(|layer| layer.diff_bytes).sum();
        layers + image.metadata_bytes
    }
}

impl StoredImage {
    /// Whether it is of the platform `wanted`; where nothing is said, of this machine's.
    ///
    /// An image that was pulled by a manifest of its own is taken as it is: whoever names the
    /// manifest of another platform means it.
    pub fn fits(&self, wanted: &Platform) -> bool {
        let is_of_an_index = self.manifest_digests.len() > 1;
        match is_of_an_index {
            true => wanted
                .or(&Platform::of_this_machine())
                .accepts(&self.platform),
            false => wanted.accepts(&self.platform),
        }
    }

    /// Whether `digest` is that of one of its manifests.
    pub fn has_digest(&self, digest: &Digest) -> bool {
        self.digest.as_ref() == Some(digest) || self.manifest_digests.contains(digest)
    }
}

fn in_repository(name: &str, repository: &str) -> bool {
    name.strip_prefix(repository)
        .is_some_and(|rest| rest.starts_with([':', '@']) && !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(fill: &str, names: &[&str]) -> StoredImage {
        let digest: Digest = format!("sha256:{}", fill.repeat(64)).parse().unwrap();
        StoredImage {
            id: fill.repeat(64).parse().unwrap(),
            manifest_digests: BTreeSet::from([digest.clone()]),
            digest: Some(digest),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            names_history: Vec::new(),
            top_layer: None,
            platform: Platform::default(),
            metadata_bytes: 0,
            health: Health::Complete,
        }
    }

    #[test]
    fn an_image_is_found_as_podman_finds_it() {
        let a = image("a", &["r.io/app:v1"]);
        let nameless = image("b", &[]);
        let inventory = Inventory {
            images: [a.clone(), nameless]
                .map(|image| (image.id.clone(), image))
                .into(),
            layers: BTreeMap::new(),
        };
        let digest_a = format!("@sha256:{}", "a".repeat(64));
        let digest_b = format!("@sha256:{}", "b".repeat(64));
        for (name, found) in [
            ("r.io/app:v1".to_owned(), true),
            ("r.io/app:v2".to_owned(), false),
            (format!("r.io/app{digest_a}"), true),
            (format!("r.io/app:any{digest_a}"), true),
            (format!("r.io/ap{digest_a}"), false),
            (format!("r.io/app{digest_b}"), false),
        ] {
            let name = ImageName::parse(&name).unwrap();
            assert_eq!(inventory.find(&name).is_some(), found, "{name}");
        }
    }
}
