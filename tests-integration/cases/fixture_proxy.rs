//! Tests of the proxy that fails on purpose.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests_integration::{AppImage, Fault, FaultProxy, Layer, Registry, Rule};

use super::fixture::{MIB, host_with_store};

#[test]
fn privileged_proxy_faults_reach_the_client_as_often_as_asked() {
    let registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let base = Layer::new().random("data", MIB, 3);
    let image = AppImage::new([base]).push(&registry, "app", "v1");
    let name = image.at(&proxy.host());
    let host = host_with_store(&[&proxy.host()]);
    let pull = || host.store_podman(&["pull", &name]);
    let blob = "GET /v2/app/blobs/";

    let unavailable = Fault::Status(503, "no".to_owned());
    proxy.set_rules([Rule::on("GET /v2/app/manifests/v1", unavailable).times(1)]);
    assert!(pull().code(125).stderr().contains("503"));
    proxy.set_rules([Rule::on("GET /v2/", Fault::Html)]);
    assert!(pull().code(125).stderr().contains("invalid character '<'"));
    proxy.set_rules([Rule::on(blob, Fault::FlipByte)]);
    pull().code(125);
    proxy.set_rules([Rule::on(blob, Fault::Truncate(1000))]);
    pull().code(125);
    assert!(host.store().images().is_empty());

    proxy.set_rules([Rule::on("GET /v2/app/manifests/", Fault::Reset)]);
    pull().code(125);
    proxy.set_rules([Rule::on(
        blob,
        Fault::Slow {
            bytes_per_sec: 2 << 20,
        },
    )]);
    let start = Instant::now();
    pull().code(0);
    assert!(
        start.elapsed() > Duration::from_millis(400),
        "1 MiB at 2 MiB/s"
    );
}

/// Sends a request and reads the answer until it ends, or until nothing came for a while.
fn raw_answer(proxy: &FaultProxy, request: &str) -> String {
    let mut connection = TcpStream::connect(proxy.host()).expect("connecting to the proxy");
    let patience = Some(Duration::from_millis(300));
    connection
        .set_read_timeout(patience)
        .expect("setting a time limit");
    write!(
        connection,
        "{request}\r\nHost: x\r\nRange: bytes=10-13\r\n\r\n"
    )
    .expect("asking");
    let mut answer = Vec::new();
    let ended = connection.read_to_end(&mut answer).is_ok();
    format!("{} ended={ended}", String::from_utf8_lossy(&answer))
}

#[test]
fn proxy_passes_ranges_and_keeps_stalled_connections_open() {
    let mut registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let blob = format!("GET /v2/app/blobs/sha256:{} HTTP/1.1", image.image_id);

    let passed = raw_answer(&proxy, &blob);
    assert!(
        passed.starts_with("HTTP/1.1 206") && passed.ends_with("\r\n\r\nture ended=true"),
        "{passed}"
    );
    assert_eq!(proxy.requests()[0].header("range"), Some("bytes=10-13"));
    let too_many = Fault::TooManyRequests {
        retry_after_secs: 7,
    };
    proxy.set_rules([
        Rule::on("/blobs/", Fault::StallAfter(2)).times(1),
        Rule::on("/blobs/", Fault::Truncate(1)).times(1),
        Rule::on("/blobs/", too_many).times(1),
        Rule::on("/blobs/", Fault::Stall),
    ]);
    assert!(raw_answer(&proxy, &blob).ends_with("\r\n\r\ntu ended=false"));
    assert!(raw_answer(&proxy, &blob).ends_with("\r\n\r\nt ended=true"));
    assert!(raw_answer(&proxy, &blob).contains("Retry-After: 7\r\n"));
    assert_eq!(raw_answer(&proxy, &blob), " ended=false");
    proxy.set_rules([]);
    registry.stop();
    assert!(raw_answer(&proxy, &blob).starts_with("HTTP/1.1 502"));
}

#[test]
fn privileged_a_stalled_pull_can_be_watched_and_killed() {
    let registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let host = host_with_store(&[&proxy.host()]);
    proxy.set_rules([Rule::on("GET /v2/app/manifests/", Fault::Stall)]);

    let name = image.at(&proxy.host());
    let script = format!("podman pull {name} & wait");
    let mut shell = host.spawn_program("sh", &["-c", &script]);
    while proxy.count_matching("GET /v2/app/manifests/") == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(shell.is_running());
    let executable = std::fs::read_link(format!("/proc/{}/exe", shell.pid()));
    assert!(executable.is_ok_and(|path| !path.ends_with("nsenter")));
    let killed = shell.kill_9();
    assert_eq!(killed.signal_optional(), Some(9));
    let survivors = host.processes();
    let is_gone = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_err();
    assert!(
        survivors.iter().any(|pid| !is_gone(pid)),
        "podman outlives the shell"
    );
    drop(host);
    assert!(survivors.iter().all(is_gone), "but not the host");
}
