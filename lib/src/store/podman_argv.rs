//! Command lines of podman, as data.

use crate::model::{ImageId, Platform, TlsVerify};

/// Where the child sees the store; podman's database records the string.
const STORE_ALIAS: &str = "/run/bootc/storage";

/// Descriptor numbers in the child. podman's database records the string of the first.
pub(super) mod fd {
    /// The runroot.
    pub(in crate::store) const RUNROOT: i32 = 3;
    /// The private TMPDIR.
    pub(in crate::store) const TMPDIR: i32 = 4;
    /// The auth file.
    pub(in crate::store) const AUTH: i32 = 5;
    /// The directory of certificates.
    pub(in crate::store) const CERTS: i32 = 6;
    /// The lock of the store.
    pub(in crate::store) const LOCK: i32 = 7;
}

/// The path under which a child reaches one of its descriptors.
pub(super) fn fd_path(number: i32) -> String {
    format!("/proc/self/fd/{number}")
}

/// What decides over the command line of a pull.
#[derive(Debug)]
pub(super) struct PullArgs<'a> {
    pub(super) reference: &'a str,
    pub(super) platform: &'a Platform,
    pub(super) tls_verify: Option<TlsVerify>,
    pub(super) has_cert_dir: bool,
    /// podman ≥ 5.0 can be told to leave repeated tries to us.
    pub(super) can_disable_retries: bool,
}

/// `podman image pull`; prints the image's ID alone.
pub(super) fn pull(args: &PullArgs<'_>) -> Vec<String> {
    let mut argv = on_store(&["image", "pull", "--quiet"]);
    argv.extend(["--authfile".to_owned(), fd_path(fd::AUTH)]);
    if args.has_cert_dir {
        argv.extend(["--cert-dir".to_owned(), fd_path(fd::CERTS)]);
    }
    match args.tls_verify {
        Some(TlsVerify::Required) => argv.push("--tls-verify=true".to_owned()),
        Some(TlsVerify::Skipped) => argv.push("--tls-verify=false".to_owned()),
        None => {}
    }
    if args.can_disable_retries {
        argv.push("--retry=0".to_owned());
    }
    let platform = args.platform;
    for (option, value) in [
        ("--arch", &platform.arch),
        ("--os", &platform.os),
        ("--variant", &platform.variant),
    ] {
        if let Some(value) = value {
            argv.extend([option.to_owned(), value.clone()]);
        }
    }
    argv.extend(["--".to_owned(), args.reference.to_owned()]);
    argv
}

/// Removes images with all of their names. By ID: a name could mean another image by now.
///
/// Without `--no-prune` podman would also take a nameless image that only these stood on, though
/// it may be needed by its digest.
pub(super) fn remove_images(ids: &[ImageId]) -> Vec<String> {
    let mut argv = on_store(&["image", "rm", "--force", "--no-prune", "--"]);
    argv.extend(ids.iter().map(ToString::to_string));
    argv
}

/// Tags an image. podman refuses names with a digest here.
pub(super) fn add_name(id: &ImageId, name: &str) -> Vec<String> {
    on_store(&["image", "tag", "--", id.as_str(), name])
}

/// Removes one of several names of an image. `untag NAME` would remove all of them.
pub(super) fn remove_name(name: &str) -> Vec<String> {
    on_store(&["image", "rm", "--", name])
}

/// `skopeo copy` of a layout in the private TMPDIR into the store, as an image without a name.
///
/// No policy applies: nothing is fetched, and the image is removed at once.
pub(super) fn adopt(layout: &str, id: &ImageId) -> Vec<String> {
    let source = format!("oci:{}/{layout}", fd_path(fd::TMPDIR));
    let store = format!("overlay@{STORE_ALIAS}+{}", fd_path(fd::RUNROOT));
    let destination = format!("containers-storage:[{store}]@{id}");
    [
        "--insecure-policy",
        "copy",
        "--quiet",
        "--",
        &source,
        &destination,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Any command that opens the store makes podman lay it out.
pub(super) fn initialise() -> Vec<String> {
    on_store(&["image", "list", "--quiet"])
}

fn on_store(command: &[&str]) -> Vec<String> {
    let runroot = fd_path(fd::RUNROOT);
    ["--root", STORE_ALIAS, "--runroot", &runroot]
        .iter()
        .chain(command)
        .map(|argument| (*argument).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "--root /run/bootc/storage --runroot /proc/self/fd/3";

    #[test]
    fn a_pull_says_all_that_its_declaration_asks_for() {
        let platform = Platform {
            arch: Some("arm64".into()),
            os: Some("linux".into()),
            variant: Some("v8".into()),
        };
        let plain = PullArgs {
            reference: "r.io/a:1",
            platform: &Platform::default(),
            tls_verify: None,
            has_cert_dir: false,
            can_disable_retries: false,
        };
        let full = PullArgs {
            platform: &platform,
            tls_verify: Some(TlsVerify::Skipped),
            has_cert_dir: true,
            can_disable_retries: true,
            ..plain
        };
        for (args, want) in [
            (
                &plain,
                "image pull --quiet --authfile /proc/self/fd/5 -- r.io/a:1",
            ),
            (
                &full,
                "image pull --quiet --authfile /proc/self/fd/5 --cert-dir /proc/self/fd/6 \
                 --tls-verify=false --retry=0 --arch arm64 --os linux --variant v8 -- r.io/a:1",
            ),
        ] {
            assert_eq!(pull(args).join(" "), format!("{PREFIX} {want}"));
        }
    }

    #[test]
    fn images_go_by_id_and_names_one_by_one() {
        let id: ImageId = "ab".repeat(32).parse().unwrap();
        let removal = remove_images(std::slice::from_ref(&id)).join(" ");
        assert_eq!(
            removal,
            format!("{PREFIX} image rm --force --no-prune -- {id}")
        );
        assert_eq!(
            remove_name("r.io/a:1").join(" "),
            format!("{PREFIX} image rm -- r.io/a:1")
        );
        assert_eq!(
            add_name(&id, "r.io/a:1").join(" "),
            format!("{PREFIX} image tag -- {id} r.io/a:1")
        );
    }
}
