//! SIGKILL at moments spread over a pull, on fresh stores and on one that fills.

use std::time::{Duration, Instant};

use tests_integration::TestHost;
use tests_integration::app_image::random_bytes;

use super::super::bench::{App, Bench, with_base};

/// Per test; there are two.
const KILLS: u32 = 15;
const IMAGES: usize = 3;
const OWN_BYTES: usize = 1_500_000;

/// Chooses the moments of kills: spread over what a pull takes, the same in every run.
struct Moments {
    duration: Duration,
    jitters: Vec<u8>,
    taken: u32,
    missed: u32,
}

impl Moments {
    fn over_a_pull(bench: &Bench, seed: u64) -> Self {
        let start = Instant::now();
        bench.pull(&[]).code(0);
        Self {
            duration: start.elapsed(),
            jitters: random_bytes(KILLS as usize, seed),
            taken: 0,
            missed: 0,
        }
    }

    /// The next moment after a pull's start; none when there were enough.
    fn next(&self) -> Option<Duration> {
        let jitter = f64::from(*self.jitters.get(self.taken as usize)?) / 256.0;
        let share = (f64::from(self.taken) + jitter) / f64::from(KILLS);
        Some(self.duration.mul_f64(share))
    }

    /// A pull that ended before its moment is no kill; from then on pulls are taken to be shorter.
    fn count(&mut self, killed: bool) {
        if killed {
            self.taken += 1;
            return;
        }
        self.missed += 1;
        self.duration = self.duration.mul_f64(0.8);
        assert!(self.missed < KILLS, "pulls end before they can be killed");
    }
}

/// Pushes a generation of the images, of which only the base is as in every other, and binds it.
fn push_generation(bench: &Bench, generation: u32) -> Vec<App> {
    let push = |number: usize| {
        let repository = format!("app{number}");
        let app = bench.push(
            &with_base(&format!("{number} of {generation}"), OWN_BYTES),
            &repository,
        );
        bench.bind(&repository, &app);
        app
    };
    (0..IMAGES).map(push).collect()
}

/// Kills a pull at a moment of its run. Returns whether it was not over before.
fn kill_at(bench: &Bench, moment: Duration) -> bool {
    let pull = bench.spawn_pull(&[]);
    std::thread::sleep(moment);
    let killed = pull.kill_9().signal_optional() == Some(9);
    bench.assert_no_process_remains();
    killed
}

/// Panics if podman lists an image that lacks a single byte, or one that nobody pushed.
fn assert_listed_are_whole(bench: &Bench, known: &[App]) {
    for id in listed(bench) {
        let app = known.iter().find(|app| app.pushed.image_id == id);
        app.unwrap_or_else(|| panic!("nobody pushed {id}"))
            .assert_whole_in(&bench.host);
    }
}

/// IDs of the images that can be asked for.
///
/// A podman 5 that was killed between an image's record and its manifest lists no image at all until the next pull.
/// Names are written last, so whatever has one must be whole even then.
fn listed(bench: &Bench) -> Vec<String> {
    let store = bench.host.store();
    let listing = store.podman(&["image", "list", "--all"]);
    if listing.exit_code_optional() == Some(0) || !bench.host.store_path().exists() {
        return store.image_ids();
    }
    let records = bench.host.store_path().join("overlay-images/images.json");
    let records = std::fs::read(records).expect("reading images.json");
    let records: Vec<serde_json::Value> = serde_json::from_slice(&records).expect("whole records");
    let named = records.iter().filter(|record| {
        let names = record["names"].as_array();
        names.is_some_and(|names| !names.is_empty())
    });
    let ids = named.filter_map(|record| record["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[test]
fn privileged_kills_on_fresh_stores_leave_nothing_listed_that_is_damaged() {
    let mut bench = Bench::new();
    let apps = push_generation(&bench, 0);
    let mut moments = Moments::over_a_pull(&bench, 1);
    while let Some(moment) = moments.next() {
        bench.move_to(TestHost::new());
        moments.count(kill_at(&bench, moment));
        // To look with podman is to let it clean up, so every other time the next pull finds what was really left.
        if moments.taken.is_multiple_of(2) {
            assert_listed_are_whole(&bench, &apps);
        }
        bench.assert_completes(&apps.iter().collect::<Vec<_>>());
        assert_eq!(bench.host.store().images().len(), IMAGES);
    }
}

#[test]
fn privileged_kills_on_a_filling_store_leave_nothing_listed_that_is_damaged() {
    let bench = Bench::new();
    let mut known = push_generation(&bench, 0);
    let mut moments = Moments::over_a_pull(&bench, 2);
    let mut generation: u32 = 0;
    while let Some(moment) = moments.next() {
        generation += 1;
        known.extend(push_generation(&bench, generation));
        moments.count(kill_at(&bench, moment));
        if generation.is_multiple_of(2) {
            assert_listed_are_whole(&bench, &known);
        }
        let current: Vec<&App> = known.iter().rev().take(IMAGES).rev().collect();
        bench.assert_completes(&current);
    }
    assert_listed_are_whole(&bench, &known);
    let images = bench.host.store().images().len();
    assert_eq!(
        images,
        known.len(),
        "no pull removes an image that is whole"
    );
}
