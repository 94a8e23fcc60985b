//! The golden roots: `tests-integration/roots/NN-name/root` is a tree, and what `check` says of it lies beside it.
//!
//! A valid root has `expected.json`, all of stdout; `expected.err` is all of stderr, of which a valid root may have
//! none. A root with `expected.err` alone is invalid: exit code 10 and nothing on stdout. `ROOT` stands for the
//! root's path. With `BLESS=1` in the environment the files are written anew; look at the difference before you
//! commit it. What git cannot hold is in `declarations.rs`.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use tests_integration::TestHost;

const JSON: &str = "expected.json";
const ERR: &str = "expected.err";

/// What `check` says: the texts that a golden directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Golden {
    json: Option<String>,
    err: Option<String>,
}

impl Golden {
    fn stored_in(directory: &Utf8Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
        Self {
            json: read(JSON),
            err: read(ERR),
        }
    }

    /// Runs `check`. Fails on any exit code but 0 and 10, and on output that does not belong to it.
    fn produced_by(host: &TestHost, directory: &Utf8Path) -> Result<Self, String> {
        let root = directory.join("root");
        let outcome = host.bound_images(&["check", "--json", "--root", root.as_str()]);
        let text = |output: String| Some(output.replace(root.as_str(), "ROOT"));
        let err = text(outcome.stderr()).filter(|text| !text.is_empty());
        match (outcome.exit_code_optional(), outcome.stdout().is_empty()) {
            (Some(0), false) => Ok(Self {
                json: text(outcome.stdout()),
                err,
            }),
            (Some(10), true) => Ok(Self { json: None, err }),
            _ => Err(format!("{directory}: neither valid nor invalid: {outcome}")),
        }
    }

    fn store_in(&self, directory: &Utf8Path) {
        for (name, text) in [(JSON, &self.json), (ERR, &self.err)] {
            let file = directory.join(name);
            let _ = std::fs::remove_file(&file);
            if let Some(text) = text {
                std::fs::write(&file, text)
                    .unwrap_or_else(|error| panic!("writing {file}: {error}"));
            }
        }
    }
}

#[test]
fn privileged_check_says_of_every_golden_root_what_lies_beside_it() {
    let is_blessing = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let host = TestHost::new();
    let mut problems = Vec::new();
    for directory in golden_directories() {
        let produced = match Golden::produced_by(&host, &directory) {
            Ok(produced) => produced,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if is_blessing {
            produced.store_in(&directory);
            continue;
        }
        let stored = Golden::stored_in(&directory);
        let name = directory.file_name().unwrap_or_default();
        problems.extend(difference(name, JSON, &stored.json, &produced.json));
        problems.extend(difference(name, ERR, &stored.err, &produced.err));
    }
    assert!(
        problems.is_empty(),
        "{}\n(BLESS=1 writes the files anew)",
        problems.join("\n")
    );
}

/// Each directory is numbered for good and has all of its parts; a typing error must not take a root out of the test.
#[test]
fn privileged_no_golden_root_is_forgotten() {
    let directories = golden_directories();
    assert!(directories.len() >= 30, "{directories:?}");
    let mut numbers = BTreeSet::new();
    for directory in directories {
        let name = directory.file_name().unwrap_or_default();
        let number = name
            .split_once('-')
            .and_then(|(number, rest)| (!rest.is_empty()).then_some(number))
            .filter(|number| number.len() == 2)
            .and_then(|number| number.parse::<u8>().ok())
            .unwrap_or_else(|| panic!("{directory} is not called NN-name"));
        assert!(numbers.insert(number), "{number} is used twice");
        assert!(
            directory.join("root/usr").is_dir(),
            "{directory} has no root"
        );
        let parts: BTreeSet<String> = entries(&directory)
            .iter()
            .filter_map(|entry| Some(entry.file_name()?.to_owned()))
            .collect();
        assert!(
            parts.contains(JSON) || parts.contains(ERR),
            "{directory} expects nothing"
        );
        let known = |part: &String| [JSON, ERR, "root"].contains(&part.as_str());
        assert!(parts.iter().all(known), "{directory}: {parts:?}");
    }
}

/// Numbers below 30 are of valid roots, the others of invalid ones, so that blessing cannot turn one into the other.
#[test]
fn privileged_golden_roots_are_valid_by_their_number() {
    for directory in golden_directories() {
        let is_valid = Golden::stored_in(&directory).json.is_some();
        let name = directory.file_name().unwrap_or_default();
        assert_eq!(is_valid, name < "30", "{directory}");
    }
}

fn golden_directories() -> Vec<Utf8PathBuf> {
    let roots = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("roots");
    let mut directories = entries(&roots);
    directories.retain(|path| path.is_dir());
    directories
}

fn entries(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = directory
        .read_dir_utf8()
        .unwrap_or_else(|error| panic!("listing {directory}: {error}"));
    let mut paths: Vec<Utf8PathBuf> = entries
        .map(|entry| entry.expect("reading a directory").into_path())
        .collect();
    paths.sort();
    paths
}

/// The lines that only one side has, in their order; none when both are equal.
fn difference(
    root: &str,
    file: &str,
    stored: &Option<String>,
    produced: &Option<String>,
) -> Option<String> {
    if stored == produced {
        return None;
    }
    let lines = |text: &Option<String>| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect()
    };
    let (stored, produced) = (lines(stored), lines(produced));
    let only_in = |mark: char, these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|line| !those.contains(line))
            .map(|line| format!("{mark} {line}"))
            .collect()
    };
    let mut report = vec![format!("{root}/{file} (- expected, + produced)")];
    report.extend(only_in('-', &stored, &produced));
    report.extend(only_in('+', &produced, &stored));
    if report.len() == 1 {
        report.push("the same lines in another order or number, or no such file".to_owned());
        report.extend(produced);
    }
    Some(report.join("\n"))
}
