//! Options of every verb: formats, quietness, and wrong command lines.

use tests_integration::tree::Snapshot;
use tests_integration::{AppImage, OsRoot, Registry, TestHost};

/// A root with one image, which nobody serves, and one warning.
fn root_with_warning() -> OsRoot {
    let root = OsRoot::new();
    let file = "/usr/share/containers/systemd/web.image";
    root.quadlet(
        file,
        "[Image]\nImage=127.0.0.1:1/web:v1\nCreds=user:words\n",
    );
    root.link("web.image", file);
    root
}

#[test]
fn privileged_json_is_the_format_json_on_either_side_of_the_verb() {
    let host = TestHost::new();
    let root = root_with_warning();
    let root = root.path().as_str();
    for (verb, kind) in [
        ("list", "BoundImageList"),
        ("plan", "PullPlan"),
        ("check", "CheckReport"),
        ("prune", "PruneReport"),
    ] {
        let expected = host.bound_images(&[verb, "--root", root, "--json"]);
        let document = expected.code(0).json();
        assert_eq!(
            (&document["apiVersion"], &document["kind"]),
            (&"bound-images/v1".into(), &kind.into())
        );
        for args in [
            &["--json", verb, "--root", root][..],
            &[verb, "--root", root, "--format", "json"],
            &["--format=json", verb, "--root", root],
        ] {
            let outcome = host.bound_images(args);
            assert_eq!(outcome.code(0).stdout(), expected.stdout(), "{args:?}");
        }
        let table = host.bound_images(&[verb, "--root", root]).code(0).stdout();
        let explicit = host.bound_images(&["--format", "table", verb, "--root", root]);
        assert_eq!(explicit.code(0).stdout(), table);
        assert!(!table.contains('{'), "{table}");
    }
}

#[test]
fn privileged_a_wrong_command_line_is_refused_before_anything_else() {
    let host = TestHost::new();
    let root = root_with_warning();
    let root = root.path().as_str();
    for args in [
        &["--json", "list", "--root", root, "--format", "table"][..],
        &["--format", "json", "list", "--root", root, "--json"],
        &["list", "--root", root, "--json", "--format", "json"],
        &["--json", "--format", "json", "list", "--root", root],
        &["list", "--root", root, "--quiet", "--verbose"],
        &["-q", "list", "--root", root, "-v"],
        &["list", "--root", root, "--format", "yaml"],
        &["list", "--root", root, "--no-such-option"],
        &["list", "--root", root, "stray"],
        &["list"],
        &["list", "--root"],
        &["plan"],
        &["check"],
        &["pull"],
        &["prune"],
        &["plan", "--root", root, "--policy", "never"],
        &["pull", "--root", root, "--retries", "many"],
        &["pull", "--root", root, "--stall-timeout", "0"],
        &["pull", "--root", root, "--progress-fd", "x"],
        &["no-such-verb"],
        &[],
    ] {
        let outcome = host.bound_images(args);
        assert_eq!(outcome.code(2).stdout(), "", "{args:?}");
        assert!(
            outcome.stderr().contains("Usage: bound-images") || outcome.stderr().contains("--help"),
            "{outcome}"
        );
    }
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
}

#[test]
fn privileged_quiet_leaves_results_warnings_and_errors() {
    let host = TestHost::new();
    let root = root_with_warning();
    let root = root.path().as_str();
    let warning = "warning: bound-images.d/web.image -> /usr/share/containers/systemd/web.image:3: \
                   Creds= is ignored for a bound image\n";
    for verb in ["list", "plan", "check"] {
        let plain = host.bound_images(&[verb, "--root", root]);
        assert_eq!(plain.code(0).stderr(), warning, "{verb}");
        let quiet = host.bound_images(&[verb, "--root", root, "--quiet"]);
        assert_eq!(quiet.code(0).stderr(), warning, "{verb}");
        let result = if verb == "check" {
            String::new()
        } else {
            plain.stdout()
        };
        assert_eq!(quiet.stdout(), result, "{verb}");
        let json = host.bound_images(&[verb, "-q", "--root", root, "--json"]);
        assert_eq!(
            json.code(0).json()["items"][0]["name"],
            "127.0.0.1:1/web:v1",
            "{verb}"
        );
    }
    let failed = host.bound_images(&["pull", "-q", "--root", root, "--retries", "0"]);
    let stderr = failed.code(12).stderr();
    let error = stderr.strip_prefix(warning).expect("the warning is first");
    assert!(error.starts_with("error: 127.0.0.1:1/web:v1: "), "{stderr}");
    assert_eq!(error.lines().count(), 1, "{stderr}");

    let registry = Registry::plain();
    let image = AppImage::tiny("x").push(&registry, "app", "v1");
    let root = OsRoot::new();
    root.bind_image("app", &image.reference);
    let pulled = host.bound_images(&["pull", "-q", "--root", root.path().as_str()]);
    assert_eq!(pulled.code(0).stderr(), "");
    let row = pulled
        .stdout()
        .lines()
        .nth(1)
        .map(str::to_owned)
        .unwrap_or_default();
    assert!(
        row.starts_with(&image.reference) && row.contains("  fetched  "),
        "{pulled}"
    );
}

#[test]
fn privileged_a_sysroot_that_is_none_is_an_error() {
    let host = TestHost::new();
    let root = root_with_warning();
    let root_path = root.path().as_str();
    let nowhere = host.sysroot().join("nowhere");
    let want =
        format!("error: there is no sysroot {nowhere}; create it or name another by --sysroot\n");
    for verb in [&["pull"][..], &["prune"], &["prune", "--dry-run"]] {
        let options = ["-q", "--root", root_path, "--sysroot", nowhere.as_str()];
        let outcome = host.bound_images(&[verb, &options].concat());
        let stderr = outcome.code(1).stderr();
        let stderr = stderr
            .lines()
            .filter(|line| !line.starts_with("warning: bound-images.d/"));
        let stderr: String = stderr.map(|line| format!("{line}\n")).collect();
        assert_eq!(stderr, want, "{verb:?}");
        assert_eq!(outcome.stdout(), "", "{verb:?}");
        assert!(!nowhere.exists());
    }
    for verb in ["list", "plan"] {
        let outcome =
            host.bound_images(&[verb, "--root", root_path, "--sysroot", nowhere.as_str()]);
        let warning = format!("warning: there is no sysroot {nowhere}, so no store\n");
        assert!(outcome.code(0).stderr().contains(&warning), "{outcome}");
    }

    let file = root.join("/usr/lib/os-release");
    for verb in ["list", "plan", "pull", "prune"] {
        let outcome = host.bound_images(&[verb, "--root", root_path, "--sysroot", file.as_str()]);
        let want = format!("error: opening the sysroot {file}: Not a directory (os error 20)\n");
        assert_eq!(outcome.code(1).stderr(), want, "{verb}");
    }
}

#[test]
fn privileged_a_current_root_that_is_none_is_an_error() {
    let host = TestHost::new();
    let root = root_with_warning();
    let nowhere = root.join("/nowhere");
    for verb in ["list", "plan", "pull"] {
        let args = [
            verb,
            "-q",
            "--root",
            root.path().as_str(),
            "--current-root",
            nowhere.as_str(),
        ];
        let outcome = host.bound_images(&args);
        let want = format!(
            "error: the current root: opening the root {nowhere}: No such file or directory (os error 2)\n"
        );
        assert_eq!(outcome.code(1).stderr(), want, "{verb}");
    }
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
}
