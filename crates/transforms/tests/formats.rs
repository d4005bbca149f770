//! Every format against Pillow: see `fixtures/make_formats.py`.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vit_transforms::{
    DecodeLimits, DecodeOptions, Error, Image, Pixels, decode_bytes, decode_file, decode_file_with,
};

#[derive(Debug, Deserialize)]
struct Case {
    file: String,
    shape: Vec<usize>,
    lossy: bool,
    hash: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("formats.json")).unwrap()).unwrap()
}

fn read(name: &str) -> Image {
    decode_file(&folder().join(name), &DecodeLimits::default()).unwrap()
}

fn fnv1a(image: &Image) -> String {
    let bytes: Vec<u8> = match image.pixels() {
        Pixels::U8(values) => values.clone(),
        Pixels::U16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        other => panic!("{}", other.kind()),
    };
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn bytes(image: &Image) -> &[u8] {
    let Pixels::U8(values) = image.pixels() else { panic!("{}", image.describe()) };
    values
}

/// Largest and mean difference to Pillow's values.
fn difference(name: &str) -> (u8, f64) {
    let (ours, theirs) = (read(name), read(&format!("{name}.expected.png")));
    assert_eq!(ours.describe(), theirs.describe(), "{name}");
    let differences = bytes(&ours).iter().zip(bytes(&theirs)).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (differences.max().unwrap(), sum as f64 / bytes(&ours).len() as f64)
}

#[test]
fn lossless_formats_equal_pillow() {
    let mut count = 0;
    for case in cases().iter().filter(|case| !case.lossy) {
        let image = read(&case.file);
        let channels = case.shape.get(2).copied().unwrap_or(1);
        let shape = (image.height(), image.width(), image.channels());
        assert_eq!(shape, (case.shape[0], case.shape[1], channels), "{case:?}");
        assert_eq!(fnv1a(&image), case.hash, "{case:?}");
        count += 1;
    }
    assert_eq!(count, 12);
}

#[test]
fn lossy_formats_are_as_close_to_pillow_as_documented() {
    for case in cases().iter().filter(|case| case.lossy) {
        let (worst, mean) = difference(&case.file);
        println!("{}: largest difference {worst}, mean {mean:.3}", case.file);
        let jpeg = case.file.ends_with(".jpg");
        let allowed = match case.file.as_str() {
            _ if jpeg && cfg!(feature = "turbojpeg") => (0, 0.0),
            "lossy.webp" => (1, 0.1),
            _ => (6, 1.0),
        };
        assert!(worst <= allowed.0 && mean <= allowed.1, "{case:?}: {worst} {mean}");
    }
}

/// The EXIF orientation is not applied unless asked for; then all eight give the same picture.
#[test]
fn orientation_is_applied_when_asked_for() {
    let options = DecodeOptions { orientation: true, ..DecodeOptions::default() };
    let plain = read("orientation1.jpg");
    for orientation in 1..=8 {
        let name = format!("orientation{orientation}.jpg");
        assert_eq!(read(&name), plain, "{name}");
        let turned = decode_file_with(&folder().join(&name), &options).unwrap();
        let swapped = orientation >= 5;
        let expected = if swapped { (29, 37) } else { (37, 29) };
        assert_eq!((turned.width(), turned.height()), expected, "{name}");
        // Where the pixel at (x, y) of the upright picture comes from: EXIF 2.3, table 6.
        let (width, height) = (37, 29);
        for (x, y) in [(0, 0), (3, 5), (28, 11), (20, 28)] {
            if x >= turned.width() || y >= turned.height() {
                continue;
            }
            let (from_x, from_y) = match orientation {
                1 => (x, y),
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                _ => (width - 1 - y, x),
            };
            let got = bytes(&turned)[y * turned.width() + x];
            assert_eq!(got, bytes(&plain)[from_y * width + from_x], "{name} at {x}, {y}");
        }
    }
}

/// Every tenth of the length of every format: an error that names the file, and no panic.
#[test]
fn truncated_files_are_refused() {
    for case in cases() {
        let whole = std::fs::read(folder().join(&case.file)).unwrap();
        for tenth in 0..10 {
            let cut = &whole[..whole.len() * tenth / 10];
            match decode_bytes(&case.file, cut, &DecodeLimits::default()) {
                Err(error) => assert!(error.to_string().contains(&case.file), "{error}"),
                // TIFF keeps its directory at the end or, like BMP, only then the pixels.
                Ok(_) => panic!("{} cut to {tenth} tenths was read", case.file),
            }
        }
    }
}

#[test]
fn flipped_bytes_of_any_format_never_panic() {
    let limits = DecodeLimits { max_pixels: 1 << 20, max_bytes: 1 << 24 };
    for case in cases() {
        let whole = std::fs::read(folder().join(&case.file)).unwrap();
        for position in 0..whole.len().min(700) {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[position] ^= flip;
                let _ = decode_bytes("broken", &broken, &limits);
            }
        }
    }
}

/// Headers of a few bytes that claim pictures of gigabytes.
#[test]
fn bombs_are_refused_before_they_are_decoded() {
    let claim = |name: &str, at: usize, number: &[u8]| {
        let mut bytes = std::fs::read(folder().join(name)).unwrap();
        bytes[at..at + number.len()].copy_from_slice(number);
        decode_bytes(name, &bytes, &DecodeLimits::default()).unwrap_err()
    };
    // Width and height of a BMP are 32-bit numbers at 18 and 22.
    let huge = 60_000i32.to_le_bytes();
    let error = claim("rgb.bmp", 18, &[huge, huge].concat());
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    // WebP says its size more than once; the honest one is above a smaller limit.
    let whole = std::fs::read(folder().join("lossless.webp")).unwrap();
    let small = DecodeLimits { max_pixels: 100, ..DecodeLimits::default() };
    let error = decode_bytes("lossless.webp", &whole, &small).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "pixels", .. }), "{error}");
}

#[cfg(not(feature = "dicom"))]
#[test]
fn dicom_without_its_feature_is_named() {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM\x02\x00");
    let error = decode_bytes("chest.dcm", &bytes, &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().contains("feature \"dicom\""), "{error}");
}
