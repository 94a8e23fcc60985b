//! Power cuts, on a real disk: what had not been forced to it is gone.

use tests_integration::{Fault, LoopDisk, Rule, TestHost};

use super::super::bench::{App, Bench, column, items, wait_until, with_base};
use super::empty_layer_files;

fn disk() -> LoopDisk {
    LoopDisk::ext4(192 << 20)
}

fn host_on(disk: &LoopDisk) -> TestHost {
    TestHost::options().sysroot_on(disk).start()
}

/// Lets the file system commit its journal, as it does every few seconds, without writing any file's data.
fn commit_journal(host: &TestHost) {
    let beside = std::fs::File::create(host.sysroot().join("beside")).expect("creating a file");
    beside.sync_all().expect("committing the journal");
}

fn push_two(bench: &Bench) -> [App; 2] {
    let apps = ["first", "second"].map(|name| bench.push(&with_base(name, 300_000), name));
    for app in &apps {
        bench.bind(&app.pushed.repository, app);
    }
    apps
}

#[test]
fn privileged_a_power_cut_when_pull_returns_harms_no_file_of_any_layer() {
    let after;
    let disk = disk();
    let mut bench = Bench::on(host_on(&disk));
    let apps = push_two(&bench);
    bench.pull(&[]).code(0);
    after = disk.after_power_cut();

    bench.move_to(host_on(&after));
    assert_eq!(empty_layer_files(&bench.host), [] as [&str; 0]);
    assert_eq!(super::layer_files(&bench.host).len(), 16 + 2 * 2);
    let listed = ["list", "--json", "--root", bench.root.path().as_str()];
    let listed = items(bench.host.bound_images(&listed).code(0));
    assert_eq!(column(&listed, "verified"), [true, true]);
    for app in &apps {
        bench.assert_whole(app);
    }
    bench.proxy.clear();
    let pulled = items(bench.pull(&["--policy", "missing"]).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "present"]);
    assert_eq!(bench.proxy.requests().len(), 0);
}

#[test]
fn privileged_what_podman_alone_pulled_before_a_power_cut_is_healed() {
    let (after, later);
    let disk = disk();
    let mut bench = Bench::on(host_on(&disk));
    let apps = push_two(&bench);
    bench.host.store().create_directory();
    for app in &apps {
        bench.podman_pull(app);
    }
    commit_journal(&bench.host);
    after = disk.after_power_cut();

    bench.move_to(host_on(&after));
    assert_ne!(
        empty_layer_files(&bench.host),
        [] as [&str; 0],
        "the cut took nothing"
    );
    assert_eq!(
        bench.host.store().image_ids().len(),
        2,
        "podman notices nothing"
    );
    let pulled = items(bench.pull(&["--policy", "missing"]).code(0));
    assert_eq!(column(&pulled, "result"), ["fetched", "fetched"]);
    later = after.after_power_cut();
    bench.assert_completes(&[&apps[0], &apps[1]]);

    bench.move_to(host_on(&later));
    assert_eq!(
        empty_layer_files(&bench.host),
        [] as [&str; 0],
        "healed, but not flushed"
    );
    bench.assert_completes(&[&apps[0], &apps[1]]);
}

#[test]
fn privileged_what_podman_alone_pulled_is_flushed_once_it_was_checked() {
    let after;
    let disk = disk();
    let mut bench = Bench::on(host_on(&disk));
    let apps = push_two(&bench);
    bench.host.store().create_directory();
    for app in &apps {
        bench.podman_pull(app);
    }
    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(
        column(&pulled, "result"),
        ["present", "present"],
        "it is whole so far"
    );
    after = disk.after_power_cut();

    bench.move_to(host_on(&after));
    assert_eq!(empty_layer_files(&bench.host), [] as [&str; 0]);
    bench.assert_completes(&[&apps[0], &apps[1]]);
}

/// Cuts the power while the second image's own layer stalls; optionally the command is killed first.
fn cut_in_the_middle(
    bench: &mut Bench,
    disk: &LoopDisk,
    second: &App,
    first_id: &str,
    kill: bool,
) -> LoopDisk {
    let own_layer = format!("/blobs/{}", second.pushed.layer_digests[1]);
    bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::StallAfter(100_000))]);
    let running = bench.spawn_pull(&[]);
    wait_until("the second image's blob", || {
        bench.proxy.count_matching(&own_layer) > 0
    });
    let records = bench.host.store_path().join("overlay-images/images.json");
    let records = std::fs::read_to_string(records).expect("reading images.json");
    assert!(
        records.contains(first_id),
        "the first image is recorded: {records}"
    );
    if kill {
        let _ = running.kill_9();
        bench.assert_no_process_remains();
        commit_journal(&bench.host);
        disk.after_power_cut()
    } else {
        commit_journal(&bench.host);
        let after = disk.after_power_cut();
        drop(running);
        after
    }
}

#[test]
fn privileged_a_pull_cut_in_the_middle_is_completed_and_its_half_healed() {
    for kill in [true, false] {
        let after;
        let disk = disk();
        let mut bench = Bench::on(host_on(&disk));
        let [first, second] = push_two(&bench);
        let first_id = first.pushed.image_id.clone();
        after = cut_in_the_middle(&mut bench, &disk, &second, &first_id, kill);

        bench.proxy.set_rules([]);
        bench.move_to(host_on(&after));
        assert_ne!(
            empty_layer_files(&bench.host),
            [] as [&str; 0],
            "the cut took nothing"
        );
        let pulled = bench.assert_completes(&[&first, &second]);
        assert_eq!(column(&pulled, "result"), ["fetched", "fetched"]);
        assert_eq!(empty_layer_files(&bench.host), [] as [&str; 0]);
    }
}

/// The base is complete in podman's eyes and belongs to no image: nothing but its files tells.
#[test]
fn privileged_an_orphan_layer_that_a_cut_emptied_is_not_taken_for_good() {
    let after;
    let disk = disk();
    let mut bench = Bench::on(host_on(&disk));
    let app = bench.push(&with_base("app", 300_000), "app");
    bench.bind("app", &app);
    let own_layer = format!("/blobs/{}", app.pushed.layer_digests[1]);
    bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::StallAfter(100_000))]);
    let running = bench.spawn_pull(&[]);
    let records = bench.host.store_path().join("overlay-layers/layers.json");
    let base = app.pushed.layer_diff_ids[0].clone();
    wait_until("the base to be unpacked", || {
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        text.contains(&base) && !text.contains("incomplete")
    });
    let _ = running.kill_9();
    bench.assert_no_process_remains();
    commit_journal(&bench.host);
    after = disk.after_power_cut();

    bench.proxy.set_rules([]);
    bench.move_to(host_on(&after));
    let records = bench.host.store_path().join("overlay-layers/layers.json");
    let text = std::fs::read_to_string(records).expect("reading layers.json");
    assert!(text.contains(&base), "{text}");
    assert_ne!(
        empty_layer_files(&bench.host),
        [] as [&str; 0],
        "the cut took nothing"
    );
    assert_eq!(bench.host.store().image_ids(), [] as [&str; 0]);
    let pulled = bench.assert_completes(&[&app]);
    assert_eq!(column(&pulled, "result"), ["fetched"]);
}
