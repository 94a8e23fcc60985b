//! What the host's main store takes from the private one: layers in use by its containers.
//!
//! podman removes an image from the private store without asking; a container of the main
//! store that runs on it loses its files, and a later pull does not bring them back.

use std::collections::BTreeSet;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::Dir;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::listing::{IMAGES_FILE, ImageRecord, LAYERS_FILE, LayerRecord, read_records};
use crate::model::InUse;
use crate::root::OsRoot;

/// podman's configuration, in order of precedence.
const STORAGE_CONF: [&str; 2] = [
    "/etc/containers/storage.conf",
    "/usr/share/containers/storage.conf",
];
const DEFAULT_GRAPHROOT: &str = "/var/lib/containers/storage";
const DEFAULT_RUNROOT: &str = "/run/containers/storage";
const MAX_STORAGE_CONF_BYTES: u64 = 1024 * 1024;

/// podman keeps containers started with `--rm`, as quadlet does, in the volatile file only.
const CONTAINER_FILES: [&str; 2] = [
    "overlay-containers/containers.json",
    "overlay-containers/volatile-containers.json",
];
const LAYER_FILES: [&str; 2] = [LAYERS_FILE, "overlay-layers/volatile-layers.json"];

/// The store in which the host's own podman keeps its containers.
#[derive(Debug)]
struct MainStore {
    /// The graphroot, and the runroot where there is one: with `transient_store`, or podman's
    /// option of that name, the volatile files lie there.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    dir: Dir,
    path: Utf8PathBuf,
}

#[derive(Debug, Deserialize)]
struct ContainerRecord {
    id: String,
    names: Option<Vec<String>>,
    layer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct StorageConf {
    #[serde(default)]
    storage: StorageSection,
}

#[derive(Debug, Default, Deserialize)]
struct StorageSection {
    graphroot: Option<String>,
    runroot: Option<String>,
}

/// Every layer outside of a system's main store on which something in it stands; none where the
/// system has no main store.
pub fn layers_in_use(system: &OsRoot) -> anyhow::Result<Vec<InUse>> {
    match MainStore::open_optional(system)? {
        Some(main_store) => main_store.foreign_layers(),
        None => Ok(Vec::new()),
    }
}

impl MainStore {
    /// Opens the main store of a system; `None` when it has none.
    fn open_optional(system: &OsRoot) -> anyhow::Result<Option<Self>> {
        let section = storage_section(system)?;
        let graphroot = path_or(section.graphroot, DEFAULT_GRAPHROOT);
        let runroot = path_or(section.runroot, DEFAULT_RUNROOT);
        let Some(graphroot) = Place::open_optional(system, &graphroot)? else {
            return Ok(None);
        };
        let runroot = Place::open_optional(system, &runroot)?;
        let places = [graphroot].into_iter().chain(runroot).collect();
        Ok(Some(Self { places }))
    }

    /// Every layer outside of the main store on which something in it stands, with its holder.
    fn foreign_layers(&self) -> anyhow::Result<Vec<InUse>> {
        let mut layers: Vec<LayerRecord> = Vec::new();
        for file in LAYER_FILES {
            layers.extend(self.records(file)?);
        }
        let mut containers: Vec<ContainerRecord> = Vec::new();
        for file in CONTAINER_FILES {
            containers.extend(self.records(file)?);
        }
        let images: Vec<ImageRecord> = self.records(IMAGES_FILE)?;
        foreign_layers(&layers, &containers, &images)
    }

    fn records<T: DeserializeOwned>(&self, file: &str) -> anyhow::Result<Vec<T>> {
        let way_out = "what its containers use cannot be known; repair podman's main store first";
        let mut records = Vec::new();
        for place in &self.places {
            records.extend(read_records(&place.dir, &place.path, file, way_out)?);
        }
        Ok(records)
    }
}

impl Place {
    fn open_optional(system: &OsRoot, inside: &Utf8Path) -> anyhow::Result<Option<Self>> {
        let path = system.outside_path(inside);
        let dir = system
            .open_dir_optional(inside)
            .with_context(|| format!("opening {path} of the main store"))?;
        Ok(dir.map(|dir| Self { dir, path }))
    }
}

fn foreign_layers(
    layers: &[LayerRecord],
    containers: &[ContainerRecord],
    images: &[ImageRecord],
) -> anyhow::Result<Vec<InUse>> {
    let own: BTreeSet<&str> = layers.iter().map(|layer| layer.id.as_str()).collect();
    let mut in_use = Vec::new();
    for layer in layers {
        let parent = layer.parent.as_deref().filter(|parent| !parent.is_empty());
        let Some(parent) = parent.filter(|parent| !own.contains(parent)) else {
            continue;
        };
        in_use.push(InUse {
            layer: parent.parse().context("a layer of the main store")?,
            holder: holder(&layer.id, containers, images),
        });
    }
    // An image of the main store may consist of foreign layers alone.
    for image in images {
        let top = image.layer.as_deref().filter(|layer| !layer.is_empty());
        if let Some(top) = top.filter(|top| !own.contains(top)) {
            in_use.push(InUse {
                layer: top.parse().context("an image of the main store")?,
                holder: format!("image {} of the main store", short(&image.id)),
            });
        }
    }
    Ok(in_use)
}

fn holder(layer: &str, containers: &[ContainerRecord], images: &[ImageRecord]) -> String {
    let container = containers
        .iter()
        .find(|container| container.layer.as_deref() == Some(layer));
    if let Some(container) = container {
        let name = container.names.iter().flatten().next();
        return format!(
            "container {}",
            name.map_or(short(&container.id), String::as_str)
        );
    }
    let image = images
        .iter()
        .find(|image| image.layer.as_deref() == Some(layer));
    match image {
        Some(image) => format!("image {} of the main store", short(&image.id)),
        None => format!("layer {} of the main store", short(layer)),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn storage_section(system: &OsRoot) -> anyhow::Result<StorageSection> {
    for path in STORAGE_CONF {
        let describe = || format!("reading {}", system.outside_path(Utf8Path::new(path)));
        let content = system
            .read_optional(Utf8Path::new(path), MAX_STORAGE_CONF_BYTES)
            .with_context(describe)?;
        let Some(content) = content else {
            continue;
        };
        let text = String::from_utf8(content).with_context(describe)?;
        let conf: StorageConf = toml::from_str(&text).with_context(describe)?;
        return Ok(conf.storage);
    }
    Ok(StorageSection::default())
}

fn path_or(configured: Option<String>, default: &str) -> Utf8PathBuf {
    let configured = configured.filter(|path| !path.is_empty());
    configured.map_or_else(|| default.into(), Utf8PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;

    fn system(files: &[(&str, String)]) -> (tempfile::TempDir, OsRoot) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("usr")).unwrap();
        for (path, content) in files {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, OsRoot::new(dir, "/system".into()).unwrap())
    }

    #[test]
    fn containers_on_foreign_layers_are_found_and_named() {
        let [own, rw, volatile, foreign, other] = ["a", "b", "c", "d", "e"].map(|c| c.repeat(64));
        let store = "var/lib/containers/storage";
        let (_temp, system) = system(&[
            (
                &format!("{store}/overlay-layers/layers.json"),
                format!(r#"[{{"id":"{own}"}},{{"id":"{rw}","parent":"{own}"}}]"#),
            ),
            (
                &format!("{store}/overlay-layers/volatile-layers.json"),
                format!(r#"[{{"id":"{volatile}","parent":"{foreign}"}}]"#),
            ),
            (
                &format!("{store}/overlay-containers/volatile-containers.json"),
                format!(r#"[{{"id":"{volatile}","names":["web"],"layer":"{volatile}"}}]"#),
            ),
            (
                &format!("{store}/overlay-images/images.json"),
                format!(r#"[{{"id":"{own}","layer":"{other}"}}]"#),
            ),
        ]);
        let main = MainStore::open_optional(&system)
            .unwrap()
            .expect("it exists");
        let found: Vec<_> = main
            .foreign_layers()
            .unwrap()
            .into_iter()
            .map(|in_use| (in_use.layer.to_string(), in_use.holder))
            .collect();
        assert_eq!(
            found,
            [
                (foreign, "container web".to_owned()),
                (other, "image aaaaaaaaaaaa of the main store".to_owned()),
            ]
        );
    }

    #[test]
    fn the_main_store_lies_where_storage_conf_says() {
        let conf = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/data/store\"\n".to_owned();
        let (_temp, moved) = system(&[
            ("etc/containers/storage.conf", conf),
            ("data/store/x", String::new()),
        ]);
        let main = MainStore::open_optional(&moved)
            .unwrap()
            .expect("it exists");
        assert_eq!(main.places[0].path, "/system/data/store");
        assert!(main.foreign_layers().unwrap().is_empty());
        let (_temp, none) = system(&[]);
        assert!(MainStore::open_optional(&none).unwrap().is_none());
    }

    #[test]
    fn containers_of_a_transient_store_are_found_in_its_runroot() {
        let [foreign, layer] = ["a", "b"].map(|c| c.repeat(64));
        for (conf, runroot) in [
            (
                "[storage]\ntransient_store = true\n",
                "run/containers/storage",
            ),
            (
                "[storage]\ntransient_store = true\nrunroot = \"/run/x\"\n",
                "run/x",
            ),
            // `podman --transient-store`
            ("", "run/containers/storage"),
        ] {
            let (_temp, system) = system(&[
                ("etc/containers/storage.conf", conf.to_owned()),
                ("var/lib/containers/storage/x", String::new()),
                (
                    &format!("{runroot}/overlay-layers/volatile-layers.json"),
                    format!(r#"[{{"id":"{layer}","parent":"{foreign}"}}]"#),
                ),
                (
                    &format!("{runroot}/overlay-containers/volatile-containers.json"),
                    format!(r#"[{{"id":"{layer}","names":["web"],"layer":"{layer}"}}]"#),
                ),
            ]);
            let main = MainStore::open_optional(&system)
                .unwrap()
                .expect("it exists");
            let in_use = main.foreign_layers().unwrap();
            assert_eq!(in_use.len(), 1, "{conf}");
            assert_eq!(in_use[0].layer.to_string(), foreign);
            assert_eq!(in_use[0].holder, "container web");
        }
    }
}
