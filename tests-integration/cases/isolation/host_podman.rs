//! The host's own podman and its containers do not notice that we were there.

use tests_integration::{AppImage, Layer};

use super::super::bench::{App, Bench};

/// An image that can run for a while.
fn push_sleeper(bench: &Bench) -> App {
    let image = AppImage::new([Layer::new().program("/bin/sleep")]).command(&["/bin/sleep", "600"]);
    let app = bench.push(&image, "sleeper");
    bench.bind("sleeper", &app);
    app
}

fn state_of(bench: &Bench, container: &str) -> String {
    let inspect = [
        "inspect",
        "--format={{.State.Status}} {{.State.Pid}}",
        container,
    ];
    bench
        .host
        .store()
        .main_podman(&inspect)
        .code(0)
        .stdout()
        .trim()
        .to_owned()
}

/// podman looks after the containers of the last boot once a boot. A podman that ran earlier, on another store, must
/// not make it believe that this has been done.
#[test]
fn privileged_the_hosts_containers_start_after_a_reboot_although_we_ran_first() {
    let mut bench = Bench::new();
    let app = push_sleeper(&bench);
    bench.assert_completes(&[&app]);
    let name = bench.name(&app);
    bench
        .host
        .store()
        .run_container(&["--detach", "--name=c1"], &name)
        .code(0);
    assert!(state_of(&bench, "c1").starts_with("running "));

    bench.host.reboot();
    bench.proxy.clear();
    bench.pull(&[]).code(0);
    assert!(bench.proxy.count_matching("/manifests/") > 0, "podman ran");
    assert!(!bench.host.run_directory().join("libpod/alive").exists());

    let state = state_of(&bench, "c1");
    assert!(
        !state.starts_with("running"),
        "the container died with the last boot: {state}"
    );
    bench.host.store().main_podman(&["start", "c1"]).code(0);
    let state = state_of(&bench, "c1");
    let pid = state
        .strip_prefix("running ")
        .unwrap_or_else(|| panic!("{state}"));
    assert!(
        bench
            .host
            .processes()
            .contains(&pid.parse().expect("a process ID"))
    );
    bench
        .host
        .store()
        .main_podman(&["rm", "--force", "--time=0", "c1"])
        .code(0);
}

#[test]
fn privileged_a_container_runs_on_while_we_pull() {
    let bench = Bench::new();
    let app = push_sleeper(&bench);
    bench.assert_completes(&[&app]);
    bench
        .host
        .store()
        .run_container(&["--detach", "--name=c1"], &bench.name(&app))
        .code(0);
    let before = state_of(&bench, "c1");
    assert!(before.starts_with("running "));

    bench.bind_tiny("other");
    bench.pull(&[]).code(0);
    assert_eq!(state_of(&bench, "c1"), before);
    let second = ["--rm", "--entrypoint=[\"/bin/sleep\",\"0\"]"];
    bench
        .host
        .store()
        .run_container(&second, &bench.name(&app))
        .code(0);
    bench
        .host
        .store()
        .main_podman(&["rm", "--force", "--time=0", "c1"])
        .code(0);
}
