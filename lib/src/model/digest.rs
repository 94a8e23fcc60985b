//! Content identifiers: validated once, here, and never mistaken for one another.
//!
//! ```compile_fail
//! use bound_images_lib::model::{ImageId, LayerId};
//! let id: ImageId = "0".repeat(64).parse().unwrap();
//! let layer: LayerId = id; // An image is not a layer.
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A string that is not 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHex64;

impl fmt::Display for NotHex64 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not 64 lowercase hexadecimal digits")
    }
}

impl std::error::Error for NotHex64 {}

fn check_hex64(text: &str) -> Result<(), NotHex64> {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        Ok(())
    } else {
        Err(NotHex64)
    }
}

macro_rules! hex64_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The 64 hexadecimal digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, as container tools abbreviate it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = NotHex64;

            fn from_str(text: &str) -> Result<Self, NotHex64> {
                check_hex64(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotHex64;

            fn try_from(text: String) -> Result<Self, NotHex64> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

hex64_newtype! {
    /// The ID of an image in a store: the hexadecimal digest of its configuration.
    ImageId
}

hex64_newtype! {
    /// The ID of a layer in a store: a hash over the chain of layers below it.
    LayerId
}

/// The digest of a manifest or blob, `sha256:` and 64 lowercase hexadecimal digits.
///
/// Other algorithms are refused: containers-storage keeps none of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest in full, with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256:` and the first 12 digits, for a table.
    pub fn short(&self) -> &str {
        &self.0[.."sha256:".len() + 12]
    }
}

impl FromStr for Digest {
    type Err = NotHex64;

    fn from_str(text: &str) -> Result<Self, NotHex64> {
        let digits = text.strip_prefix("sha256:").ok_or(NotHex64)?;
        check_hex64(digits).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = NotHex64;

    fn try_from(text: String) -> Result<Self, NotHex64> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lowercase_sha256_is_accepted() {
        let hex = "a1".repeat(32);
        for (input, accepted) in [
            (format!("sha256:{hex}"), true),
            (format!("sha256:{}", hex.to_uppercase()), false),
            (format!("sha256:{}", &hex[1..]), false),
            (format!("sha512:{hex}"), false),
            (hex, false),
            (String::new(), false),
        ] {
            assert_eq!(input.parse::<Digest>().is_ok(), accepted, "{input}");
        }
    }
}
