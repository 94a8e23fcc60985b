//! Receipts: what each deployment binds, one file a deployment.
//!
//! A receipt is on disk before its deployment can become the default, and it is what a rollback,
//! a prune and the names of the store go by: a tag may mean something else by now.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context;
use cap_std_ext::cap_std::fs::Dir;
use serde::{Deserialize, Serialize};

use super::StateDir;
use super::state_dir::{create_private_dir, replace_in};
use crate::model::{DeploymentId, Fault, FaultKind, Receipt, ReceiptImage};

const RECEIPTS: &str = "receipts";
const EXTENSION: &str = ".json";
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u32,
    deployment: DeploymentId,
    images: Vec<ReceiptImage>,
}

/// Reads the version alone, so that a newer document is refused for what it is.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads all receipts.
///
/// Fails when one is malformed or was written by a newer program: what it keeps alive would be
/// unknown. Files that no run of ours names are passed over.
pub fn read_receipts(state: &StateDir) -> anyhow::Result<BTreeMap<DeploymentId, Receipt>> {
    let path = state.path().join(RECEIPTS);
    let mut receipts = BTreeMap::new();
    let Some(dir) = open_optional(state).with_context(|| format!("opening {path}"))? else {
        return Ok(receipts);
    };
    for entry in dir.entries().with_context(|| format!("reading {path}"))? {
        let name = entry
            .with_context(|| format!("reading {path}"))?
            .file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(EXTENSION))
            .and_then(|stem| stem.parse::<DeploymentId>().ok());
        let Some(id) = id else {
            continue;
        };
        let receipt = read(state, &dir, &id)?;
        receipts.insert(id, receipt);
    }
    Ok(receipts)
}

fn read(state: &StateDir, dir: &Dir, id: &DeploymentId) -> anyhow::Result<Receipt> {
    let path = state.path().join(RECEIPTS).join(file_name(id));
    let content = dir
        .read(file_name(id))
        .with_context(|| format!("reading {path}"))?;
    let refused = |problem: String| {
        let message = format!("the receipt {path} {problem}");
        Fault::new(FaultKind::Other, message)
    };
    let malformed = |reason: &dyn std::fmt::Display| {
        refused(format!(
            "is malformed: {reason}; remove it, and the next run writes it anew from the \
             deployment's declarations"
        ))
    };
    let Versioned { version } = serde_json::from_slice(&content).map_err(|e| malformed(&e))?;
    if version > FORMAT_VERSION {
        let problem = format!(
            "has version {version}, this program knows {FORMAT_VERSION}; use the newer program"
        );
        return Err(refused(problem).into());
    }
    let document: Document = serde_json::from_slice(&content).map_err(|e| malformed(&e))?;
    if document.deployment != *id {
        return Err(malformed(&format!("it is that of {}", document.deployment)).into());
    }
    Ok(Receipt {
        deployment: document.deployment,
        images: document.images,
    })
}

/// Writes a receipt so that after a crash either the old or the new one is there.
pub fn write_receipt(state: &StateDir, receipt: &Receipt) -> anyhow::Result<()> {
    let path = state.path().join(RECEIPTS);
    let document = Document {
        version: FORMAT_VERSION,
        deployment: receipt.deployment.clone(),
        images: receipt.images.clone(),
    };
    let mut content = serde_json::to_vec_pretty(&document)?;
    content.push(b'\n');
    let write = || {
        create_private_dir(state.dir(), RECEIPTS)?;
        rustix::fs::fsync(state.dir().open(".")?)?;
        let dir = state.dir().open_dir(RECEIPTS)?;
        replace_in(&dir, &file_name(&receipt.deployment), &content)
    };
    write().with_context(|| format!("writing {}", path.join(file_name(&receipt.deployment))))
}

/// Removes the receipt of a deployment; none is no error.
pub fn remove_receipt(state: &StateDir, id: &DeploymentId) -> anyhow::Result<()> {
    let path = state.path().join(RECEIPTS).join(file_name(id));
    let remove = || {
        let Some(dir) = open_optional(state)? else {
            return Ok(());
        };
        match dir.remove_file(file_name(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(rustix::fs::fsync(dir.open(".")?)?),
        }
    };
    remove().with_context(|| format!("removing {path}"))
}

fn open_optional(state: &StateDir) -> io::Result<Option<Dir>> {
    match state.dir().open_dir(RECEIPTS) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn file_name(id: &DeploymentId) -> String {
    format!("{id}{EXTENSION}")
}

#[cfg(test)]
mod tests {
    use cap_std_ext::cap_std::ambient_authority;

    use super::*;
    use crate::model::ImageName;

    fn receipt(serial: u32) -> Receipt {
        let digest = format!("sha256:{}", "a".repeat(64));
        Receipt {
            deployment: DeploymentId {
                stateroot: "default".into(),
                checksum: "c".repeat(64),
                serial,
            },
            images: vec![ReceiptImage {
                image: "r.io/app".into(),
                name: ImageName::parse("r.io/app").unwrap(),
                digest: digest.parse().unwrap(),
                id: "b".repeat(64).parse().unwrap(),
            }],
        }
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let bootc = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let state = StateDir::create(&bootc, "/x".into()).unwrap();
        (temp, state)
    }

    #[test]
    fn receipts_are_read_as_they_were_written_until_removed() {
        let (_temp, state) = state();
        assert!(read_receipts(&state).unwrap().is_empty());
        for serial in [0, 1] {
            write_receipt(&state, &receipt(serial)).unwrap();
        }
        let read: Vec<Receipt> = read_receipts(&state).unwrap().into_values().collect();
        assert_eq!(read, [receipt(0), receipt(1)]);
        for _ in 0..2 {
            remove_receipt(&state, &receipt(0).deployment).unwrap();
        }
        let read: Vec<Receipt> = read_receipts(&state).unwrap().into_values().collect();
        assert_eq!(read, [receipt(1)]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_path() {
        let (temp, state) = state();
        write_receipt(&state, &receipt(0)).unwrap();
        let name = file_name(&receipt(0).deployment);
        let path = temp.path().join("bound-images/receipts").join(&name);
        let sound = std::fs::read_to_string(&path).unwrap();
        for (content, problem) in [
            (String::new(), "is malformed: EOF"),
            (sound[..sound.len() / 2].to_owned(), "is malformed: "),
            (
                r#"{"version":2,"shape":"new"}"#.to_owned(),
                "has version 2, this program knows 1",
            ),
            (
                sound.replace("\"default-", "\"other-"),
                "is malformed: it is that of other-",
            ),
            (sound.replace("sha256:", "md5:"), "is malformed: "),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = format!("{:#}", read_receipts(&state).unwrap_err());
            let start = format!("the receipt /x/bound-images/receipts/{name} {problem}");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
