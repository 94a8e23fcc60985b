//! Disks that are full.

use tests_integration::{AppImage, Layer, LoopDisk, TestHost};

use super::super::bench::{Bench, column, items};
use super::Victim;

const MIB: usize = 1 << 20;

#[test]
fn privileged_a_full_disk_is_code_13_and_harms_no_image() {
    let disk = LoopDisk::ext4(48 << 20);
    let victim = Victim::on(Bench::on(TestHost::options().sysroot_on(&disk).start()));
    let bench = &victim.bench;
    let big = AppImage::new([
        Layer::new().random("fits", 4 * MIB, 1),
        Layer::new().random("does-not", 12 * MIB, 2),
    ]);
    let filler = bench.host.sysroot().join("filler");
    std::fs::write(&filler, vec![1; 22 * MIB]).expect("the filler fits");
    let big = bench.push(&big, "wanted");

    for _ in 0..2 {
        let failure = victim.fails([], &[], 13);
        assert!(
            failure.reason.contains("no space left on device"),
            "{}",
            failure.reason
        );
        assert_eq!(failure.retries(), 0);
    }
    std::fs::remove_file(&filler).expect("removing the filler");
    let pulled = items(bench.pull(&[]).code(0));
    assert_eq!(column(&pulled, "result"), ["present", "fetched"]);
    bench.assert_whole(&big);
    victim.kept.assert_whole_in(&bench.host);
    bench.assert_swept();
}

#[test]
fn privileged_a_smaller_image_arrives_where_a_big_one_did_not_fit() {
    let disk = LoopDisk::ext4(24 << 20);
    let victim = Victim::on(Bench::on(TestHost::options().sysroot_on(&disk).start()));
    let big = AppImage::new([Layer::new().random("too-much", 30 * MIB, 1)]);
    big.push(&victim.bench.registry, "wanted", "v1");
    victim.fails([], &[], 13);
    let smaller = AppImage::new([Layer::new().random("little", MIB, 1)]);
    let smaller = victim.bench.push(&smaller, "wanted");
    victim.bench.pull(&[]).code(0);
    victim.bench.assert_whole(&smaller);
}

#[test]
fn privileged_a_disk_without_room_for_a_store_is_code_13_and_gets_none() {
    let disk = LoopDisk::ext4(16 << 20);
    let bench = Bench::on(TestHost::options().sysroot_on(&disk).start());
    let app = bench.bind_tiny("app");
    let filler = bench.host.sysroot().join("filler");
    let fill = format!("cat /dev/zero >{filler}");
    let _ = bench.host.run("sh", &["-c", &fill]);
    let failed = bench.pull(&[]);
    assert!(
        failed.code(13).stderr().contains("no space left on device"),
        "{failed}"
    );
    assert!(!bench.host.store_path().exists());
    assert!(
        !bench
            .host
            .sysroot()
            .join("ostree/bootc/storage.tmp")
            .exists()
    );

    std::fs::remove_file(&filler).expect("removing the filler");
    bench.assert_completes(&[&app]);
}
