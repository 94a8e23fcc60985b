//! Progress for programs, and two runs at a time.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests_integration::host::binary_under_test;
use tests_integration::scratch::ScratchDir;
use tests_integration::{Fault, Rule, Running};

use super::super::bench::{Bench, column, items, wait_until, with_base};

/// Pulls with descriptor 9 open on a file, and returns the events.
fn pull_with_events(bench: &Bench, options: &[&str]) -> (i32, Vec<Value>) {
    let scratch = ScratchDir::new("events");
    let file = scratch.file("events", "");
    let script = r#"exec 9>>"$1"; shift; exec "$@""#;
    let binary = binary_under_test();
    let binary = binary.to_str().expect("a UTF-8 path");
    let (sysroot, root) = (bench.host.sysroot(), bench.root.path());
    let shell = ["-c", script, "events", file.as_str(), binary];
    let pull = [
        "--sysroot",
        sysroot.as_str(),
        "pull",
        "--progress-fd=9",
        "--root",
        root.as_str(),
    ];
    let pulled = bench.host.run("sh", &[&shell[..], &pull, options].concat());
    let lines = std::fs::read_to_string(&file).expect("reading events");
    let events = lines.lines().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{pulled}"))
    });
    (
        pulled.exit_code_optional().expect("a status"),
        events.collect(),
    )
}

#[test]
fn privileged_progress_goes_to_a_descriptor_as_json_lines() {
    let bench = Bench::new();
    let web = bench.push(&with_base("web", 10_000), "web");
    bench.bind("web", &web);
    bench
        .root
        .bind_image("none", &format!("{}/none:v1", bench.proxy.host()));
    let name = bench.name(&web);
    let unavailable = Fault::Status(503, String::new());
    bench
        .proxy
        .set_rules([Rule::on("/v2/web/manifests/", unavailable).times(1)]);

    let (exit, events) = pull_with_events(&bench, &["--quiet", "--retries=1"]);
    assert_eq!(exit, 18);
    let kinds = column(&events, "event");
    let expected = [
        "pullStarted",
        "pullFailed",
        "pullStarted",
        "pullRetried",
        "flushing",
        "pullFinished",
    ];
    assert_eq!(kinds, expected, "{events:?}");
    let started = json!({
        "event": "pullStarted", "image": name, "position": 2, "total": 2, "auth": "anonymous",
    });
    assert_eq!(events[2], started);
    assert_eq!(
        (&events[3]["attempt"], &events[3]["image"]),
        (&1.into(), &name.as_str().into())
    );
    let finished =
        json!({ "event": "pullFinished", "image": name, "bytesFetched": web.blob_bytes() });
    assert_eq!(events[5], finished);
}

#[test]
fn privileged_a_closed_progress_descriptor_is_refused_before_anything_is_done() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let refused = bench.pull(&["--progress-fd", "77"]);
    assert!(
        refused
            .code(2)
            .stderr()
            .contains("--progress-fd 77: no such descriptor is open"),
        "{refused}"
    );
    assert!(!bench.state_directory().exists());
}

/// A pull that hangs in its first request, and holds the lock.
fn hanging_pull(bench: &Bench) -> Running {
    bench
        .proxy
        .set_rules([Rule::on("/manifests/", Fault::Stall)]);
    let running = bench.spawn_pull(&[]);
    wait_until("a request", || {
        bench.proxy.count_matching("/manifests/") > 0
    });
    bench.proxy.set_rules([]);
    running
}

#[test]
fn privileged_a_second_run_gives_up_or_waits_and_says_for_whom() {
    let bench = Bench::new();
    let app = bench.bind_tiny("app");
    let mut first = hanging_pull(&bench);
    let holder = format!("bound-images pull (pid {})", first.pid());

    let refused = bench.pull(&["--no-wait"]);
    let lock = bench.state_directory().join("lock");
    let message = format!("error: {lock} is held by {holder}; run again when it has ended");
    assert!(refused.code(15).stderr().contains(&message), "{refused}");
    assert_eq!(refused.stdout(), "");

    let mut second = bench.spawn_pull(&[]);
    let waiting = format!("Waiting for {holder}");
    wait_until("the second run to wait", || {
        second.stderr_so_far().contains(&waiting)
    });
    assert!(second.is_running() && first.is_running());
    first.signal(Signal::TERM);
    first.wait().code(1);
    let completed = second.wait();
    assert_eq!(column(&items(completed.code(0)), "result"), ["fetched"]);
    assert_eq!(
        completed.stderr().matches("Waiting for").count(),
        1,
        "{completed}"
    );
    bench.assert_whole(&app);
    bench.assert_swept();
}

#[test]
fn privileged_a_run_that_waits_can_be_interrupted() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let first = hanging_pull(&bench);
    let mut second = bench.spawn_pull(&[]);
    wait_until("the second run to wait", || {
        second.stderr_so_far().contains("Waiting for")
    });
    second.signal(Signal::INT);
    let interrupted = second.wait();
    assert!(
        interrupted.code(1).stderr().contains("interrupted"),
        "{interrupted}"
    );
    drop(first);
}
