//! What podman's error texts mean. podman exits with 125 for all of them.
//!
//! The texts were measured on podman 4.3 and 5.4 against a registry that fails on purpose.

use crate::model::{Fault, FaultKind};

/// Whether the same call may go better a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Worthwhile,
    /// It will not.
    Pointless,
}

/// A failure of podman, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodmanFault {
    /// What to tell the operator.
    pub fault: Fault,
    /// Whether to try again.
    pub retry: Retry,
}

/// Phrases in lower case, to be found as whole words; the first row that has one of its phrases in the text decides.
const MEANINGS: [(FaultKind, Retry, &[&str]); 8] = [
    (
        FaultKind::Space,
        Retry::Pointless,
        &["no space left on device", "disk quota exceeded"],
    ),
    // A certificate does not become valid by asking again.
    (
        FaultKind::Registry,
        Retry::Pointless,
        &[
            "x509:",
            "does not look like a tls handshake",
            "gave http response to https client",
        ],
    ),
    (
        FaultKind::Integrity,
        Retry::Pointless,
        &[
            "digest did not match",
            "does not match provided manifest digest",
            "does not match expected",
            "does not match config's diffid",
            "corrupt input",
            "gzip: invalid",
            "file integrity checksum failed",
            "rejected by policy",
            "source image rejected",
            "a signature was required, but no signature exists",
            "cryptographic signature verification failed",
            "invalid gpg signature",
        ],
    ),
    (
        FaultKind::Prerequisite,
        Retry::Pointless,
        &[
            "policy.json",
            "could not find \"netavark\"",
            "operation not permitted",
        ],
    ),
    (
        FaultKind::Auth,
        Retry::Pointless,
        &[
            "unauthorized",
            "authentication required",
            "unable to retrieve auth token",
            // The auth file's login cannot be decoded.
            "getting username and password",
            "statuscode: 401",
            "statuscode: 403",
            "code from registry 401",
            "code from registry 403",
            "status: 401",
            "status: 403",
            // As registries say it; a local text has the word in other company.
            "denied:",
            "resource is denied",
            "access denied",
        ],
    ),
    (
        FaultKind::NotFound,
        Retry::Pointless,
        &[
            "manifest unknown",
            "name unknown",
            "blob unknown",
            "statuscode: 404",
            "code from registry 404",
            "status: 404",
            "no image found in",
        ],
    ),
    (
        FaultKind::Registry,
        Retry::Worthwhile,
        &[
            "toomanyrequests",
            "too many requests",
            "statuscode: 429",
            "statuscode: 5",
            "status: 429",
            "status: 5",
            "code from registry 429",
            "code from registry 5",
            "connection refused",
            "connection reset",
            "broken pipe",
            "no such host",
            "temporary failure in name resolution",
            "server misbehaving",
            "timeout",
            "connection timed out",
            "context deadline exceeded",
            "request canceled",
            "stream error",
            "internal_error",
            "goaway",
            "http2:",
            "network is unreachable",
            "no route to host",
            "eof",
            // A captive portal answers in HTML.
            "invalid character '<'",
        ],
    ),
    (FaultKind::Other, Retry::Pointless, &[""]),
];

/// Texts that mean: podman's own database does not fit; images are not concerned.
const DATABASE_TEXTS: [&str; 3] = [
    "database configuration mismatch",
    "invalid database",
    "file is not a database",
];

/// Makes sense of what a failed podman wrote to stderr; `image` is the name it was given, if any.
pub(super) fn classify(stderr: &str, image: &str) -> PodmanFault {
    let text = without_queries(&last_error(stderr));
    let searched = searchable(&text, image);
    let (kind, retry) = MEANINGS
        .iter()
        .find(|(_, _, phrases)| phrases.iter().any(|phrase| has_phrase(&searched, phrase)))
        .map_or((FaultKind::Other, Retry::Pointless), |(kind, retry, _)| {
            (*kind, *retry)
        });
    PodmanFault {
        fault: Fault::new(kind, text),
        retry,
    }
}

/// The text without the query strings of its URLs.
///
/// A registry sends clients on to URLs that carry a login for everyone who knows them.
pub(super) fn without_queries(text: &str) -> String {
    map_urls(text, |url| match url.split_once('?') {
        Some((path, _)) => path,
        None => url,
    })
}

/// The text in lower case, without what it says in somebody else's words: a name of an image, a
/// host or a path means nothing, whatever words it is made of.
fn searchable(text: &str, image: &str) -> String {
    let mut searched = map_urls(text, |_| "");
    for spelling in spellings(image) {
        searched = searched.replace(spelling, "");
    }
    // A local "permission denied" is no registry's refusal.
    searched.to_lowercase().replace("permission denied", "")
}

/// How podman's messages spell an image's name, longest first.
///
/// A spelling of one plain word is left out: it may be a word of the message.
fn spellings(image: &str) -> Vec<&str> {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    let repository = match tagged.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    };
    let (host, path) = repository.split_once('/').unwrap_or(("", repository));
    let host_without_port = host.split_once(':').map_or(host, |(host, _)| host);
    let mut spellings = vec![image, tagged, repository, host, path, host_without_port];
    spellings.retain(|spelling| spelling.contains(['/', ':', '.']));
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings
}

/// Puts something in the place of each URL, up to a blank, a quote or a backslash before a quote.
fn map_urls(text: &str, change: impl Fn(&str) -> &str) -> String {
    let mut mapped = String::new();
    let mut rest = text;
    while let Some(separator) = rest.find("://") {
        let before = rest[..separator].trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        let start = before.len();
        let ends_url = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\');
        let end = rest[start..]
            .find(ends_url)
            .map_or(rest.len(), |length| start + length);
        mapped.push_str(before);
        mapped.push_str(change(&rest[start..end]));
        rest = &rest[end..];
    }
    mapped.push_str(rest);
    mapped
}

/// Whether the phrase is there, not as a part of longer words. A number may go on.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphabetic() || matches!(c, '-' | '_');
    text.match_indices(phrase).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + phrase.len()..]);
        let joins_before = before.ends_with(is_word) && phrase.starts_with(is_word);
        let joins_after = after.starts_with(is_word) && phrase.ends_with(is_word);
        !joins_before && !joins_after
    })
}

/// Whether podman's database must be made anew.
pub(super) fn blames_database(stderr: &str) -> bool {
    let text = last_error(stderr);
    DATABASE_TEXTS.iter().any(|phrase| text.contains(phrase))
}

/// The text from the last line on that starts with `Error:`, in one line; warnings may come
/// before it. A registry's answer may have the word within a line.
fn last_error(stderr: &str) -> String {
    const START: &str = "Error: ";
    let text = match stderr.rfind(&format!("\n{START}")) {
        Some(line_end) => &stderr[line_end + 1 + START.len()..],
        None => stderr.strip_prefix(START).unwrap_or(stderr),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => "podman failed without a message".to_owned(),
        false => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultKind::{Auth, Integrity, NotFound, Other, Prerequisite, Registry, Space};
    use Retry::{Pointless, Worthwhile};

    /// Texts as podman 4.3 and 5.4 print them, by what they mean.
    const MEASURED: [(FaultKind, Retry, &[&str]); 8] = [
        (
            Auth,
            Pointless,
            &[
                "reading manifest 1 in h/a: unauthorized: authentication required",
                "unable to retrieve auth token: invalid username/password: unauthorized",
                "getting username and password: illegal base64 data at input byte 6",
                "reading manifest: denied: requested access to the resource is denied",
                "reading manifest: StatusCode: 403, nope",
                "reading blob: invalid status code from registry 401 (Unauthorized)",
            ],
        ),
        (
            NotFound,
            Pointless,
            &[
                "reading manifest v9 in h/a: manifest unknown: manifest unknown",
                "reading manifest v9: name unknown: repository name not known to registry",
                "StatusCode: 404, 404 page not found",
                "invalid status code from registry 404 (Not Found)",
                "fetching blob: blob unknown: blob unknown to registry",
                "no image found in image index for architecture \"arm64\"",
            ],
        ),
        (
            Registry,
            Worthwhile,
            &[
                "toomanyrequests: slow down",
                "pinging container registry h: StatusCode: 429, \"\"",
                "received unexpected HTTP status: 503 Service Unavailable",
                "pinging container registry h: invalid status code from registry 503",
                "dial tcp 127.0.0.1:1: connect: connection refused",
                "Get \"https://h/v2/\": EOF",
                "happened during read: unexpected EOF",
                "lookup h: no such host",
                "net/http: TLS handshake timeout",
                "invalid character '<' looking for beginning of value",
                "dial tcp 10.0.0.1:443: connect: connection timed out",
                "reading blob: context deadline exceeded",
                "stream error: stream ID 1; INTERNAL_ERROR; received from peer",
                "server sent GOAWAY and closed the connection",
                "http2: client connection lost",
                "net/http: request canceled while waiting for connection",
            ],
        ),
        (
            Registry,
            Pointless,
            &[
                "tls: failed to verify certificate: x509: signed by unknown authority",
                "x509: invalid signature: parent certificate cannot sign this kind of certificate",
                "x509: certificate signed by unknown authority (cryptographic signature \
                 verification failed)",
                "tls: first record does not look like a TLS handshake",
                "http: server gave HTTP response to HTTPS client",
            ],
        ),
        (
            Integrity,
            Pointless,
            &[
                "Digest did not match, expected sha256:1, got sha256:2",
                "manifest does not match provided manifest digest sha256:1",
                "flate: corrupt input before offset 5",
                "Source image rejected: Running image docker://h/a is rejected by policy.",
                "Source image rejected: A signature was required, but no signature exists",
                "Source image rejected: Invalid GPG signature: gpgme.Signature{}",
            ],
        ),
        (
            Space,
            Pointless,
            &["writing blob: write /data/b3: no space left on device"],
        ),
        (
            Prerequisite,
            Pointless,
            &["open /etc/containers/policy.json: no such file or directory"],
        ),
        (
            Other,
            Pointless,
            &[
                "open /x: permission denied",
                "the layer typeof-x and its signature are odd",
                "something else",
                "",
            ],
        ),
    ];

    #[test]
    fn every_measured_text_is_understood() {
        for (kind, retry, texts) in MEASURED {
            for text in texts {
                let understood = classify(&format!("Error: {text}"), "");
                let meaning = (understood.fault.kind, understood.retry);
                assert_eq!(meaning, (kind, retry), "{text}");
            }
        }
    }

    #[test]
    fn only_the_last_error_counts_and_becomes_one_line() {
        let stderr = "time=\"x\" level=warning msg=\"unauthorized\"\nError: 1: EOF\n\
                      Error: initializing source docker://h/a:1:\n  reading manifest:\n  manifest unknown\n";
        let understood = classify(stderr, "");
        assert_eq!(understood.fault.kind, NotFound);
        assert_eq!(
            understood.fault.message,
            "initializing source docker://h/a:1: reading manifest: manifest unknown"
        );
        assert_eq!(
            classify(" \n", "").fault.message,
            "podman failed without a message"
        );
    }

    #[test]
    fn a_database_that_does_not_fit_is_noticed() {
        assert!(blames_database(
            "Error: database run root does not match: database configuration mismatch"
        ));
        assert!(!blames_database("Error: no space left on device"));
    }

    #[test]
    fn names_and_addresses_mean_nothing() {
        let refused = "dial tcp 127.0.0.1:1: connect: connection refused";
        for image in [
            "127.0.0.1:1/signature-service:1",
            "127.0.0.1:1/x509/unauthorized:denied",
            "unauthorized.example:1/eof/denied@sha256:1",
            "registry:1/manifest/unknown:unauthorized",
        ] {
            let stderr = format!(
                "Error: initializing source docker://{image}: reading manifest in {image}: \
                 Get \"http://127.0.0.1:1/v2/unauthorized/denied:/\": {refused}"
            );
            let understood = classify(&stderr, image);
            let meaning = (understood.fault.kind, understood.retry);
            assert_eq!(meaning, (Registry, Worthwhile), "{image}");
            assert!(understood.fault.message.contains(image));
        }
        // A name of plain words takes no words of the message away.
        let unknown = "Error: reading manifest 1 in r:1/manifest: manifest unknown";
        assert_eq!(classify(unknown, "r:1/manifest:1").fault.kind, NotFound);
        let status = "Error: invalid status code from registry 404 (Not Found)";
        assert_eq!(classify(status, "registry:1/a:1").fault.kind, NotFound);
    }

    #[test]
    fn query_strings_are_neither_shown_nor_searched() {
        let stderr = "Error: reading blob: Get \"https://s3/b?X-Amz-Signature=s3cr3t&m=denied: \
                      x\": EOF, then https://s3/c?sig=s3cr3t again";
        let understood = classify(&stderr.replace(": x", ":x"), "h/a:1");
        assert_eq!(understood.fault.kind, Registry);
        assert_eq!(
            understood.fault.message,
            "reading blob: Get \"https://s3/b\": EOF, then https://s3/c again"
        );
        assert_eq!(
            without_queries(r#"msg="Get \"https://a?b\"""#),
            r#"msg="Get \"https://a\"""#
        );
    }

    #[test]
    fn an_error_within_a_line_is_no_beginning() {
        let stderr = "time=\"x\" level=warning\nError: HTTP status: 503 Error: manifest unknown";
        let understood = classify(&stderr.replace("manifest unknown", "x"), "");
        assert_eq!(understood.fault.message, "HTTP status: 503 Error: x");
        assert_eq!(understood.fault.kind, Registry);
    }
}
