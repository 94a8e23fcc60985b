//! Signals in the middle of a pull: to podman behind our back, and to bound-images.

use rustix::process::{Pid, Signal};
use tests_integration::{Fault, Rule, Running};

use super::super::bench::{Bench, column, items, wait_until};
use super::{BLOB, Victim};

/// A pull that hangs in the middle of the wanted image's own layer.
fn hanging_pull(victim: &Victim, options: &[&str]) -> Running {
    let own_layer = format!("{BLOB}{}", victim.wanted.pushed.layer_digests[1]);
    victim.bench.proxy.clear();
    victim
        .bench
        .proxy
        .set_rules([Rule::on(&own_layer, Fault::StallAfter(50_000))]);
    let running = victim.bench.spawn_pull(options);
    wait_until("a blob request", || victim.blob_requests() > 0);
    running
}

fn signal_podman(bench: &Bench, signal: Signal) {
    let podmans = bench.podmans();
    assert!(!podmans.is_empty());
    for pid in podmans {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process ID")).expect("not zero");
        rustix::process::kill_process(pid, signal).expect("podman runs");
    }
}

/// podman 4 exits with 0 after SIGTERM.
#[test]
fn privileged_a_podman_that_is_told_to_end_is_no_success() {
    let victim = Victim::new();
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let running = hanging_pull(&victim, &["--retries", "0"]);
        signal_podman(&victim.bench, signal);
        let failed = running.wait();
        let reported = items(failed.code(1));
        assert_eq!(
            column(&reported, "result"),
            ["present", "failed"],
            "{failed}"
        );
        victim.assert_nothing_is_worse();
    }
    victim.recovers();
}

#[test]
fn privileged_an_interrupted_run_says_so_ends_podman_and_sweeps() {
    let victim = Victim::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut running = hanging_pull(&victim, &[]);
        running.signal(signal);
        let interrupted = running.wait();
        let message = "error: interrupted; what was fetched is kept, run the same command again to complete\n";
        assert!(
            interrupted.code(1).stderr().ends_with(message),
            "{interrupted}"
        );
        assert_eq!(interrupted.stdout(), "");
        victim.assert_nothing_is_worse();
        assert_eq!(victim.bench.host.processes(), [] as [u32; 0]);
    }
    victim.recovers();
}

#[test]
fn privileged_an_interrupt_ends_the_pause_before_another_try() {
    let victim = Victim::new();
    let down = Rule::on(super::MANIFEST, Fault::Status(503, String::new()));
    victim.bench.proxy.set_rules([down]);
    let mut running = victim.bench.spawn_pull(&["--retries", "100"]);
    wait_until("a long pause", || {
        running.stderr_so_far().contains("next in 4 s")
    });
    running.signal(Signal::TERM);
    let interrupted = running.wait();
    assert!(
        interrupted.code(1).stderr().contains("error: interrupted"),
        "{interrupted}"
    );
    assert_eq!(victim.manifest_requests(), 3);
    victim.assert_nothing_is_worse();
    victim.recovers();
}
