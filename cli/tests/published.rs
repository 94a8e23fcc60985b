//! What is published of the command: JSON Schemas in `docs/schema/`, man pages in `docs/man/`.
//!
//! Both are made from the code and committed. A test fails when a file differs from what the code says, is missing, or
//! is left over; `BLESS=1 cargo test -p bound-images --test published` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bound_images::args::Args;
use bound_images::exit;
use bound_images_lib::report::{
    BoundImageList, CheckReport, PruneReport, PullPlanReport, PullReport,
};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

/// Files by name.
type Files = BTreeMap<String, String>;

#[test]
fn the_schemas_are_those_of_the_documents() {
    compare_or_bless("schema", &schemas());
}

#[test]
fn the_man_pages_say_what_the_help_says() {
    compare_or_bless("man", &man_pages());
}

#[test]
fn every_field_is_promised_and_null_is_allowed_only_where_it_occurs() {
    let list: serde_json::Value =
        serde_json::from_str(&schemas()["BoundImageList.json"]).expect("a schema is JSON");
    assert_eq!(list["title"], "BoundImageList");
    assert_eq!(list["properties"]["apiVersion"]["const"], "bound-images/v1");
    assert_eq!(list["properties"]["kind"]["const"], "BoundImageList");
    let item = &list["$defs"]["BoundImageItem"];
    let properties = item["properties"].as_object().expect("properties");
    let required: BTreeSet<&str> = item["required"]
        .as_array()
        .expect("required fields")
        .iter()
        .filter_map(serde_json::Value::as_str)
        .collect();
    assert_eq!(required, properties.keys().map(String::as_str).collect());
    for (field, nullable) in [("digest", true), ("sizeBytes", true), ("name", false)] {
        let types = &properties[field]["type"];
        let is_nullable = types
            .as_array()
            .is_some_and(|types| types.contains(&"null".into()));
        assert_eq!(is_nullable, nullable, "{field}: {types}");
    }
    assert!(
        item.get("additionalProperties").is_none(),
        "fields may be added"
    );
}

fn schemas() -> Files {
    fn schema<T: JsonSchema>(kind: &str) -> (String, String) {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
        text.push('\n');
        (format!("{kind}.json"), text)
    }
    [
        schema::<BoundImageList>("BoundImageList"),
        schema::<CheckReport>("CheckReport"),
        schema::<PruneReport>("PruneReport"),
        schema::<PullPlanReport>("PullPlan"),
        schema::<PullReport>("PullReport"),
    ]
    .into()
}

fn man_pages() -> Files {
    let mut command = Args::command();
    command.build();
    let verbs = command.get_subcommands();
    let verbs = verbs.filter(|verb| verb.get_name() != "help").cloned();
    let verbs: Vec<Command> = verbs.collect();
    let others = |verb: &Command| {
        let mut pages = vec!["bound-images".to_owned()];
        let names = verbs
            .iter()
            .filter(|other| other.get_name() != verb.get_name());
        pages.extend(names.map(page_name));
        pages
    };
    let mut pages = Files::from([(
        format!("{}.1", page_name(&command)),
        man_page(&command, &verbs.iter().map(page_name).collect::<Vec<_>>()),
    )]);
    for verb in &verbs {
        let page = man_page(verb, &others(verb));
        pages.insert(format!("{}.1", page_name(verb)), page);
    }
    pages
}

fn page_name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or(command.get_name()).to_owned()
}

fn man_page(command: &Command, see_also: &[String]) -> String {
    // The version is in the title line of every page, and the codes have a section of their own.
    let command = command
        .clone()
        .version(env!("CARGO_PKG_VERSION"))
        .after_long_help("");
    let has_verbs = command
        .get_subcommands()
        .any(|verb| verb.get_name() != "help");
    let man = Man::new(command).source(concat!("bound-images ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    let mut render = |part: fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>| {
        part(&man, &mut page).expect("writing to memory");
    };
    render(Man::render_title);
    render(Man::render_name_section);
    render(Man::render_synopsis_section);
    render(Man::render_description_section);
    render(Man::render_options_section);
    if has_verbs {
        render(Man::render_subcommands_section);
    }
    let mut page = String::from_utf8(page).expect("a man page is UTF-8");
    page.push_str(".SH \"EXIT STATUS\"\n.nf\n");
    for line in exit::HELP.lines().skip(1) {
        page.push_str(&line.replace('\\', "\\\\").replace('-', "\\-"));
        page.push('\n');
    }
    page.push_str(".fi\n.SH \"SEE ALSO\"\n");
    let references = see_also.iter().map(String::as_str);
    let references = references.chain(["podman", "podman-systemd.unit"]);
    let references: Vec<String> = references
        .map(|name| {
            let section = if name == "podman-systemd.unit" { 5 } else { 1 };
            format!("\\fB{}\\fR({section})", name.replace('-', "\\-"))
        })
        .collect();
    page.push_str(&references.join(", "));
    page.push('\n');
    page
}

/// Compares the files of `docs/DIRECTORY` with those expected, or writes them with `BLESS=1`.
fn compare_or_bless(directory: &str, expected: &Files) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(directory);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        bless(&directory, expected);
        return;
    }
    let found = read_files(&directory);
    let mut problems = Vec::new();
    for (name, text) in expected {
        match found.get(name) {
            None => problems.push(format!("{name} is missing")),
            Some(committed) if committed != text => {
                problems.push(difference(name, committed, text))
            }
            Some(_) => {}
        }
    }
    let left_over = found.keys().filter(|name| !expected.contains_key(*name));
    problems.extend(left_over.map(|name| format!("{name} is left over: nothing makes it")));
    assert!(
        problems.is_empty(),
        "{} differs from the code:\n  {}\nIf that is meant, write it anew and commit it:\n  \
         BLESS=1 cargo test -p bound-images --test published\n",
        directory.display(),
        problems.join("\n  ")
    );
}

fn bless(directory: &Path, expected: &Files) {
    std::fs::create_dir_all(directory).expect("creating the directory");
    for name in read_files(directory).keys() {
        if !expected.contains_key(name) {
            std::fs::remove_file(directory.join(name)).expect("removing what is left over");
        }
    }
    for (name, text) in expected {
        std::fs::write(directory.join(name), text).expect("writing a file");
    }
}

fn read_files(directory: &Path) -> Files {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Files::new();
    };
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("reading docs").path();
    let read = |path: PathBuf| {
        let name = path.file_name().expect("an entry has a name");
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
        (name.to_string_lossy().into_owned(), text)
    };
    entries.map(path).map(read).collect()
}

/// The first line in which two texts differ.
fn difference(name: &str, committed: &str, made: &str) -> String {
    let lines = committed.lines().zip(made.lines());
    let first = lines
        .zip(1..)
        .find(|((committed, made), _)| committed != made);
    match first {
        Some(((committed, made), line)) => {
            format!("{name}:{line} is\n    {committed}\n  and should be\n    {made}")
        }
        None => {
            let (is, should_be) = (committed.lines().count(), made.lines().count());
            format!("{name} has {is} lines and should have {should_be}")
        }
    }
}
