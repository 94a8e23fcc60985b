//! Times `bound-images` against upstream bootc's sequence, in the same run, and prints ratios.
//!
//! Upstream calls `podman image exists` for each image and `podman image pull` for each that is
//! missing, one after another. Here that sequence enters its mount namespace only once, which
//! favours it. Runs of the two alternate; a ratio is peer time by our time, so above 1 we are
//! faster. Neither verifying nor flushing is part of the peer's sequence; both are part of ours.

use std::time::{Duration, Instant};

use tests_integration::{AppImage, Layer, OsRoot, PushedImage, Registry, TestHost};

const MIB: usize = 1 << 20;
const ROUNDS: usize = 5;

/// Upstream's sequence; the first argument is the store, the others are images.
const UPSTREAM: &str = r#"
set -e
mkdir -p /run/bootc/storage /run/libpod "$1"
exec 3</run/bootc/storage
mount --bind "$1" /run/bootc/storage
mount -t tmpfs tmpfs /run/libpod
shift
podman="podman --root /run/bootc/storage --runroot /proc/self/fd/3"
for image in "$@"; do
    $podman image exists "$image" || $podman image pull --quiet "$image"
done
"#;

struct Side(TestHost);

impl Side {
    fn new(registry: &Registry) -> Self {
        let host = TestHost::new();
        host.set_insecure_registries(&[&registry.host()]);
        Self(host)
    }

    fn ours(&self, root: &OsRoot) -> Duration {
        let start = Instant::now();
        let arguments = ["pull", "--quiet", "--policy", "missing", "--root"];
        let arguments: Vec<&str> = arguments
            .into_iter()
            .chain([root.path().as_str()])
            .collect();
        self.0.bound_images(&arguments).code(0);
        start.elapsed()
    }

    fn upstream(&self, images: &[String]) -> Duration {
        let store = self.0.store_path();
        let mut arguments = vec![
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            UPSTREAM,
            "sh",
        ];
        arguments.push(store.as_str());
        arguments.extend(images.iter().map(String::as_str));
        let start = Instant::now();
        self.0.run("unshare", &arguments).code(0);
        start.elapsed()
    }
}

fn main() {
    let registry = Registry::plain();
    println!("median of {ROUNDS} rounds; ratio = upstream / bound-images");
    println!(
        "{:<44} {:>12} {:>12} {:>7}",
        "case", "upstream", "bound-images", "ratio"
    );
    let cold = images(&registry, "cold", 8, 24 * MIB, 2 * MIB);
    compare_cold("8 images on one 24 MiB base, empty store", &registry, &cold);
    let many = images(&registry, "many", 20, MIB, 1024);
    compare_warm("20 images by digest, all present", &registry, &many);
}

/// Images that share a base; sizes are of incompressible content.
fn images(
    registry: &Registry,
    prefix: &str,
    count: u64,
    base_bytes: usize,
    top_bytes: usize,
) -> Vec<String> {
    let base = Layer::new().random("usr/base", base_bytes, 1);
    let push = |number: u64| -> PushedImage {
        let top = Layer::new().random("usr/top", top_bytes, 100 + number);
        AppImage::new([base.clone(), top]).push(registry, &format!("{prefix}{number}"), "v1")
    };
    (0..count)
        .map(|number| push(number).pinned_at(&registry.host()))
        .collect()
}

fn root_binding(images: &[String]) -> OsRoot {
    let root = OsRoot::new();
    for (number, image) in images.iter().enumerate() {
        root.bind_image(&format!("app{number:02}"), image);
    }
    root
}

fn compare_cold(case: &str, registry: &Registry, images: &[String]) {
    let root = root_binding(images);
    let rounds = (0..ROUNDS).map(|_| {
        let upstream = Side::new(registry).upstream(images);
        (upstream, Side::new(registry).ours(&root))
    });
    print_row(case, rounds.collect());
}

fn compare_warm(case: &str, registry: &Registry, images: &[String]) {
    let root = root_binding(images);
    let (theirs, ours) = (Side::new(registry), Side::new(registry));
    theirs.upstream(images);
    ours.ours(&root);
    let rounds = (0..ROUNDS).map(|_| (theirs.upstream(images), ours.ours(&root)));
    print_row(case, rounds.collect());
}

fn print_row(case: &str, rounds: Vec<(Duration, Duration)>) {
    let (upstream, ours): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    let (upstream, ours) = (median(upstream), median(ours));
    println!(
        "{case:<44} {:>10} ms {:>10} ms {:>6.2}x",
        upstream.as_millis(),
        ours.as_millis(),
        upstream.as_secs_f64() / ours.as_secs_f64()
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
