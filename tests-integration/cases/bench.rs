//! What the tests of `pull` share: a host, an OS root, and a registry that is reached through a proxy that fails on
//! purpose.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use serde_json::Value;
use tests_integration::{
    AppImage, FaultProxy, Layer, OsRoot, Outcome, PushedImage, Registry, Running, TestHost,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// An app image together with what it must look like in the store.
pub(super) struct App {
    pub(super) pushed: PushedImage,
    files: BTreeMap<String, String>,
}

/// A host whose root binds images that come through the proxy.
pub(super) struct Bench {
    // The host is dropped first, so that no pull is left when its registry goes.
    pub(super) host: TestHost,
    pub(super) root: OsRoot,
    pub(super) proxy: FaultProxy,
    pub(super) registry: Registry,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(TestHost::new())
    }

    pub(super) fn on(host: TestHost) -> Self {
        let registry = Registry::plain();
        let proxy = FaultProxy::in_front_of(&registry);
        host.set_insecure_registries(&[&proxy.host(), &registry.host()]);
        Self {
            host,
            root: OsRoot::new(),
            proxy,
            registry,
        }
    }

    /// Puts another host in the place of this one, which ends.
    pub(super) fn move_to(&mut self, host: TestHost) {
        host.set_insecure_registries(&[&self.proxy.host(), &self.registry.host()]);
        self.host = host;
    }

    pub(super) fn push(&self, image: &AppImage, repository: &str) -> App {
        App {
            pushed: image.push(&self.registry, repository, "v1"),
            files: image.file_digests(),
        }
    }

    /// Pushes an image of one small layer and binds it by its tag, under the name of its repository.
    pub(super) fn bind_tiny(&self, repository: &str) -> App {
        let app = self.push(&AppImage::tiny(repository), repository);
        self.bind(repository, &app);
        app
    }

    /// Binds an image by its tag, through the proxy.
    pub(super) fn bind(&self, link: &str, app: &App) {
        self.root.bind_image(link, &self.name(app));
    }

    /// The name of an image at the proxy, by tag.
    pub(super) fn name(&self, app: &App) -> String {
        app.pushed.at(&self.proxy.host())
    }

    pub(super) fn spawn_pull(&self, options: &[&str]) -> Running {
        let args = ["pull", "--json", "--root", self.root.path().as_str()];
        self.host.spawn(&[&args[..], options].concat())
    }

    pub(super) fn pull(&self, options: &[&str]) -> Outcome {
        self.spawn_pull(options).wait()
    }

    /// Pulls with podman itself, as any other program could: nothing is flushed.
    #[track_caller]
    pub(super) fn podman_pull(&self, app: &App) {
        let pulled = self
            .host
            .store_podman(&["pull", "--quiet", &self.name(app)]);
        assert_eq!(pulled.code(0).stdout().trim(), app.pushed.image_id);
    }

    /// `SYSROOT/ostree/bootc/bound-images`.
    pub(super) fn state_directory(&self) -> Utf8PathBuf {
        self.host.sysroot().join("ostree/bootc/bound-images")
    }

    /// Panics unless podman itself has the image under its name at the proxy, with every byte that was pushed.
    #[track_caller]
    pub(super) fn assert_whole(&self, app: &App) {
        let store = self.host.store();
        let id = store.image_id_of(&self.name(app));
        assert_eq!(
            id.as_ref(),
            Some(&app.pushed.image_id),
            "{}",
            self.name(app)
        );
        app.assert_whole_in(&self.host);
    }

    /// Panics if something half-made is left in the sysroot.
    #[track_caller]
    pub(super) fn assert_swept(&self) {
        assert!(
            !self
                .host
                .sysroot()
                .join("ostree/bootc/storage.tmp")
                .exists()
        );
        let left = tests_integration::tree::walk(&self.state_directory().join("tmp"));
        assert_eq!(left, Vec::<Utf8PathBuf>::new());
    }

    /// Panics unless every process of the host ends soon.
    #[track_caller]
    pub(super) fn assert_no_process_remains(&self) {
        wait_until("all processes of the host to end", || {
            self.host.processes().is_empty()
        });
    }

    /// Pulls; panics unless all is well afterwards: these images and no others are bound, whole and verified.
    #[track_caller]
    pub(super) fn assert_completes(&self, apps: &[&App]) -> Vec<Value> {
        let pulled = items(self.pull(&[]).code(0));
        for item in &pulled {
            assert_ne!(item["result"], "failed", "{item}");
        }
        let listed = ["list", "--json", "--root", self.root.path().as_str()];
        let listed = items(self.host.bound_images(&listed).code(0));
        assert_eq!((pulled.len(), listed.len()), (apps.len(), apps.len()));
        for item in &listed {
            assert_eq!(
                (&item["state"], &item["verified"]),
                (&"present".into(), &true.into()),
                "{item}"
            );
        }
        for app in apps {
            self.assert_whole(app);
        }
        self.assert_swept();
        pulled
    }

    /// The processes of the host that run podman.
    pub(super) fn podmans(&self) -> Vec<u32> {
        let runs_podman = |pid: &u32| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|path| path.ends_with("podman"))
        };
        self.host
            .processes()
            .into_iter()
            .filter(runs_podman)
            .collect()
    }
}

impl App {
    /// Panics unless podman shows every file of the image with the contents that were pushed, and no others.
    #[track_caller]
    pub(super) fn assert_whole_in(&self, host: &TestHost) {
        let files = host.store().image_files(&self.pushed.image_id);
        assert_eq!(files, self.files, "{}", self.pushed.reference);
    }

    /// Size of all layers as they are transferred.
    pub(super) fn blob_bytes(&self) -> u64 {
        self.pushed.layer_sizes_bytes.iter().sum()
    }
}

/// An image of the shared base (1 MiB in many files) and one layer of its own.
pub(super) fn with_base(repository: &str, own_bytes: usize) -> AppImage {
    let base = (0..16).fold(Layer::new(), |layer, number| {
        layer.random(&format!("base/{number}"), 64 << 10, number)
    });
    let seed = repository
        .bytes()
        .fold(100, |seed: u64, byte| seed * 31 + u64::from(byte));
    let own = Layer::new()
        .file("etc/version", repository)
        .random("own/data", own_bytes, seed);
    AppImage::new([base, own])
}

/// The `items` of a report.
#[track_caller]
pub(super) fn items(outcome: &Outcome) -> Vec<Value> {
    let report = outcome.json();
    assert_eq!(report["apiVersion"], "bound-images/v1", "{report}");
    report["items"].as_array().expect("a list").clone()
}

/// A value per item.
pub(super) fn column(items: &[Value], key: &str) -> Vec<Value> {
    items.iter().map(|item| item[key].clone()).collect()
}

#[track_caller]
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
