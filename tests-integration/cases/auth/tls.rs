//! Registries with a certificate of their own CA.

use tests_integration::{AppImage, OsRoot, Outcome, PushedImage, Registry, TestHost};

struct Scene {
    registry: Registry,
    image: PushedImage,
    host: TestHost,
    new: OsRoot,
    current: OsRoot,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::options().tls().start();
        let image = AppImage::tiny("tls").push(&registry, "app", "v1");
        Self {
            registry,
            image,
            host: TestHost::new(),
            new: OsRoot::new(),
            current: OsRoot::new(),
        }
    }

    fn bind(&self, keys: &str) {
        let text = format!("[Image]\nImage={}\n{keys}", self.image.reference);
        let file = "/usr/share/containers/systemd/app.image";
        self.new.quadlet(file, &text).link("app.image", file);
    }

    fn write_ca(&self, root: &OsRoot, path: &str) {
        let ca = std::fs::read(self.registry.cert_dir().join("ca.crt")).expect("reading the CA");
        root.write(&format!("{path}/ca.crt"), ca);
    }

    #[track_caller]
    fn pull(&self) -> Outcome {
        let roots = [
            "--root",
            self.new.path().as_str(),
            "--current-root",
            self.current.path().as_str(),
        ];
        self.host
            .bound_images(&[&["pull", "--json"], &roots[..]].concat())
    }

    #[track_caller]
    fn pull_arrives(&self) {
        assert_eq!(
            self.pull().code(0).json()["items"][0]["id"],
            self.image.image_id.as_str()
        );
        assert_eq!(
            self.host.store().image_ids(),
            [self.image.image_id.as_str()]
        );
    }

    /// Pulls, and asserts that it is refused with this code, at once.
    #[track_caller]
    fn pull_is_refused(&self, code: i32) -> String {
        let outcome = self.pull();
        let item = outcome.code(code).json()["items"][0].clone();
        assert_eq!(item["result"], "failed");
        assert!(!outcome.stderr().contains("failed, next in"), "{outcome}");
        assert_eq!(self.host.store().image_ids(), Vec::<String>::new());
        item["error"]
            .as_str()
            .expect("a failed item says why")
            .to_owned()
    }
}

#[test]
fn privileged_an_own_ca_counts_from_either_root() {
    // (in the new root, path, CertDir=)
    for (is_new, path, cert_dir) in [
        (true, "/etc/certs", "/etc/certs"),
        (false, "/etc/certs", "/etc/certs"),
        (true, "/usr/etc/certs", "/etc/certs"),
        (true, "/usr/share/ca", "/usr/share/ca/"),
        (true, "/usr/share/ca", "/etc/link-to-ca"),
    ] {
        let scene = Scene::new();
        scene.bind(&format!("CertDir={cert_dir}\n"));
        scene.write_ca(if is_new { &scene.new } else { &scene.current }, path);
        if cert_dir == "/etc/link-to-ca" {
            std::os::unix::fs::symlink(path, scene.new.join(cert_dir)).expect("linking");
        }
        scene.pull_arrives();
    }
}

#[test]
fn privileged_an_unknown_ca_is_refused_at_once_unless_tls_need_not_be_verified() {
    let scene = Scene::new();
    for keys in ["", "TLSVerify=true\n"] {
        scene.bind(keys);
        let message = scene.pull_is_refused(12);
        assert!(message.contains("x509"), "{message}");
    }
    // The CA of another registry is none.
    scene.bind("CertDir=/etc/certs\n");
    let other = Registry::options().tls().start();
    let ca = std::fs::read(other.cert_dir().join("ca.crt")).expect("reading the CA");
    scene.new.write("/etc/certs/ca.crt", ca);
    let message = scene.pull_is_refused(12);
    assert!(message.contains("x509"), "{message}");

    scene.bind("TLSVerify=false\n");
    scene.pull_arrives();
}

#[test]
fn privileged_a_cert_dir_in_neither_root_names_both_places() {
    let scene = Scene::new();
    scene.bind("CertDir=/etc/certs\n");
    let (in_new, in_current) = (
        scene.new.join("/etc/certs"),
        scene.current.join("/etc/certs"),
    );
    let message = format!(
        "CertDir=/etc/certs is in neither the new root ({in_new}) nor the current root ({in_current})"
    );
    assert_eq!(scene.pull_is_refused(11), message);
    scene.write_ca(&scene.current, "/etc/certs");
    scene.pull_arrives();
}

/// podman has the directory as a descriptor: a link in it would lead into the running host.
#[test]
fn privileged_a_link_in_a_cert_dir_is_refused() {
    let scene = Scene::new();
    scene.bind("CertDir=/etc/certs\n");
    scene.write_ca(&scene.new, "/usr/share/ca");
    scene.new.make_directory("/etc/certs");
    let link = scene.new.join("/etc/certs/ca.crt");
    std::os::unix::fs::symlink("/usr/share/ca/ca.crt", &link).expect("linking");
    let message = format!(
        "CertDir=/etc/certs: {link} is a symlink; podman would follow it in the running host; put the file itself there"
    );
    assert_eq!(scene.pull_is_refused(11), message);
}

/// `TLSVerify=true` holds even where the host lets the registry be used without TLS.
#[test]
fn privileged_tls_is_required_where_the_declaration_says_so() {
    let registry = Registry::plain();
    let image = AppImage::tiny("plain").push(&registry, "app", "v1");
    let host = TestHost::new();
    host.set_insecure_registries(&[&registry.host()]);
    let root = OsRoot::new();
    let file = "/usr/share/containers/systemd/app.image";
    let text = |keys: &str| format!("[Image]\nImage={}\n{keys}", image.reference);
    let pull = ["pull", "--json", "--root", root.path().as_str()];

    root.quadlet(file, &text("TLSVerify=true\n"))
        .link("app.image", file);
    let outcome = host.bound_images(&pull);
    assert_eq!(outcome.code(12).json()["items"][0]["result"], "failed");
    assert!(!outcome.stderr().contains("failed, next in"), "{outcome}");

    root.quadlet(file, &text(""));
    let outcome = host.bound_images(&pull);
    assert_eq!(
        outcome.code(0).json()["items"][0]["id"],
        image.image_id.as_str()
    );
}
