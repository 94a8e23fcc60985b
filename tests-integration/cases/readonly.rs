//! A booted ostree host: the sysroot is mounted read-only, and stays so for everybody else.

use tests_integration::{AppImage, OsRoot, Registry, TestHost};

#[test]
fn privileged_a_read_only_sysroot_is_writable_for_the_command_alone() {
    let registry = Registry::plain();
    let image = AppImage::tiny("v1").push(&registry, "app", "v1");
    let host = TestHost::options().shared_mounts().start();
    let sysroot = host.sysroot().as_str();
    host.run("mount", &["--bind", sysroot, sysroot]).code(0);
    host.run("mount", &["-o", "remount,bind,ro", sysroot])
        .code(0);
    host.run("touch", &[&format!("{sysroot}/probe")]).code(1);
    let mounts_before = host.run("cat", &["/proc/self/mountinfo"]).stdout();

    let root = OsRoot::new();
    root.bind_image("app", &image.reference);
    let pulled = host.bound_images(&["pull", "--json", "--root", root.path().as_str()]);
    assert_eq!(pulled.code(0).json()["items"][0]["result"], "fetched");
    let listed = host.bound_images(&["list", "--json", "--root", root.path().as_str()]);
    assert_eq!(listed.code(0).json()["items"][0]["verified"], true);
    root.remove_link("app.image");
    let pruned = host.bound_images(&["prune", "--json", "--root", root.path().as_str()]);
    assert_eq!(
        pruned.code(0).json()["removed"][0]["id"],
        image.image_id.as_str()
    );

    host.run("touch", &[&format!("{sysroot}/probe")]).code(1);
    assert_eq!(
        host.run("cat", &["/proc/self/mountinfo"]).stdout(),
        mounts_before
    );
}
