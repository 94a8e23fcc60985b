//! The host's mount table never changes, not even for a moment.

use rustix::process::Signal;
use tests_integration::{Fault, Rule, Running, TestHost};

use super::super::bench::{Bench, column, items, wait_until, with_base};

/// A process of the host through which its mounts can be read without starting others.
struct Witness(Running);

impl Witness {
    fn on(host: &TestHost) -> Self {
        let sleeping = host.spawn_program("sleep", &["600"]);
        let program = format!("/proc/{}/exe", sleeping.pid());
        wait_until("the witness to be on the host", || {
            std::fs::read_link(&program).is_ok_and(|path| !path.ends_with("nsenter"))
        });
        Self(sleeping)
    }

    fn mounts(&self) -> String {
        let path = format!("/proc/{}/mountinfo", self.0.pid());
        std::fs::read_to_string(path).expect("reading the host's mounts")
    }
}

fn shared_bench() -> Bench {
    Bench::on(TestHost::options().shared_mounts().start())
}

/// Whether a podman of the host sees the store at its alias, so that a leak could be seen.
fn podman_is_in_its_namespace(bench: &Bench) -> bool {
    bench.podmans().iter().any(|pid| {
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"));
        mounts.is_ok_and(|mounts| {
            mounts.contains(" /run/bootc/storage ") && mounts.contains(" /run/libpod ")
        })
    })
}

#[test]
fn privileged_the_mount_table_is_the_same_before_during_and_after_a_pull() {
    let bench = shared_bench();
    let app = bench.push(&with_base("app", 200_000), "app");
    bench.bind("app", &app);
    for directory in ["/", "/run"] {
        let propagation = bench
            .host
            .run("findmnt", &["-n", "-o", "PROPAGATION", directory]);
        // One line for each mount there: the test's own /run lies over that of the machine.
        let shown = propagation.code(0).stdout();
        assert!(
            shown.lines().all(|line| line == "shared"),
            "{directory}: {shown}"
        );
    }
    let witness = Witness::on(&bench.host);
    let before = witness.mounts();
    assert!(before.contains(" /run ") && !before.contains("/run/bootc"));

    let slow = Fault::Slow {
        bytes_per_sec: 300_000,
    };
    bench.proxy.set_rules([Rule::on("/blobs/", slow)]);
    let mut pull = bench.spawn_pull(&[]);
    let (mut samples, mut with_podman) = (0, 0);
    while pull.is_running() {
        assert_eq!(witness.mounts(), before, "during the pull");
        samples += 1;
        if samples % 100 == 0 {
            with_podman += usize::from(podman_is_in_its_namespace(&bench));
        }
    }
    pull.wait().code(0);
    assert_eq!(witness.mounts(), before, "after the pull");
    assert!(with_podman > 0, "podman was not seen in {samples} samples");
    drop(witness);
    bench.assert_whole(&app);
}

#[test]
fn privileged_the_mount_table_is_the_same_after_kills_and_failures() {
    let bench = shared_bench();
    bench.bind_tiny("app");
    let witness = Witness::on(&bench.host);
    let before = witness.mounts();
    for signal in [Signal::TERM, Signal::KILL] {
        bench
            .proxy
            .set_rules([Rule::on("/manifests/", Fault::Stall)]);
        bench.proxy.clear();
        let mut pull = bench.spawn_pull(&[]);
        wait_until("a request", || {
            bench.proxy.count_matching("/manifests/") > 0
        });
        pull.signal(signal);
        let _ = pull.wait();
        wait_until("podman to end", || bench.podmans().is_empty());
        assert_eq!(witness.mounts(), before, "{signal:?}");
    }
    bench.proxy.set_rules([Rule::on("/", Fault::Html)]);
    bench.pull(&["--retries", "0"]).code(12);
    assert_eq!(witness.mounts(), before);
}

/// As on a booted ostree host.
#[test]
fn privileged_a_read_only_sysroot_is_written_to_and_stays_read_only() {
    let bench = shared_bench();
    let app = bench.bind_tiny("app");
    let sysroot = bench.host.sysroot().as_str();
    bench
        .host
        .run("mount", &["--bind", sysroot, sysroot])
        .code(0);
    bench
        .host
        .run("mount", &["-o", "remount,bind,ro", sysroot])
        .code(0);
    let witness = Witness::on(&bench.host);
    let before = witness.mounts();

    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(column(&pulled, "result"), ["fetched"]);
    assert_eq!(witness.mounts(), before);
    let refused = bench.host.run("touch", &[&format!("{sysroot}/file")]);
    assert!(
        refused.code(1).stderr().contains("Read-only file system"),
        "{refused}"
    );
    bench.host.run("umount", &["--lazy", sysroot]).code(0);
    app.assert_whole_in(&bench.host);
}

/// What podman keeps for the time of a boot stays in the one directory that is ours.
#[test]
fn privileged_a_pull_leaves_no_file_in_run_but_its_runroot_and_locks() {
    let bench = shared_bench();
    bench.bind_tiny("app");
    bench.pull(&[]).code(0);
    let run = bench.host.run_directory();
    let mut files = tests_integration::tree::walk(&run);
    // podman 5 leaves netavark's empty lock beside those of other programs.
    let theirs = ["bootc/storage", "lock"].map(|name| run.join(name));
    files.retain(|path| !path.is_dir() && !theirs.iter().any(|known| path.starts_with(known)));
    assert_eq!(files, [] as [&str; 0]);
    assert!(
        run.join("libpod").is_dir(),
        "the place that is covered for podman"
    );
}
