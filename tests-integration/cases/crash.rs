//! Kills, power cuts and damage: what is listed is whole, and the next pull completes and heals.

mod damage;
mod kill;
mod leftovers;
mod power_cut;
mod records;

use camino::Utf8PathBuf;
use tests_integration::TestHost;
use tests_integration::tree::walk;

use super::bench::App;

/// Every file of every layer in the store, records of images or not.
fn layer_files(host: &TestHost) -> Vec<Utf8PathBuf> {
    let overlay = host.store_path().join("overlay");
    let mut files = walk(&overlay);
    files.retain(|path| {
        let inside = path.strip_prefix(&overlay).expect("walked from there");
        inside
            .components()
            .nth(1)
            .is_some_and(|part| part.as_str() == "diff")
            && path.is_file()
    });
    files
}

/// Files of layers that lost their contents. No image of these tests has an empty file.
fn empty_layer_files(host: &TestHost) -> Vec<Utf8PathBuf> {
    let mut files = layer_files(host);
    files.retain(|path| path.metadata().is_ok_and(|metadata| metadata.len() == 0));
    files
}

/// The directory of the layer that only this image has, `overlay/ID`.
#[track_caller]
fn own_layer_directory(host: &TestHost, app: &App) -> Utf8PathBuf {
    let marks = |path: &Utf8PathBuf| {
        path.ends_with("diff/etc/version")
            && std::fs::read_to_string(path).is_ok_and(|text| text == app.pushed.repository)
    };
    let version = layer_files(host)
        .into_iter()
        .find(marks)
        .expect("the layer is in the store");
    version
        .ancestors()
        .nth(3)
        .expect("it is deep enough")
        .to_owned()
}

/// The directory of the layer that all images share, `overlay/ID`.
#[track_caller]
fn base_directory(host: &TestHost) -> Utf8PathBuf {
    let files = layer_files(host);
    let file = files.iter().find(|path| path.ends_with("diff/base/0"));
    file.and_then(|path| path.ancestors().nth(3))
        .expect("the base is in the store")
        .to_owned()
}
