//! Makes one bound image of all declarations of the same image.

use camino::Utf8PathBuf;

use crate::model::{
    BoundImage, Declaration, DeclarationFault, ImageName, Platform, Position, PullOptions,
};

/// A declaration together with the options that it asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) name: ImageName,
    pub(super) options: PullOptions,
    pub(super) declaration: Declaration,
}

/// Groups requests by canonical name, in the order of their first declaration.
///
/// An option that only one of them sets holds for all; two that set it differently are a
/// fault, since the store keeps one image under one name.
pub(super) fn merge(requests: Vec<Request>) -> (Vec<BoundImage>, Vec<DeclarationFault>) {
    let mut images: Vec<BoundImage> = Vec::new();
    let mut faults = Vec::new();
    let mut earlier: Vec<Request> = Vec::new();
    for request in requests {
        let Some(image) = images.iter_mut().find(|image| image.name == request.name) else {
            images.push(BoundImage {
                name: request.name.clone(),
                options: request.options.clone(),
                declarations: vec![request.declaration.clone()],
            });
            earlier.push(request);
            continue;
        };
        image.declarations.push(request.declaration.clone());
        match combined(&image.options, &request.options) {
            Ok(options) => image.options = options,
            Err(_) => faults.extend(first_conflict(&earlier, &request)),
        }
        earlier.push(request);
    }
    (images, faults)
}

/// The fault that names the first of the earlier declarations that contradicts this one.
fn first_conflict(earlier: &[Request], request: &Request) -> Option<DeclarationFault> {
    let of_same_image = earlier.iter().filter(|other| other.name == request.name);
    of_same_image
        .filter_map(|other| Some((combined(&other.options, &request.options).err()?, other)))
        .map(|(key, other)| {
            let (position, other) = (&request.declaration.position, &other.declaration.position);
            conflict(key, position, other)
        })
        .next()
}

fn combined(first: &PullOptions, second: &PullOptions) -> Result<PullOptions, &'static str> {
    let auth_path = |options: &PullOptions| -> Option<Utf8PathBuf> {
        Some(options.auth_file.as_ref()?.path.clone())
    };
    either("AuthFile", auth_path(first), auth_path(second))?;
    Ok(PullOptions {
        auth_file: first.auth_file.clone().or_else(|| second.auth_file.clone()),
        cert_dir: either("CertDir", first.cert_dir.clone(), second.cert_dir.clone())?,
        tls_verify: either("TLSVerify", first.tls_verify, second.tls_verify)?,
        platform: combined_platform(&first.platform, &second.platform)?,
    })
}

/// Unlike the other keys, no platform is a wish too: that of the host.
fn combined_platform(first: &Platform, second: &Platform) -> Result<Platform, &'static str> {
    if first == second {
        Ok(first.clone())
    } else {
        Err("Arch=, OS= or Variant")
    }
}

fn either<T: PartialEq>(
    key: &'static str,
    first: Option<T>,
    second: Option<T>,
) -> Result<Option<T>, &'static str> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => Err(key),
        (first, second) => Ok(first.or(second)),
    }
}

fn conflict(key: &str, position: &Position, earlier: &Position) -> DeclarationFault {
    DeclarationFault {
        link: position.link.clone(),
        file: Some(position.file.clone()),
        line: Some(position.line),
        problem: format!(
            "the same image is declared with another {key}= by {earlier}; \
             one name holds one image, so both must agree"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TlsVerify;

    fn request(link: &str, raw: &str, options: PullOptions) -> Request {
        Request {
            name: ImageName::parse(raw).unwrap(),
            options,
            declaration: Declaration {
                position: Position {
                    link: link.into(),
                    file: "/usr/q".into(),
                    line: 2,
                },
                raw: raw.into(),
            },
        }
    }

    fn tls(tls_verify: TlsVerify) -> PullOptions {
        PullOptions {
            tls_verify: Some(tls_verify),
            ..PullOptions::default()
        }
    }

    #[test]
    fn one_image_under_several_spellings_is_one() {
        let (images, faults) = merge(vec![
            request("a", "r.io/a", PullOptions::default()),
            request("b", "r.io/b", PullOptions::default()),
            request("c", "docker://r.io/a:latest", tls(TlsVerify::Skipped)),
        ]);
        assert_eq!(faults, []);
        assert_eq!(images.len(), 2);
        assert_eq!(images[0].raw(), "r.io/a");
        assert_eq!(images[0].declarations.len(), 2);
        assert_eq!(images[0].options, tls(TlsVerify::Skipped));
    }

    #[test]
    fn a_conflict_names_the_declaration_that_set_the_option() {
        let (_, faults) = merge(vec![
            request("a", "r.io/a", PullOptions::default()),
            request("b", "r.io/a", tls(TlsVerify::Skipped)),
            request("c", "r.io/a", tls(TlsVerify::Required)),
        ]);
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].problem.contains("bound-images.d/b -> /usr/q:2"),
            "{}",
            faults[0]
        );
    }

    #[test]
    fn contradicting_options_are_named() {
        let arm = PullOptions {
            platform: Platform {
                arch: Some("arm64".into()),
                ..Platform::default()
            },
            ..PullOptions::default()
        };
        for (first, second, key) in [
            (
                tls(TlsVerify::Skipped),
                tls(TlsVerify::Required),
                "TLSVerify=",
            ),
            (PullOptions::default(), arm, "Arch=, OS= or Variant="),
        ] {
            let (_, faults) = merge(vec![
                request("a", "r.io/a", first),
                request("b", "r.io/a", second),
            ]);
            assert_eq!(faults.len(), 1);
            assert!(faults[0].problem.contains(key), "{}", faults[0]);
            assert!(
                faults[0].problem.contains("bound-images.d/a -> /usr/q:2"),
                "{}",
                faults[0]
            );
        }
    }
}
