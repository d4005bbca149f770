//! The cache knows how its pictures were decoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vit_datasets::{
    CacheOptions, Cached, Concat, Dataset, ImageFolder, ImageFolderOptions, InPopulation, Subset,
};
use vit_transforms::{DecodeLimits, DecodeOptions, Image, Pixels, encode_png};

fn folder(root: &Path) -> Arc<dyn Dataset> {
    for at in 0..4 {
        let pixels = (0..600).map(|i| (i * 7 + at * 31) as u8).collect();
        let png = encode_png(&Image::new(20, 30, 1, Pixels::U8(pixels)).unwrap()).unwrap();
        std::fs::write(root.join(format!("{at}.png")), png).unwrap();
    }
    Arc::new(ImageFolder::open(root, &ImageFolderOptions::default()).unwrap())
}

fn options() -> CacheOptions {
    CacheOptions { short_side: Some(20), ..Default::default() }
}

/// Opens and tells whether the cache had to be made.
fn open(data: &Arc<dyn Dataset>, path: &Path, options: &CacheOptions) -> (Cached, bool) {
    let made = AtomicUsize::new(0);
    let note = |_, _| {
        made.fetch_add(1, Ordering::SeqCst);
    };
    let cached = Cached::open_with_progress(Arc::clone(data), path, options, &note).unwrap();
    (cached, made.load(Ordering::SeqCst) > 0)
}

/// Sixteen pictures are looked at again in any case; here one of many would change.
#[test]
fn it_is_made_anew_when_the_decoding_changes() {
    let (pictures, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = folder(pictures.path());
    let path = caches.path().join("c");
    let key = open(&plain, &path, &options()).0.key().to_owned();
    let decode = DecodeOptions { orientation: true, ..Default::default() };
    let turned = ImageFolderOptions { decode, ..Default::default() };
    let turned: Arc<dyn Dataset> = Arc::new(ImageFolder::open(pictures.path(), &turned).unwrap());
    // Wrappers pass it on.
    let some = Arc::new(Subset::new(Arc::clone(&turned), vec![0, 1, 2, 3]).unwrap());
    let named = InPopulation::new(some, "here");
    let put: Arc<dyn Dataset> =
        Arc::new(Concat::new(vec![("a".into(), Arc::new(named) as _)]).unwrap());
    assert_eq!(put.decoding(), format!("a: {}\n", turned.decoding()));
    let (cached, made) = open(&turned, &path, &options());
    assert!(made && cached.key() != key && cached.decoding() == turned.decoding());
    assert!(!open(&turned, &path, &options()).1);
    // What is allowed does not change a picture.
    let limits = DecodeLimits { max_pixels: 5_000, ..Default::default() };
    let decode = DecodeOptions { limits, ..decode };
    let tight = ImageFolderOptions { decode, ..Default::default() };
    let tight: Arc<dyn Dataset> = Arc::new(ImageFolder::open(pictures.path(), &tight).unwrap());
    assert!(!open(&tight, &path, &options()).1);
}
