//! Whether an image is whole, as far as its files tell without reading layers.
//!
//! The answer to damage is removal, so only what is missing or contradicts its digest counts.

use std::io;

use anyhow::Context;
use camino::Utf8Path;
use cap_std_ext::cap_std::fs::Dir;
use rustix::io::Errno;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::listing::in_file;
use crate::model::{Health, ImageId, Inventory, Platform, StoredImage, StoredLayer};

/// How the name of a configuration's file starts: `=` and the base64 of `sha256:ID`.
const CONFIG_FILE_PREFIX: &str = "=c2hhMjU2";

/// An image's configuration, as far as it must fit the records.
#[derive(Debug, Deserialize)]
struct ConfigRecord {
    architecture: String,
    os: String,
    variant: Option<String>,
    rootfs: RootfsRecord,
}

#[derive(Debug, Deserialize)]
struct RootfsRecord {
    diff_ids: Vec<String>,
}

/// Whether a failure to read tells that the content is not what it must be.
///
/// Any other failure, as for want of memory, descriptors or permission, tells nothing about it.
pub(super) fn is_damage(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(number) => [
            Errno::NOENT,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::LOOP,
            // A socket in the place of a file.
            Errno::NXIO,
        ]
        .contains(&Errno::from_raw_os_error(number)),
        // A decoder said it, or cap-std of a link that leads out of the store.
        None => error.kind() != io::ErrorKind::OutOfMemory,
    }
}

/// The store's files beside the records.
///
/// Read here and not by composefs-storage, which tells of any failure that the file is missing.
pub(super) struct Files<'a> {
    pub(super) dir: &'a Dir,
    pub(super) path: &'a Utf8Path,
}

impl Files<'_> {
    /// The platform that an image's configuration names, and whether the image is whole.
    ///
    /// An image is damaged when something of it is missing or does not fit. What cannot be read
    /// for any other reason is an error: the answer to damage is removal.
    pub(super) fn look_at(
        &self,
        inventory: &Inventory,
        image: &StoredImage,
    ) -> anyhow::Result<(Platform, Health)> {
        let config = self.configuration(&image.id)?;
        let platform = config.as_ref().map(platform).unwrap_or_default();
        let health = match self.first_damage(inventory, image, config.as_ref())? {
            Some(damage) => Health::Damaged(damage),
            None => Health::Complete,
        };
        Ok((platform, health))
    }

    /// What `file` holds; `None` where it is missing or no file.
    fn read_optional(&self, file: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.optional(file, self.dir.read(file))
    }

    fn exists(&self, file: &str) -> anyhow::Result<bool> {
        Ok(self.optional(file, self.dir.metadata(file))?.is_some())
    }

    fn optional<T>(&self, file: &str, result: io::Result<T>) -> anyhow::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| in_file(self.path, file)),
        }
    }

    /// An image's configuration; `None` where it is missing or malformed.
    fn configuration(&self, id: &ImageId) -> anyhow::Result<Option<ConfigRecord>> {
        let directory = format!("overlay-images/{id}");
        let Some(entries) = self.optional(&directory, self.dir.read_dir(&directory))? else {
            return Ok(None);
        };
        for entry in entries {
            let name = entry
                .with_context(|| in_file(self.path, &directory))?
                .file_name();
            let Some(name) = name.to_str().filter(|n| n.starts_with(CONFIG_FILE_PREFIX)) else {
                continue;
            };
            let content = self.read_optional(&format!("{directory}/{name}"))?;
            return Ok(content.and_then(|content| serde_json::from_slice(&content).ok()));
        }
        Ok(None)
    }

    fn first_damage(
        &self,
        inventory: &Inventory,
        image: &StoredImage,
        config: Option<&ConfigRecord>,
    ) -> anyhow::Result<Option<String>> {
        let damage = self.manifest_damage(image)?;
        if let Some(damage) = damage.or_else(|| chain_damage(inventory, image)) {
            return Ok(Some(damage));
        }
        for layer in inventory.chain(image) {
            if let Some(damage) = self.layer_damage(layer)? {
                return Ok(Some(damage));
            }
        }
        for layer in inventory.chain(image) {
            if let Some(damage) = self.lower_damage(layer)? {
                return Ok(Some(damage));
            }
        }
        Ok(config_damage(config, inventory, image))
    }

    fn manifest_damage(&self, image: &StoredImage) -> anyhow::Result<Option<String>> {
        let file = format!("overlay-images/{}/manifest", image.id);
        let Some(manifest) = self.read_optional(&file)? else {
            return Ok(Some("its manifest is missing".to_owned()));
        };
        let digest = format!("sha256:{:x}", Sha256::digest(&manifest));
        let recorded = digest.parse().is_ok_and(|digest| image.has_digest(&digest));
        Ok((!recorded).then(|| "its manifest does not match its digest".to_owned()))
    }

    fn layer_damage(&self, layer: &StoredLayer) -> anyhow::Result<Option<String>> {
        let id = &layer.id;
        if layer.incomplete {
            return Ok(Some(format!("layer {} is incomplete", id.short())));
        }
        let Some(link) = self.read_optional(&format!("overlay/{id}/link"))? else {
            let damage = format!("the directory of layer {} is missing", id.short());
            return Ok(Some(damage));
        };
        // podman forces neither this file nor `lower` to disk, so after a power cut they may be there
        // and empty, or full of zeros, which would name no file.
        let link = String::from_utf8_lossy(link.trim_ascii());
        if link.is_empty() {
            return Ok(Some(format!("the link of layer {} is empty", id.short())));
        }
        if !is_link_name(&link) {
            return Ok(Some(format!(
                "the link of layer {} is malformed",
                id.short()
            )));
        }
        for (file, what) in [
            (format!("overlay/{id}/diff"), "the content"),
            (format!("overlay/l/{link}"), "the link"),
            (format!("overlay-layers/{id}.tar-split.gz"), "the tar-split"),
        ] {
            if !self.exists(&file)? {
                return Ok(Some(format!("{what} of layer {} is missing", id.short())));
            }
        }
        Ok(None)
    }

    /// podman mounts a layer on those that its `lower` names, whatever the records say.
    fn lower_damage(&self, layer: &StoredLayer) -> anyhow::Result<Option<String>> {
        if layer.parent.is_none() {
            return Ok(None);
        }
        let id = &layer.id;
        let lower = self.read_optional(&format!("overlay/{id}/lower"))?;
        let lower = lower.unwrap_or_default();
        for link in String::from_utf8_lossy(lower.trim_ascii()).split(':') {
            let file = format!("overlay/{link}");
            // A link whose target is gone is the damage of the layer below.
            let is_there = link.strip_prefix("l/").is_some_and(is_link_name)
                && self
                    .optional(&file, self.dir.symlink_metadata(&file))?
                    .is_some();
            if !is_there {
                let damage = format!("the layers below layer {} are not found", id.short());
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }
}

fn is_link_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn chain_damage(inventory: &Inventory, image: &StoredImage) -> Option<String> {
    let chain = inventory.chain(image);
    let lowest = match chain.last() {
        Some(layer) => layer.parent.as_ref(),
        None => image.top_layer.as_ref(),
    };
    lowest.map(|layer| format!("layer {} is missing", layer.short()))
}

/// podman 4 accepts layers other than those that the configuration names; we do not.
fn config_damage(
    config: Option<&ConfigRecord>,
    inventory: &Inventory,
    image: &StoredImage,
) -> Option<String> {
    let Some(config) = config else {
        return Some("its configuration is missing or malformed".to_owned());
    };
    let diff_ids = &config.rootfs.diff_ids;
    let mut chain = inventory.chain(image);
    chain.reverse();
    if chain.len() != diff_ids.len() {
        return Some(format!(
            "its configuration names {} layers, the store has {}",
            diff_ids.len(),
            chain.len()
        ));
    }
    chain
        .into_iter()
        .zip(diff_ids)
        .find_map(|(layer, diff_id)| {
            let digest = layer.diff_digest.as_ref()?;
            (digest.as_str() != diff_id).then(|| {
                format!(
                    "layer {} does not match the image's configuration",
                    layer.id.short()
                )
            })
        })
}

fn platform(config: &ConfigRecord) -> Platform {
    Platform {
        arch: Some(config.architecture.clone()),
        os: Some(config.os.clone()),
        variant: config.variant.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::{IMAGES_FILE, LAYERS_FILE, read};
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;
    use rustix::fs::{CWD, Mode, chmodat};
    use serde_json::json;
    use std::path::Path;

    /// A store with one image of one layer; returns the image's and the layer's ID.
    fn store() -> (tempfile::TempDir, String, String) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        let (layer, diff) = ("1a".repeat(32), format!("sha256:{}", "2b".repeat(32)));
        let hex = |content: &str| format!("{:x}", Sha256::digest(content));
        let config = json!({
            "architecture": "arm64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [&diff] },
        })
        .to_string();
        let (id, manifest) = (hex(&config), "{}");
        let directory = root.join("overlay-images").join(&id);
        for directory in [
            &directory,
            &root.join("overlay/l"),
            &root.join("overlay-layers"),
            &root.join("overlay").join(&layer).join("diff"),
        ] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let write = |path: &Path, content: &str| std::fs::write(path, content).unwrap();
        write(&directory.join("manifest"), manifest);
        write(
            &directory.join(format!("{CONFIG_FILE_PREFIX}OmI=")),
            &config,
        );
        write(&root.join("overlay").join(&layer).join("link"), "ABC");
        let target = format!("../{layer}/diff");
        std::os::unix::fs::symlink(target, root.join("overlay/l/ABC")).unwrap();
        let tar_split = format!("overlay-layers/{layer}.tar-split.gz");
        write(&root.join(tar_split), "");
        let layers = json!([{ "id": &layer, "diff-digest": &diff }]).to_string();
        write(&root.join(LAYERS_FILE), &layers);
        let digest = format!("sha256:{}", hex(manifest));
        let images = json!([{
            "id": &id, "layer": &layer, "big-data-digests": { "manifest": digest },
        }]);
        write(&root.join(IMAGES_FILE), &images.to_string());
        (temp, id, layer)
    }

    /// Reads the store as a user whom permissions concern; the privilege of root is the thread's.
    fn read_as_nobody(path: &Path) -> anyhow::Result<Inventory> {
        let path = path.to_owned();
        let thread = std::thread::spawn(move || {
            let dir = Dir::open_ambient_dir(&path, ambient_authority()).unwrap();
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
            }
            read(&dir, "/s".into())
        });
        thread.join().unwrap()
    }

    fn health(inventory: &Inventory) -> &Health {
        &inventory.images.values().next().unwrap().health
    }

    #[test]
    fn what_may_not_be_read_is_an_error_and_what_is_missing_is_damage() {
        let short = &"1a".repeat(6);
        for (file, damage) in [
            (
                "overlay",
                format!("the directory of layer {short} is missing"),
            ),
            (
                "overlay/LAYER",
                format!("the directory of layer {short} is missing"),
            ),
            (
                "overlay/LAYER/link",
                format!("the directory of layer {short} is missing"),
            ),
            ("overlay/l", format!("the link of layer {short} is missing")),
            ("overlay-images/IMAGE", "its manifest is missing".to_owned()),
            (
                "overlay-images/IMAGE/manifest",
                "its manifest is missing".to_owned(),
            ),
            (
                "overlay-images/IMAGE/=c2hhMjU2OmI=",
                "its configuration is missing or malformed".to_owned(),
            ),
        ] {
            let (temp, id, layer) = store();
            let root = temp.path();
            // The user must be able to come to the store at all.
            for (path, mode) in [(root, 0o755), (&root.join("overlay-layers"), 0o755)] {
                chmodat(
                    CWD,
                    path,
                    Mode::from_raw_mode(mode),
                    rustix::fs::AtFlags::empty(),
                )
                .unwrap();
            }
            assert_eq!(*health(&read_as_nobody(root).unwrap()), Health::Complete);
            let path = root.join(file.replace("IMAGE", &id).replace("LAYER", &layer));
            let forbid = |mode| {
                let flags = rustix::fs::AtFlags::empty();
                chmodat(CWD, &path, Mode::from_raw_mode(mode), flags).unwrap();
            };
            forbid(0);
            let error = read_as_nobody(root).unwrap_err();
            let cause = error.root_cause().downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.kind(), io::ErrorKind::PermissionDenied, "{file}");
            assert!(error.to_string().starts_with("reading /s/"), "{error:#}");
            forbid(0o700);
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
            let dir = Dir::open_ambient_dir(root, ambient_authority()).unwrap();
            let inventory = read(&dir, "/s".into()).unwrap();
            assert_eq!(*health(&inventory), Health::Damaged(damage), "{file}");
        }
    }

    #[test]
    fn a_link_that_a_crash_emptied_is_damage() {
        for (content, what) in [
            ("", "empty"),
            ("\0\0\0", "malformed"),
            ("../x", "malformed"),
        ] {
            let (temp, _, layer) = store();
            std::fs::write(
                temp.path().join("overlay").join(&layer).join("link"),
                content,
            )
            .unwrap();
            let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
            let damage = format!("the link of layer {} is {what}", &layer[..12]);
            let inventory = read(&dir, "/s".into()).unwrap();
            assert_eq!(*health(&inventory), Health::Damaged(damage), "{content:?}");
            let platform = &inventory.images.values().next().unwrap().platform;
            assert_eq!(platform.arch.as_deref(), Some("arm64"));
        }
    }

    #[test]
    fn only_what_content_can_cause_is_damage() {
        for (error, want) in [
            (Errno::NOENT.into(), true),
            (Errno::NOTDIR.into(), true),
            (io::Error::other("corrupt deflate stream"), true),
            (Errno::IO.into(), false),
            (Errno::MFILE.into(), false),
            (Errno::NOMEM.into(), false),
            (io::ErrorKind::OutOfMemory.into(), false),
            (Errno::ACCESS.into(), false),
        ] {
            let error: io::Error = error;
            assert_eq!(is_damage(&error), want, "{error}");
        }
    }
}
