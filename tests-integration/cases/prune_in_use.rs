//! `prune` keeps what a container of the host's main store stands on: podman itself would not ask.

use camino::Utf8Path;
use serde_json::Value;
use tests_integration::{AppImage, Layer, OsRoot, Outcome, PushedImage, Registry, TestHost};

/// A host whose private store has two images that no root needs; programs that run are in both.
struct Apps {
    host: TestHost,
    used: PushedImage,
    unused: PushedImage,
    nothing: OsRoot,
    _registry: Registry,
}

impl Apps {
    fn new() -> Self {
        let registry = Registry::plain();
        let host = TestHost::new();
        host.set_insecure_registries(&[&registry.host()]);
        let base = Layer::new().program("/bin/sleep").program("/bin/cat");
        let push = |name: &str| {
            AppImage::new([base.clone(), Layer::new().file("etc/version", name)])
                .command(&["/bin/sleep", "600"])
                .push(&registry, name, "v1")
        };
        let [used, unused] = ["used", "unused"].map(push);
        let root = OsRoot::new();
        root.bind_image("used", &used.reference)
            .bind_image("unused", &unused.reference);
        let pull = ["pull", "--root", root.path().as_str()];
        host.bound_images(&pull).code(0);
        Self {
            host,
            used,
            unused,
            nothing: OsRoot::new(),
            _registry: registry,
        }
    }

    fn try_prune(&self, options: &[&str]) -> Outcome {
        let prune = ["prune", "--root", self.nothing.path().as_str()];
        self.host.bound_images(&[&prune[..], options].concat())
    }

    /// Prunes, dry and then for real, with the same result, which podman confirms.
    #[track_caller]
    fn prune(&self, options: &[&str]) -> Value {
        let report = |more: &[&str]| {
            let outcome = self.try_prune(&[options, more].concat());
            outcome.code(0).json()
        };
        let dry = report(&["--json", "--dry-run"]);
        let real = report(&["--json"]);
        for list in ["kept", "removed", "freedBytes"] {
            assert_eq!(dry[list], real[list]);
        }
        let kept: Vec<String> = ids(&real["kept"]);
        assert_eq!(self.host.store().image_ids(), kept);
        real
    }

    /// Only the used image is kept, with its names, on behalf of the holder.
    #[track_caller]
    fn assert_kept_for(&self, report: &Value, holder: &str) {
        assert_eq!(ids(&report["kept"]), ids_of(&self.used), "{report}");
        assert_eq!(ids(&report["removed"]), ids_of(&self.unused));
        let kept = &report["kept"][0];
        assert_eq!(kept["reason"], format!("in use by {holder}"));
        assert_eq!(kept["names"], serde_json::json!([self.used.reference]));
    }

    /// What no container uses any more is pruned.
    #[track_caller]
    fn assert_goes_now(&self, options: &[&str]) {
        let report = self.prune(options);
        assert_eq!(ids(&report["removed"]), ids_of(&self.used));
        assert_eq!(ids(&report["kept"]), Vec::<String>::new());
    }

    fn main_podman(&self, args: &[&str]) -> Outcome {
        self.host.store().main_podman(args)
    }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list.as_array().expect("a list of images");
    let id = |item: &Value| item["id"].as_str().expect("an ID").to_owned();
    items.iter().map(id).collect()
}

fn ids_of(image: &PushedImage) -> Vec<String> {
    vec![image.image_id.clone()]
}

/// Options of `podman create` that need nothing a CI machine may not give.
const MODEST: [&str; 5] = [
    "--pull=never",
    "--network=none",
    "--cgroups=disabled",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
];

#[test]
fn privileged_the_image_of_a_running_container_stays_until_it_is_gone() {
    let apps = Apps::new();
    let run = ["--detach", "--name=web"];
    apps.host
        .store()
        .run_container(&run, &apps.used.reference)
        .code(0);

    let report = apps.prune(&[]);
    apps.assert_kept_for(&report, "container web");
    let exec = ["exec", "web", "/bin/cat", "/etc/version"];
    assert_eq!(apps.main_podman(&exec).code(0).stdout(), "used");
    let table = apps.try_prune(&[]).code(0).stdout();
    assert!(table.contains("in use by container web"), "{table}");

    apps.main_podman(&["rm", "--force", "--time=0", "web"])
        .code(0);
    apps.assert_goes_now(&[]);
}

/// Quadlet starts containers with `--rm`; podman 5 records those in another file.
#[test]
fn privileged_the_image_of_a_container_that_removes_itself_stays() {
    let apps = Apps::new();
    let run = ["--detach", "--rm", "--name=quadlet"];
    apps.host
        .store()
        .run_container(&run, &apps.used.reference)
        .code(0);

    let report = apps.prune(&[]);
    apps.assert_kept_for(&report, "container quadlet");
    let exec = ["exec", "quadlet", "/bin/cat", "/etc/version"];
    assert_eq!(apps.main_podman(&exec).code(0).stdout(), "used");

    apps.main_podman(&["rm", "--force", "--time=0", "quadlet"])
        .code(0);
    apps.assert_goes_now(&[]);
}

#[test]
fn privileged_the_image_of_a_container_that_was_only_created_stays() {
    let apps = Apps::new();
    let create = ["create", "--name=later"];
    let create = [&create[..], &MODEST, &[&apps.used.reference]].concat();
    apps.main_podman(&create).code(0);

    let report = apps.prune(&[]);
    apps.assert_kept_for(&report, "container later");
    apps.main_podman(&["start", "later"]).code(0);
    let exec = ["exec", "later", "/bin/cat", "/etc/version"];
    assert_eq!(apps.main_podman(&exec).code(0).stdout(), "used");

    apps.main_podman(&["rm", "--force", "--time=0", "later"])
        .code(0);
    apps.assert_goes_now(&[]);
}

#[test]
fn privileged_an_image_of_the_main_store_on_layers_of_the_private_one_keeps_them() {
    let apps = Apps::new();
    let create = ["create", "--name=basis"];
    let create = [&create[..], &MODEST, &[&apps.used.reference]].concat();
    apps.main_podman(&create).code(0);
    let commit = ["commit", "--quiet", "basis", "localhost/derived:v1"];
    let derived = apps.main_podman(&commit).code(0).stdout();
    apps.main_podman(&["rm", "basis"]).code(0);

    let report = apps.prune(&[]);
    let short = derived.trim().trim_start_matches("sha256:")[..12].to_owned();
    apps.assert_kept_for(&report, &format!("image {short} of the main store"));

    apps.main_podman(&["image", "rm", "localhost/derived:v1"])
        .code(0);
    apps.assert_goes_now(&[]);
}

#[test]
fn privileged_containers_count_only_for_what_they_stand_on() {
    let apps = Apps::new();
    apps.main_podman(
        &[
            &["create", "--name=one"][..],
            &MODEST,
            &[&apps.used.reference],
        ]
        .concat(),
    )
    .code(0);
    let root = OsRoot::new();
    root.bind_image("unused", &apps.unused.reference);
    let prune = ["prune", "--json", "--root", root.path().as_str()];
    let report = apps.host.bound_images(&prune).code(0).json();
    assert_eq!(ids(&report["removed"]), Vec::<String>::new());
    let reasons: Vec<&str> = report["kept"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|item| item["reason"].as_str())
        .collect();
    assert!(reasons.contains(&"in use by container one"), "{report}");
    let bound = format!("bound by bound-images.d/unused.image of {}", root.path());
    assert!(reasons.contains(&bound.as_str()), "{report}");
}

/// The main store where `storage.conf` of the running system puts it.
fn main_podman_at(apps: &Apps, graphroot: &Utf8Path, args: &[&str]) -> Outcome {
    let store = format!("additionalimagestore={}", apps.host.store_path());
    let global = [
        "--root",
        graphroot.as_str(),
        "--runroot=/run/other-store",
        "--storage-opt",
        &store,
        "--cgroup-manager=cgroupfs",
    ];
    apps.host.run("podman", &[&global[..], args].concat())
}

#[test]
fn privileged_the_main_store_is_where_storage_conf_of_the_current_root_says() {
    let apps = Apps::new();
    let current = OsRoot::new();
    for (file, graphroot) in [
        ("/usr/share/containers/storage.conf", "/data/vendor"),
        ("/etc/containers/storage.conf", "/data/admin"),
    ] {
        let conf = format!("[storage]\ndriver = \"overlay\"\ngraphroot = \"{graphroot}\"\n");
        current.write(file, conf).make_directory(graphroot);
        let graphroot = current.join(graphroot);
        let create = [
            &["create", "--name=moved"][..],
            &MODEST,
            &[&apps.used.reference],
        ]
        .concat();
        main_podman_at(&apps, &graphroot, &create).code(0);

        let option = ["--current-root", current.path().as_str()];
        let report = apps.try_prune(&[&option[..], &["--json", "-n"]].concat());
        apps.assert_kept_for(&report.code(0).json(), "container moved");
        main_podman_at(&apps, &graphroot, &["rm", "moved"]).code(0);
        let report = apps.try_prune(&[&option[..], &["--json", "-n"]].concat());
        assert_eq!(ids(&report.code(0).json()["removed"]).len(), 2);
        main_podman_at(&apps, &graphroot, &create).code(0);
    }
    // The last word is that of /etc, and its container is still there.
    let option = ["--current-root", current.path().as_str()];
    let report = apps.prune(&option);
    apps.assert_kept_for(&report, "container moved");
    main_podman_at(&apps, &current.join("/data/admin"), &["rm", "moved"]).code(0);
    apps.assert_goes_now(&option);
}

#[test]
fn privileged_nothing_is_removed_while_the_main_store_cannot_be_read() {
    let apps = Apps::new();
    let current = OsRoot::new();
    let option = ["--current-root", current.path().as_str()];
    let conf = current.join("/etc/containers/storage.conf");
    current.write("/etc/containers/storage.conf", "[storage\ngraphroot = ");
    for mode in [&["--dry-run"][..], &[]] {
        let said = apps
            .try_prune(&[&option[..], mode].concat())
            .code(1)
            .stderr();
        assert!(said.contains(conf.as_str()), "{said}");
    }
    assert_eq!(apps.host.store().images().len(), 2);

    std::fs::remove_file(conf).expect("removing the configuration");
    let records = "/var/lib/containers/storage/overlay-layers/layers.json";
    current.write(records, "[{\"id\": ");
    let said = apps.try_prune(&option).code(14).stderr();
    assert!(said.contains(current.join(records).as_str()), "{said}");
    assert!(
        !said.contains("pull again"),
        "the main store is none of ours to be moved away: {said}"
    );
    assert_eq!(apps.host.store().images().len(), 2);

    std::fs::remove_file(current.join(records)).expect("removing the damage");
    assert_eq!(ids(&apps.prune(&option)["removed"]).len(), 2);
}
