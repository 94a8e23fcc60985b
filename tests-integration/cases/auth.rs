//! Credentials of the declarations and of the two roots, against a registry with a password.
//!
//! The registries here refuse everyone else, so an image that arrives proves which credentials were used.

mod defaults;
mod refused;
mod tls;

use serde_json::Value;
use tests_integration::{AppImage, FaultProxy, OsRoot, Outcome, PushedImage, Registry, TestHost};

const PASSWORD: &str = "s3cret-words-of-the-test";

/// A registry with a password, an image in it, and the two roots between which auth files are looked for.
struct Scene {
    registry: Registry,
    proxy: FaultProxy,
    image: PushedImage,
    host: TestHost,
    new: OsRoot,
    current: OsRoot,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::options().login("tester", PASSWORD).start();
        let image = AppImage::tiny("guarded").push(&registry, "app", "v1");
        Self {
            proxy: FaultProxy::in_front_of(&registry),
            registry,
            image,
            host: TestHost::new(),
            new: OsRoot::new(),
            current: OsRoot::new(),
        }
    }

    /// The image's name behind the proxy.
    fn name(&self) -> String {
        self.image.at(&self.proxy.host())
    }

    /// Binds the image as `app.image`, with these keys on lines 4 and following.
    fn bind(&self, keys: &str) {
        let text = format!("[Image]\nImage={}\nTLSVerify=false\n{keys}", self.name());
        let file = "/usr/share/containers/systemd/app.image";
        self.new.quadlet(file, &text).link("app.image", file);
    }

    /// An auth file with the right password.
    fn right(&self) -> String {
        let json = self.registry.auth_json();
        json.replace(&self.registry.host(), &self.proxy.host())
    }

    /// An auth file with a wrong password, which still is a well-formed one.
    fn wrong(&self) -> String {
        let encoded = "dGVzdGVyOm5vdC10aGUtcGFzc3dvcmQ="; // tester:not-the-password
        serde_json::json!({ "auths": { self.proxy.host(): { "auth": encoded } } }).to_string()
    }

    /// Runs a verb on the new root, with the current root as the second place to look.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Outcome {
        let roots = [
            "--root",
            self.new.path().as_str(),
            "--current-root",
            self.current.path().as_str(),
        ];
        self.host.bound_images(&[args, &roots[..]].concat())
    }

    /// Pulls, and asserts that the image arrived.
    #[track_caller]
    fn pull_arrives(&self) {
        let outcome = self.run(&["pull", "--json"]);
        let items = outcome.code(0).json()["items"].clone();
        let items = items.as_array().expect("items");
        let item = items
            .iter()
            .find(|item| item["name"] == self.name().as_str());
        let item = item.expect("the image is reported");
        assert_eq!(item["id"], self.image.image_id.as_str());
        let stored = self.host.store().image_id_of(&self.name());
        assert_eq!(stored.as_ref(), Some(&self.image.image_id));
        assert_secret_free(&outcome);
    }

    /// Pulls, asserts that this is refused with 11 and nothing arrived, and returns the message.
    #[track_caller]
    fn pull_is_refused(&self) -> String {
        let outcome = self.run(&["pull", "--json"]);
        let item = outcome.code(11).json()["items"][0].clone();
        assert_eq!(
            (&item["result"], &item["id"]),
            (&"failed".into(), &Value::Null),
            "{item}"
        );
        assert_eq!(self.host.store().image_ids(), Vec::<String>::new());
        assert_secret_free(&outcome);
        let error = item["error"]
            .as_str()
            .expect("a failed item says why")
            .to_owned();
        let told = format!("error: {}: {error}\n", self.name());
        assert!(outcome.stderr().contains(&told), "{outcome}");
        error
    }

    /// Asserts that `list`, `plan` and `pull -v` name this source of credentials; the path is one outside the roots.
    #[track_caller]
    fn source_is(&self, source: &str, path: Option<&str>) {
        let shown = path.unwrap_or(source);
        for verb in ["list", "plan"] {
            let outcome = self.run(&[verb, "--json"]);
            let auth = outcome.code(0).json()["items"][0]["auth"].clone();
            assert_eq!(
                (&auth["source"], &auth["path"]),
                (&source.into(), &path.into()),
                "{verb}"
            );
            assert_eq!(auth["error"], Value::Null, "{verb}");
            let table = self.run(&[verb, "-v"]);
            assert!(
                table.code(0).stdout().contains(&format!("  {shown}  ")),
                "{table}"
            );
            assert_secret_free(&outcome);
            assert_secret_free(&table);
        }
        let pulled = self.run(&["pull", "-v"]);
        let told = format!("credentials: {shown})\n");
        assert!(pulled.stderr().contains(&told), "{pulled}");
        assert_secret_free(&pulled);
    }
}

/// Neither the password nor its encoded form may be printed.
#[track_caller]
fn assert_secret_free(outcome: &Outcome) {
    // base64 of "tester:s3cret…", without the last characters, which depend on its length.
    for secret in [
        PASSWORD,
        "dGVzdGVyOnMzY3JldC13b3Jkcy",
        "not-the-password",
        "dGVzdGVyOm5vdC10aGUtcGFz",
    ] {
        assert!(!outcome.stdout().contains(secret), "{secret}: {outcome}");
        assert!(!outcome.stderr().contains(secret), "{secret}: {outcome}");
    }
}

/// A place of the right password: (whether it is in the new root, its path there, `AuthFile=`).
const NAMED: [(bool, &str, &str); 5] = [
    (true, "/etc/web/a.json", "/etc/web/a.json"),
    (false, "/etc/web/a.json", "/etc/web/a.json"),
    (true, "/usr/etc/web/a.json", "/etc/web/a.json"),
    (false, "/usr/etc/web/a.json", "/etc/web/a.json"),
    (false, "/etc/100%/a.json", "/etc/100%%/a.json"),
];

#[test]
fn privileged_an_auth_file_is_taken_from_the_new_root_then_from_the_current_one() {
    for (is_new, path, auth_file) in NAMED {
        let scene = Scene::new();
        scene.bind(&format!("AuthFile={auth_file}\n"));
        // What holds for all images must not be used instead.
        scene.new.write("/usr/lib/ostree/auth.json", scene.wrong());
        scene.current.write("/run/ostree/auth.json", scene.wrong());
        let (root, source) = match is_new {
            true => (&scene.new, "newRoot"),
            false => (&scene.current, "currentRoot"),
        };
        root.write(path, scene.right());
        if is_new {
            scene.current.write("/etc/web/a.json", scene.wrong());
        }
        scene.source_is(source, Some(root.join(path).as_str()));
        scene.pull_arrives();
    }
}

#[test]
fn privileged_a_merged_etc_hides_usr_etc() {
    let scene = Scene::new();
    scene.bind("AuthFile=/etc/a.json\n");
    scene
        .new
        .write("/usr/etc/a.json", scene.right())
        .write("/etc/hostname", "merged\n");
    let message = scene.pull_is_refused();
    assert!(message.contains("is in neither the new root"), "{message}");
    assert!(scene.proxy.requests().is_empty());
}

#[test]
fn privileged_an_auth_file_may_be_a_link_inside_its_root_and_never_leads_out_of_it() {
    let scene = Scene::new();
    scene.bind("AuthFile=/etc/a.json\n");
    let outside = OsRoot::new();
    outside.write("/secret.json", scene.right());
    let target = outside.join("/secret.json");
    let link = |target: &str| {
        let link = scene.new.join("/etc/a.json");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(target, link).expect("linking");
    };
    let climbing = format!("{}{target}", "../".repeat(20));
    for target in [target.as_str(), &climbing, "/nowhere.json"] {
        link(target);
        let message = scene.pull_is_refused();
        assert!(
            message.contains("is in neither the new root"),
            "{target}: {message}"
        );
    }
    link("a.json");
    let message = scene.pull_is_refused();
    assert!(
        message.contains(scene.new.join("/etc/a.json").as_str()),
        "{message}"
    );
    assert!(scene.proxy.requests().is_empty());

    scene.new.write("/usr/lib/secrets/b.json", scene.right());
    link("/srv/link.json");
    std::fs::create_dir_all(scene.new.join("/srv")).expect("creating");
    std::os::unix::fs::symlink(
        "../usr/lib/secrets/b.json",
        scene.new.join("/srv/link.json"),
    )
    .expect("linking");
    scene.source_is("newRoot", Some(scene.new.join("/etc/a.json").as_str()));
    scene.pull_arrives();
}
