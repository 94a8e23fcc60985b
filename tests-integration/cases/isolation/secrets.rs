//! A login is used, and nobody who looks on learns it.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use tests_integration::scratch::ScratchDir;
use tests_integration::tree::{files_containing, processes_exposing};
use tests_integration::{AppImage, Fault, FaultProxy, Layer, OsRoot, Registry, Rule, TestHost};

const PASSWORD: &str = "s3cret-that-nobody-sees";

struct Needles(Vec<String>);

impl Needles {
    fn in_text(&self, text: &str) -> bool {
        self.0.iter().any(|needle| text.contains(needle))
    }

    fn in_processes(&self) -> Vec<Utf8PathBuf> {
        self.0
            .iter()
            .flat_map(|needle| processes_exposing(needle.as_bytes()))
            .collect()
    }

    fn in_files(&self, directory: &Utf8Path) -> Vec<Utf8PathBuf> {
        self.0
            .iter()
            .flat_map(|needle| files_containing(directory, needle.as_bytes()))
            .collect()
    }
}

/// `/tmp` as it is now, without what tests themselves put there.
fn temporary_files() -> BTreeSet<Utf8PathBuf> {
    let entries = Utf8Path::new("/tmp").read_dir_utf8().expect("listing /tmp");
    let paths = entries.flatten().map(camino::Utf8DirEntry::into_path);
    paths
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.starts_with("bound-images-"))
        })
        .collect()
}

/// All that belongs to the host, its sysroot and its `/run` among them, and nothing of the root or the registry.
fn host_directories(host: &TestHost) -> [Utf8PathBuf; 2] {
    let own = host
        .var_tmp()
        .parent()
        .expect("a directory in it")
        .to_owned();
    assert!(host.sysroot().starts_with(&own));
    [own, host.run_directory()]
}

#[test]
fn privileged_a_password_is_used_and_seen_nowhere() {
    let registry = Registry::options().login("tester", PASSWORD).start();
    let proxy = FaultProxy::in_front_of(&registry);
    let image =
        AppImage::new([Layer::new().random("data", 100_000, 1)]).push(&registry, "app", "v1");
    let auth = registry
        .auth_json()
        .replace(&registry.host(), &proxy.host());
    let encoded: serde_json::Value = serde_json::from_str(&auth).expect("JSON");
    let encoded = encoded["auths"][proxy.host()]["auth"]
        .as_str()
        .expect("a login")
        .to_owned();
    let needles = Needles(vec![PASSWORD.to_owned(), encoded]);
    let host = TestHost::new();
    host.set_insecure_registries(&[&proxy.host()]);
    let root = OsRoot::new();
    root.bind_image("app", &image.at(&proxy.host()))
        .write("/etc/ostree/auth.json", &auth);
    let directories = host_directories(&host);
    let temporary_before = temporary_files();

    let slow = Fault::Slow {
        bytes_per_sec: 50_000,
    };
    proxy.set_rules([Rule::on("/blobs/", slow)]);
    let mut pull = host.spawn(&["pull", "-v", "--root", root.path().as_str()]);
    let mut samples_with_podman = 0;
    while pull.is_running() {
        samples_with_podman += usize::from(host.processes().len() > 1);
        assert_eq!(needles.in_processes(), [] as [&str; 0]);
        for directory in &directories {
            assert_eq!(needles.in_files(directory), [] as [&str; 0]);
        }
        assert!(!needles.in_text(&(pull.stdout_so_far() + &pull.stderr_so_far())));
    }
    let pulled = pull.wait();
    let stderr = pulled.code(0).stderr();
    assert!(
        samples_with_podman > 2,
        "podman was seen {samples_with_podman} times"
    );
    assert!(!needles.in_text(&(pulled.stdout() + &stderr)), "{pulled}");
    let auth_file = root.join("/etc/ostree/auth.json");
    assert!(
        stderr.contains(auth_file.as_str()),
        "-v names the file: {pulled}"
    );
    for directory in directories
        .iter()
        .chain(temporary_files().difference(&temporary_before))
    {
        assert_eq!(needles.in_files(directory), [] as [&str; 0]);
    }
    let used = proxy
        .requests()
        .iter()
        .any(|request| request.header("authorization").is_some());
    assert!(used, "the login was needed");
    assert_eq!(host.store().image_ids(), [image.image_id]);
}

/// Also when the registry refuses, and when the file itself is broken right where the password is.
#[test]
fn privileged_a_password_is_in_no_error_message() {
    let registry = Registry::options().login("tester", "another").start();
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let host = TestHost::new();
    host.set_insecure_registries(&[&registry.host()]);
    let scratch = ScratchDir::new("pair");
    let pair = scratch.file("pair", format!("tester:{PASSWORD}"));
    let encoded = host.run("base64", &["--wrap=0", pair.as_str()]).stdout();
    let needles = Needles(vec![PASSWORD.to_owned(), encoded.clone()]);
    let refused = format!(
        r#"{{"auths":{{"{}":{{"auth":"{encoded}"}}}}}}"#,
        registry.host()
    );
    let root = OsRoot::new();
    root.bind_image("app", &image.reference);

    for broken in [
        refused.as_str(),
        &refused.replace("}}}", ""),
        &refused.replace('"', ""),
        PASSWORD,
    ] {
        root.write("/etc/ostree/auth.json", broken);
        for options in [&["--json"][..], &["-v"]] {
            let pull = ["pull", "--root", root.path().as_str()];
            let failed = host.bound_images(&[&pull[..], options].concat());
            let said = failed.code(11).stdout() + &failed.stderr();
            assert!(!needles.in_text(&said), "{failed}");
        }
        for directory in host_directories(&host) {
            assert_eq!(needles.in_files(&directory), [] as [&str; 0]);
        }
    }
}

/// The login of whoever runs the command is not the host's: it is never used.
#[test]
fn privileged_a_users_own_login_is_never_used_by_accident() {
    let registry = Registry::options().login("tester", PASSWORD).start();
    let proxy = FaultProxy::in_front_of(&registry);
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let auth = registry
        .auth_json()
        .replace(&registry.host(), &proxy.host());
    let mut host = TestHost::new();
    host.set_insecure_registries(&[&proxy.host()]);
    let home = ScratchDir::new("home");
    home.subdirectory(".config/containers");
    home.subdirectory(".docker");
    home.subdirectory("containers");
    let files = [
        ".config/containers/auth.json",
        ".docker/config.json",
        "containers/auth.json",
    ];
    for file in files {
        home.file(file, &auth);
    }
    host.run("mkdir", &["-p", "/run/containers/0"]).code(0);
    let in_run = host.run_directory().join("containers/0/auth.json");
    std::fs::write(in_run, &auth).expect("writing a login");
    host.set_environment("HOME", home.path().as_str());
    host.set_environment("XDG_RUNTIME_DIR", home.path().as_str());
    host.set_environment("DOCKER_CONFIG", home.path().join(".docker").as_str());
    host.set_environment("REGISTRY_AUTH_FILE", home.path().join(files[0]).as_str());
    let root = OsRoot::new();
    root.bind_image("app", &image.at(&proxy.host()));

    host.bound_images(&["pull", "--root", root.path().as_str()])
        .code(11);
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        // podman 4 sends an empty name with an empty password where it has no login.
        let login = request.header("authorization").unwrap_or("Basic Og==");
        assert_eq!(login, "Basic Og==", "{request:?}");
    }
}
