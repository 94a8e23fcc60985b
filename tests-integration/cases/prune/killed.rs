//! A prune may be killed at any moment: what is needed stays whole, and the next run completes.

use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tests_integration::{OsRoot, PushedImage};

use super::leftovers::wait_until;
use super::{Bench, ids, ids_of, prune_args, root_binding};

/// How often a prune must really have been killed, and how often that is tried.
const KILLS: u32 = 12;
const ATTEMPTS: u32 = 60;

/// A store that can be put back to the moment before a prune.
struct Scene {
    bench: Bench,
    needed: [PushedImage; 2],
    root: OsRoot,
    saved: Utf8PathBuf,
}

impl Scene {
    fn new() -> Self {
        let bench = Bench::new();
        let needed = ["one", "two"].map(|name| bench.push(name, "v1"));
        let mut references: Vec<String> = (0..6)
            .map(|number| bench.push("unneeded", &number.to_string()).reference)
            .collect();
        references.extend(needed.iter().map(|image| image.reference.clone()));
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        bench.pull(&root_binding(&references));
        let scene = Self {
            root: root_binding(&[&needed[0].reference, &needed[1].reference]),
            saved: bench.host.sysroot().with_file_name("sysroot.saved"),
            bench,
            needed,
        };
        let save = [
            "-a",
            scene.bench.host.sysroot().as_str(),
            scene.saved.as_str(),
        ];
        scene.bench.host.run("cp", &save).code(0);
        scene
    }

    fn restore(&self) {
        let script = "rm -rf \"$1/ostree\" && cp -a \"$2/ostree\" \"$1/\"";
        let sysroot = self.bench.host.sysroot().as_str();
        let args = ["-c", script, "restore", sysroot, self.saved.as_str()];
        self.bench.host.run("sh", &args).code(0);
    }

    /// Starts a prune, kills it when told to, and says whether it was still running.
    fn kill_when(&self, moment: impl FnOnce()) -> bool {
        let prune = self
            .bench
            .host
            .spawn(&prune_args(&[&self.root], &["--quiet"]));
        moment();
        let was_killed = prune.kill_9().signal_optional() == Some(9);
        wait_until("podman has ended as well", || {
            self.bench.host.processes().is_empty()
        });
        was_killed
    }

    #[track_caller]
    fn assert_needed_are_whole_and_next_run_completes(&self) {
        for (image, version) in self.needed.iter().zip(["one:v1", "two:v1"]) {
            self.bench.assert_whole(&self.root, image, version);
        }
        let report = self.bench.prune(&[&self.root]);
        let needed = ids_of(&[&self.needed[0], &self.needed[1]]);
        assert_eq!(ids(&report, "kept"), needed);
        assert_eq!(self.bench.host.store().image_ids(), needed);
        let tmp = self
            .bench
            .host
            .sysroot()
            .join("ostree/bootc/bound-images/tmp");
        assert_eq!(tests_integration::tree::walk(&tmp), Vec::<String>::new());
        for (image, version) in self.needed.iter().zip(["one:v1", "two:v1"]) {
            self.bench.assert_whole(&self.root, image, version);
        }
    }

    fn image_count(&self) -> usize {
        let path = self
            .bench
            .host
            .store_path()
            .join("overlay-images/images.json");
        let content = std::fs::read(path).unwrap_or_default();
        let records: Result<Vec<serde_json::Value>, _> = serde_json::from_slice(&content);
        records.map_or(usize::MAX, |records| records.len())
    }
}

#[test]
fn privileged_a_prune_killed_at_any_moment_leaves_what_is_needed_whole() {
    let scene = Scene::new();
    let start = Instant::now();
    scene.bench.try_prune(&[&scene.root], &["--quiet"]).code(0);
    let whole_run = start.elapsed();
    let mut kills = 0;
    for attempt in 0..ATTEMPTS {
        scene.restore();
        let delay: Duration = whole_run * (attempt % KILLS) / KILLS;
        // Not to wait for anything: this is the moment of the kill.
        kills += u32::from(scene.kill_when(|| std::thread::sleep(delay)));
        scene.assert_needed_are_whole_and_next_run_completes();
        if kills == KILLS {
            return;
        }
    }
    panic!("only {kills} prunes were killed before their end");
}

#[test]
fn privileged_a_prune_killed_between_two_removals_is_completed_by_the_next() {
    let scene = Scene::new();
    for remaining in (3..8).rev() {
        scene.restore();
        assert_eq!(scene.image_count(), 8);
        scene.kill_when(|| wait_until("images are gone", || scene.image_count() <= remaining));
        assert!(scene.image_count() <= remaining);
        scene.assert_needed_are_whole_and_next_run_completes();
    }
}
