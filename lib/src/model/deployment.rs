//! OS deployments: complete roots that a sysroot holds, one of which boots next.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{Digest, ImageId, ImageName};

/// Which deployment: `STATEROOT-CHECKSUM.SERIAL`, such as `default-1f…c0.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId {
    /// The stateroot that it belongs to, `osname` in ostree's terms.
    pub stateroot: String,
    /// The ostree commit that it is made of: 64 lowercase hexadecimal digits.
    pub checksum: String,
    /// Tells deployments of one commit apart.
    pub serial: u32,
}

/// A string that names no deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADeployment(String);

/// What a deployment is to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Becomes the default when the system shuts down.
    Staged,
    /// Runs now.
    Booted,
    /// What a rollback returns to.
    Rollback,
    /// Anything else: the default of a sysroot that is not booted, pinned ones, other stateroots.
    Other,
}

/// A deployment of a sysroot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Which one.
    pub id: DeploymentId,
    /// What it is to the system.
    pub slot: Slot,
    /// Whether it boots next, as far as is known now; the staged one when there is one.
    pub is_default: bool,
    /// Whether ostree was told to keep it.
    pub is_pinned: bool,
    /// Its root, relative to the sysroot: `ostree/deploy/STATEROOT/deploy/CHECKSUM.SERIAL`.
    pub path: Utf8PathBuf,
    /// Where the OS came from.
    pub os: OsSource,
}

/// Where the OS of a deployment came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OsSource {
    /// A container image.
    Image(OsImage),
    /// An ostree remote or a local commit; says the refspec where there is one.
    Commit {
        /// The refspec of the origin file.
        refspec: Option<String>,
    },
}

/// The container image of an OS, as it was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsImage {
    /// What an upgrade follows, as the origin file has it: `ostree-unverified-registry:HOST/OS:v1`.
    pub reference: OsReference,
    /// Digest of the manifest that was deployed; none where the commit does not tell.
    pub digest: Option<Digest>,
    /// The version that the image names.
    pub version: Option<String>,
    /// When the image was created, RFC 3339.
    pub timestamp: Option<String>,
}

/// Which OS image to follow, in the form of origin files: signature policy, transport, name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OsReference(pub String);

/// What a deployment binds, recorded when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its images, in the order of its links' names.
    pub images: Vec<ReceiptImage>,
}

/// One image of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptImage {
    /// The image as its first declaration writes it.
    pub image: String,
    /// Its canonical name.
    pub name: ImageName,
    /// The digest that `name` had when the deployment was made.
    pub digest: Digest,
    /// The image that this digest means on this machine.
    pub id: ImageId,
}

impl Receipt {
    /// The record of one image, by canonical name.
    pub fn find(&self, name: &ImageName) -> Option<&ReceiptImage> {
        self.images.iter().find(|image| image.name == *name)
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stateroot,
            checksum,
            serial,
        } = self;
        write!(formatter, "{stateroot}-{checksum}.{serial}")
    }
}

impl DeploymentId {
    /// For a table: the checksum shortened to 10 digits.
    pub fn short(&self) -> String {
        format!(
            "{}-{}.{}",
            self.stateroot,
            &self.checksum[..10],
            self.serial
        )
    }
}

impl FromStr for DeploymentId {
    type Err = NotADeployment;

    fn from_str(text: &str) -> Result<Self, NotADeployment> {
        let parse = || {
            let (rest, serial) = text.rsplit_once('.')?;
            let (stateroot, checksum) = rest.rsplit_once('-')?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_checksum = checksum.len() == 64 && checksum.bytes().all(is_hex);
            let is_sound = is_checksum
                && !stateroot.is_empty()
                && !stateroot.starts_with('.')
                && !stateroot.contains('/');
            is_sound.then_some(())?;
            Some(Self {
                stateroot: stateroot.to_owned(),
                checksum: checksum.to_owned(),
                serial: serial.parse().ok()?,
            })
        };
        parse().ok_or_else(|| NotADeployment(text.to_owned()))
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = NotADeployment;

    fn try_from(text: String) -> Result<Self, NotADeployment> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for NotADeployment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is not STATEROOT-CHECKSUM.SERIAL", self.0)
    }
}

impl std::error::Error for NotADeployment {}

impl fmt::Display for OsReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_read_as_it_is_written() {
        let checksum = "1f".repeat(32);
        for text in [
            format!("default-{checksum}.0"),
            format!("my-os-{checksum}.12"),
        ] {
            assert_eq!(text.parse::<DeploymentId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "default",
            &format!("default-{checksum}"),
            &format!("-{checksum}.0"),
            &format!("../x-{checksum}.0"),
            &format!("a/b-{checksum}.0"),
            &format!("default-{checksum}.-1"),
            &format!("default-{}.0", checksum.to_uppercase()),
        ] {
            assert!(text.parse::<DeploymentId>().is_err(), "{text}");
        }
    }
}
