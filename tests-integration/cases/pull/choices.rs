//! Which instance of an index is taken, and what one bad image does to the others.

use serde_json::Value;
use tests_integration::app_image::{other_architecture, this_architecture};
use tests_integration::{AppImage, Fault, PushedIndex, Rule};

use super::super::bench::{Bench, column, items};

fn declare(bench: &Bench, image: &str, keys: &str) {
    let text = format!("[Image]\nImage={image}\nTLSVerify=false\n{keys}");
    let file = "/usr/share/containers/systemd/multi.image";
    bench.root.quadlet(file, &text).link("multi.image", file);
}

fn push_index(bench: &Bench) -> PushedIndex {
    let instance = |architecture: &str| {
        let image = AppImage::tiny(&format!("for {architecture}"));
        image.architecture(architecture)
    };
    let instances = [
        instance(other_architecture()),
        instance(this_architecture()),
    ];
    AppImage::push_index(&instances, &bench.registry, "multi", "v1")
}

#[test]
fn privileged_arch_and_os_choose_the_instance_of_an_index() {
    let bench = Bench::new();
    let index = push_index(&bench);
    let [other, this] = [&index.instances[0], &index.instances[1]];
    let host = bench.proxy.host();
    let (tag, pin) = (
        this.at(&host),
        format!("{host}/multi@{}", index.index_digest),
    );
    let foreign = format!("Arch={}\n", other_architecture());
    let own = format!("Arch={}\nOS=linux\n", this_architecture());

    for (image, keys, expected) in [
        (&tag, "", this),
        (&tag, foreign.as_str(), other),
        (&pin, own.as_str(), this),
        (&pin, foreign.as_str(), other),
        (&tag, own.as_str(), this),
        (&tag, foreign.as_str(), other),
    ] {
        declare(&bench, image, keys);
        let fetched = items(bench.pull(&[]).code(0));
        assert_eq!(column(&fetched, "result"), ["fetched"], "{image} {keys}");
        assert_eq!(
            column(&fetched, "id"),
            [expected.image_id.as_str()],
            "{image} {keys}"
        );
        let version = bench
            .host
            .store()
            .read_image_file(&expected.image_id, "etc/version");
        assert_eq!(
            bench.host.store().image_id_of(image),
            Some(expected.image_id.clone())
        );
        let is_foreign = version == format!("for {}", other_architecture());
        assert_eq!(is_foreign, expected.image_id == other.image_id, "{version}");

        let again = items(bench.pull(&["--policy", "missing"]).code(0));
        assert_eq!(column(&again, "result"), ["present"], "{image} {keys}");
    }
    declare(&bench, &pin, &foreign);
    bench.proxy.clear();
    let present = items(bench.pull(&[]).code(0));
    assert_eq!(column(&present, "digest"), [index.index_digest.as_str()]);
    assert_eq!(
        bench.proxy.requests().len(),
        0,
        "the pinned index is present"
    );
}

#[test]
fn privileged_a_platform_that_the_index_lacks_is_not_found() {
    let bench = Bench::new();
    let index = push_index(&bench);
    for keys in ["Arch=s390x\n", "OS=freebsd\n"] {
        declare(&bench, &index.instances[0].at(&bench.proxy.host()), keys);
        let failed = items(bench.pull(&["--retries", "0"]).code(18));
        assert_eq!(column(&failed, "result"), ["failed"]);
    }
    assert_eq!(bench.host.store().images(), []);
}

/// A fault that every request for a repository meets, and the failure of an image that it causes.
fn fault(repository: &str) -> Option<Rule> {
    let blobs = format!("/v2/{repository}/blobs/");
    let manifests = format!("/v2/{repository}/manifests/");
    Some(match repository {
        "secret" => Rule::on(&manifests, Fault::Status(401, String::new())),
        "down" => Rule::on(&manifests, Fault::Status(503, String::new())),
        "evil" => Rule::on(&blobs, Fault::FlipByte),
        _ => return None,
    })
}

#[test]
fn privileged_one_bad_image_stops_no_other_and_the_gravest_failure_decides() {
    for (bad, exit) in [
        (&["down"][..], 12),
        (&["absent"], 18),
        (&["down", "absent"], 18),
        (&["absent", "secret"], 11),
        (&["secret", "evil", "down"], 14),
        (&["down", "evil", "absent", "secret"], 14),
    ] {
        let bench = Bench::new();
        let good = ["first", "zlast"].map(|name| bench.bind_tiny(name));
        for name in bad {
            if *name == "absent" {
                let missing = format!("{}/first:nosuchtag", bench.proxy.host());
                bench.root.bind_image("absent", &missing);
            } else {
                bench.bind_tiny(name);
            }
        }
        bench.proxy.set_rules(bad.iter().copied().filter_map(fault));
        let pulled = bench.pull(&["--retries", "0"]);
        let reported = items(pulled.code(exit));
        assert_eq!(reported.len(), bad.len() + good.len());
        for item in &reported {
            let name = item["name"].as_str().expect("a name");
            if good.iter().any(|app| bench.name(app) == name) {
                assert_eq!(
                    (&item["result"], &item["error"]),
                    (&"fetched".into(), &Value::Null)
                );
                continue;
            }
            assert_eq!(item["result"], "failed", "{item}");
            assert_eq!((&item["id"], &item["digest"]), (&Value::Null, &Value::Null));
            let reason = item["error"].as_str().expect("a reason");
            let message = format!("error: {name}: {reason}");
            assert!(
                pulled.stderr().contains(&message),
                "{message} is not in {pulled}"
            );
        }
        for app in &good {
            bench.assert_whole(app);
        }
        assert_eq!(bench.host.store().images().len(), good.len(), "{bad:?}");
        bench.assert_swept();
    }
}
