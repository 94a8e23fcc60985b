//! Credentials that are missing, malformed or wrong: exit code 11, in one attempt, without a word of them.

use tests_integration::{AppImage, Registry};

use super::{Scene, assert_secret_free};

impl Scene {
    /// Pulls with this auth file, which is refused; the message.
    #[track_caller]
    fn refused_login(&self, contents: &str) -> String {
        self.new.write("/etc/pull.json", contents);
        self.pull_is_refused()
    }
}

#[test]
fn privileged_an_auth_file_in_neither_root_names_both_places() {
    let scene = Scene::new();
    scene.bind("AuthFile=/etc/pull.json\n");
    // What holds for all images does not stand in for the file that is named.
    scene.new.write("/usr/lib/ostree/auth.json", scene.right());
    let (in_new, in_current) = (
        scene.new.join("/etc/pull.json"),
        scene.current.join("/etc/pull.json"),
    );
    let message = format!(
        "bound-images.d/app.image -> /usr/share/containers/systemd/app.image:4: AuthFile=/etc/pull.json \
         is in neither the new root ({in_new}) nor the current root ({in_current})"
    );
    assert_eq!(scene.pull_is_refused(), message);
    assert!(
        scene.proxy.requests().is_empty(),
        "{:?}",
        scene.proxy.requests()
    );

    for verb in ["list", "plan"] {
        let auth = scene.run(&[verb, "--json"]).code(0).json()["items"][0]["auth"].clone();
        assert_eq!(
            (&auth["source"], &auth["error"]),
            (&"unavailable".into(), &message.as_str().into())
        );
        let table = scene.run(&[verb, "-v"]);
        assert!(
            table
                .code(0)
                .stdout()
                .contains(&format!("unavailable: {message}")),
            "{table}"
        );
    }

    scene.new.write("/etc/pull.json", scene.right());
    scene.pull_arrives();
}

#[test]
fn privileged_a_malformed_auth_file_is_refused_and_not_quoted() {
    let scene = Scene::new();
    scene.bind("AuthFile=/etc/pull.json\n");
    let file = scene.new.join("/etc/pull.json");
    let host = scene.proxy.host();
    let large = format!("{{}}{}", " ".repeat(1 << 20));
    for (contents, problem) in [
        ("".to_owned(), "is not valid JSON (line 1, column 0)"),
        (
            "{\n\"auths\": s3cret-words-of-the-test".into(),
            "is not valid JSON (line 2, column 10)",
        ),
        ("\"s3cret-words-of-the-test\"".into(), "is no JSON object"),
        ("[\"s3cret-words-of-the-test\"]".into(), "is no JSON object"),
        (large, "cannot be read: it is larger than 1024 KiB"),
    ] {
        scene.new.write("/etc/pull.json", &contents);
        assert_eq!(
            scene.pull_is_refused(),
            format!("auth file {file} {problem}"),
            "{contents:.40}"
        );
        assert!(
            scene.proxy.requests().is_empty(),
            "{:?}",
            scene.proxy.requests()
        );
    }
    let message = scene.refused_login("{\"auths\": [\"s3cret-words-of-the-test\"]}");
    assert!(message.ends_with("(line 1, column 10)"), "{message}");
    for login in [
        "\"s3cret-words-of-the-test\"",
        "[\"s3cret-words-of-the-test\"]",
        "{\"auth\": 5}",
    ] {
        let message = scene.refused_login(&format!("{{\"auths\": {{\"{host}\": {login}}}}}"));
        let want =
            format!("auth file {file} is not in the format of containers-auth.json (line 1, ");
        assert!(message.starts_with(&want), "{message}");
        assert!(
            scene.proxy.requests().is_empty(),
            "{:?}",
            scene.proxy.requests()
        );
    }
    // What podman alone can tell: no base64, and no user and password in it.
    for login in ["s3cret-words-of-the-test!", "bm8tY29sb24="] {
        scene.refused_login(&format!(
            "{{\"auths\": {{\"{host}\": {{\"auth\": \"{login}\"}}}}}}"
        ));
    }
    std::fs::remove_file(&file).expect("removing");
    scene.new.make_directory("/etc/pull.json");
    let message = scene.pull_is_refused();
    assert_eq!(
        message,
        format!("auth file {file} cannot be read: it is a directory")
    );
}

#[test]
fn privileged_a_wrong_password_is_tried_once() {
    let scene = Scene::new();
    scene.bind("");
    scene.new.write("/etc/ostree/auth.json", scene.wrong());
    let mut requests = Vec::new();
    for retries in ["0", "3"] {
        scene.proxy.clear();
        let outcome = scene.run(&["pull", "--json", "--retries", retries]);
        let item = outcome.code(11).json()["items"][0].clone();
        assert_eq!(item["result"], "failed");
        assert!(!outcome.stderr().contains("failed, next in"), "{outcome}");
        assert_secret_free(&outcome);
        let lines = scene
            .proxy
            .requests()
            .iter()
            .map(|request| request.line())
            .collect::<Vec<_>>();
        assert!(!lines.is_empty());
        let manifests = scene.proxy.count_matching("/v2/app/manifests/");
        assert!(manifests <= 1, "{lines:?}");
        requests.push(lines);
    }
    assert_eq!(requests[0], requests[1]);

    scene.new.write("/etc/ostree/auth.json", scene.right());
    scene.pull_arrives();
}

#[test]
fn privileged_without_credentials_a_guarded_image_is_refused_once() {
    let scene = Scene::new();
    scene.bind("");
    let outcome = scene.run(&["pull", "--json"]);
    outcome.code(11);
    assert!(!outcome.stderr().contains("failed, next in"), "{outcome}");
    assert!(scene.proxy.count_matching("/v2/app/manifests/") <= 1);
    scene.source_is("anonymous", None);
}

#[test]
fn privileged_one_image_with_bad_credentials_does_not_stop_the_others() {
    let scene = Scene::new();
    let open = Registry::plain();
    let first = AppImage::tiny("first").push(&open, "first", "v1");
    let last = AppImage::tiny("last").push(&open, "last", "v1");
    scene.bind("AuthFile=/etc/pull.json\n");
    scene.new.write("/etc/pull.json", "{");
    scene
        .new
        .bind_image("a-first", &first.reference)
        .bind_image("z-last", &last.reference);

    let outcome = scene.run(&["pull", "--json"]);
    let items = outcome.code(11).json()["items"].clone();
    let results = [0, 1, 2].map(|item| {
        items[item]["result"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    assert_eq!(results, ["fetched", "failed", "fetched"]);
    let store = scene.host.store();
    assert_eq!(store.image_id_of(&first.reference), Some(first.image_id));
    assert_eq!(store.image_id_of(&last.reference), Some(last.image_id));
    assert_eq!(store.images().len(), 2);

    scene.new.write("/etc/pull.json", scene.right());
    scene.pull_arrives();
    assert_eq!(store.images().len(), 3);
}
