//! The rules of the tree, enforced: which room may use which, file sizes, where unsafe code is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms and the rooms that each may use. `model` is at the bottom, `ops` at the top.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("root", &[]),
    ("child", &[]),
    ("declare", &["model", "root"]),
    ("auth", &["model", "root"]),
    ("plan", &["model"]),
    ("transfer", &["child", "model"]),
    ("record", &["model"]),
    ("store", &["child", "model", "root", "transfer"]),
    ("resolve", &["child", "model", "transfer"]),
    ("sysroot", &["child", "model", "root", "transfer"]),
    ("report", &["model", "plan"]),
    (
        "ops",
        &[
            "auth", "child", "declare", "model", "plan", "record", "resolve", "root", "store",
            "sysroot", "transfer",
        ],
    ),
];

/// Lines of a file without its tests.
const MAX_LINES: usize = 400;

#[test]
fn rooms_use_only_what_lies_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let mut problems = Vec::new();
    for file in sources("src") {
        let Some(room) = room(&file.path) else {
            continue;
        };
        let Some(below) = allowed.get(room.as_str()) else {
            problems.push(format!(
                "{}: room {room} is in no rule",
                file.path.display()
            ));
            continue;
        };
        for used in used_rooms(file.without_tests()) {
            if used != room && !below.contains(&used.as_str()) {
                problems.push(format!("{}: {room} uses {used}", file.path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_file_says_what_it_owns_and_stays_small() {
    let mut problems = Vec::new();
    for file in all_sources() {
        if !file.text.starts_with("//! ") {
            problems.push(format!("{} has no //! opening", file.path.display()));
        }
        let lines = file.without_tests().lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{} has {lines} lines", file.path.display()));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn unsafe_code_and_printing_are_where_they_belong() {
    let mut problems = Vec::new();
    for file in all_sources() {
        let code = file.without_tests();
        if code.contains("unsafe {") && !file.path.ends_with("store/namespace.rs") {
            problems.push(format!("{} has unsafe code", file.path.display()));
        }
        let in_library = file.path.starts_with("src");
        if in_library
            && ["println!(", "print!(", "dbg!("]
                .iter()
                .any(|macro_name| code.contains(macro_name))
        {
            problems.push(format!("{} prints", file.path.display()));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn foreign_types_stop_at_their_door() {
    let mut problems = Vec::new();
    for file in sources("src") {
        let code = file.without_tests();
        for (word, doors) in [
            ("oci_spec::", &["src/model/image_name.rs"][..]),
            ("ostree_ext::", &["src/sysroot/"]),
            ("containers_image_proxy::", &["src/resolve/"]),
            ("composefs_storage::", &["src/store/deep.rs"]),
            ("toml::", &["src/store/main_store.rs"]),
            ("rustix::mount", &["src/store/namespace.rs"]),
            ("std::fs::read", &["src/child/stall.rs"]),
        ] {
            let is_door = doors.iter().any(|door| file.path.starts_with(door));
            if code.contains(word) && !is_door {
                problems.push(format!("{} uses {word}", file.path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn without_tests(&self) -> &str {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        &self.text[..end]
    }
}

fn all_sources() -> Vec<Source> {
    let directories = [
        "src",
        "../cli/src",
        "../tests-integration/fixture",
        "../tests-integration/cases",
    ];
    let found = directories.map(sources);
    for (directory, files) in directories.iter().zip(&found) {
        assert!(!files.is_empty(), "{directory} has no sources");
    }
    found.into_iter().flatten().collect()
}

/// Every Rust file below a directory; tests run in the directory of their package.
fn sources(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).expect(directory);
    for entry in entries {
        let path = entry.expect(directory).path();
        let path_text = path.to_str().expect("paths are UTF-8");
        if path.is_dir() {
            found.extend(sources(path_text));
        } else if path_text.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).expect(path_text);
            found.push(Source { path, text });
        }
    }
    found
}

/// `src/store/podman.rs` and `src/auth.rs` are in the rooms `store` and `auth`; `lib.rs` in none.
fn room(path: &Path) -> Option<String> {
    let below = path.strip_prefix("src").ok()?.iter().next()?.to_str()?;
    match below.strip_suffix(".rs").unwrap_or(below) {
        "lib" => None,
        room => Some(room.to_owned()),
    }
}

fn used_rooms(code: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines()
        .filter(is_code)
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}
