//! Decoding: real files, good and bad.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use vit_transforms::{DecodeLimits, Error, Image, Pixels, decode_bytes, decode_file, encode_png};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Image, Error> {
    decode_bytes("some.file", bytes, &DecodeLimits::default())
}

/// The bytes must be refused with an error that names the file.
fn refused(bytes: &[u8]) -> String {
    let error = decode(bytes).unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("some.file"), "{message}");
    message
}

#[test]
fn sixteen_bit_png_keeps_its_values() {
    let image = decode_file(&fixture("grey16.png"), &DecodeLimits::default()).unwrap();
    let expected: Vec<u16> = (0..19 * 13).map(|i| i * 265).collect();
    assert_eq!(image, Image::new(19, 13, 1, Pixels::U16(expected)).unwrap());
}

#[test]
fn jpeg_is_close_to_libjpeg() {
    for (name, largest, mean) in [("jpeg_grey", 2, 0.1), ("jpeg_rgb", 8, 1.0)] {
        let limits = DecodeLimits::default();
        let ours = decode_file(&fixture(&format!("{name}.jpg")), &limits).unwrap();
        let theirs = decode_file(&fixture(&format!("{name}_pillow.png")), &limits).unwrap();
        assert_eq!((ours.width(), ours.height()), (96, 64));
        assert_eq!(ours.channels(), theirs.channels());
        let (Pixels::U8(ours), Pixels::U8(theirs)) = (ours.pixels(), theirs.pixels()) else {
            panic!("not 8-bit");
        };
        let differences = ours.iter().zip(theirs).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let worst = differences.clone().max().unwrap();
        let average = differences.sum::<u64>() as f64 / ours.len() as f64;
        println!("{name}: largest difference {worst}, mean {average:.3}");
        assert!(worst <= largest && average < mean, "{name}: {worst}, {average}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for name in ["rgb_40x40.png", "jpeg_rgb.jpg", "jpeg_grey.jpg", "grey16.png"] {
        let whole = bytes(name);
        assert!(decode(&whole).is_ok());
        // The last 12 bytes of a PNG are its empty end chunk, which says nothing new.
        let needed = if name.ends_with("png") { whole.len() - 12 } else { whole.len() };
        for length in 0..needed {
            assert!(decode(&whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
    assert!(refused(&bytes("jpeg_rgb.jpg")[..2000]).contains("truncated"));
    refused(&bytes("rgb_40x40.png")[..2000]);
}

#[test]
fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
    let whole = bytes("jpeg_grey.jpg");
    // An APP1 segment with a whole JPEG file inside, as EXIF thumbnails are.
    let mut with_thumbnail = whole[..2].to_vec();
    with_thumbnail.extend([0xff, 0xe1]);
    with_thumbnail.extend((whole.len() as u16 + 2).to_be_bytes());
    with_thumbnail.extend(&whole);
    with_thumbnail.extend(&whole[2..]);
    assert_eq!(decode(&with_thumbnail).unwrap(), decode(&whole).unwrap());
    assert!(refused(&with_thumbnail[..with_thumbnail.len() - 2]).contains("truncated"));
}

#[test]
fn what_is_no_picture_is_refused() {
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"id,label\n1,2\n").contains("neither PNG, JPEG"));
    assert!(refused(b"GIF89a\x01\x00\x01\x00").contains("neither"));
    refused(&[0xff, 0xd8, 0xff, 0xd9]);
    refused(b"\x89PNG\r\n\x1a\n");
}

#[test]
fn flipped_bytes_never_panic() {
    for name in ["rgb_40x40.png", "jpeg_rgb.jpg", "decode_palette.png", "grey16.png"] {
        let whole = bytes(name);
        for position in 0..whole.len().min(1500) {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[position] ^= flip;
                let limits = DecodeLimits { max_pixels: 1 << 20, max_bytes: 1 << 24 };
                let _ = decode_bytes("broken", &broken, &limits);
            }
        }
    }
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let png = bytes("rgb_40x40.png");
    let pixels = DecodeLimits { max_pixels: 1599, ..DecodeLimits::default() };
    let error = decode_bytes("big.png", &png, &pixels).unwrap_err();
    assert_eq!(error.to_string(), "big.png: 1600 pixels are more than the limit of 1599");

    let memory = DecodeLimits { max_bytes: 4799, ..DecodeLimits::default() };
    let error = decode_bytes("big.png", &png, &memory).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "bytes", value: 4800, .. }), "{error}");

    let file = DecodeLimits { max_bytes: 100, ..DecodeLimits::default() };
    let error = decode_file(&fixture("rgb_40x40.png"), &file).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "bytes", .. }), "{error}");
    assert!(error.to_string().contains("rgb_40x40.png"));
}

/// A header that claims 60000×60000 pixels in a file of a few bytes.
#[test]
fn a_bomb_is_refused() {
    let mut png = bytes("grey_40x40.png");
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode(&png).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "pixels", value: 3_600_000_000, .. }), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[test]
fn bad_paths_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let limits = DecodeLimits::default();
    let error = decode_file(folder.path(), &limits).unwrap_err().to_string();
    assert!(error.contains("folder") && error.contains(folder.path().to_str().unwrap()), "{error}");

    let missing = folder.path().join("missing.png");
    let error = decode_file(&missing, &limits).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().contains("missing.png"));

    let empty = folder.path().join("empty.jpg");
    std::fs::write(&empty, b"").unwrap();
    let error = decode_file(&empty, &limits).unwrap_err().to_string();
    assert!(error.contains("empty.jpg") && error.contains("it is empty"), "{error}");

    let text = folder.path().join("text.png");
    std::fs::write(&text, "no picture").unwrap();
    assert!(matches!(decode_file(&text, &limits), Err(Error::Decode { .. })));

    #[cfg(target_os = "linux")]
    assert!(matches!(decode_file(Path::new("/dev/zero"), &limits), Err(Error::Decode { .. })));
}

/// The contents decide, not the name.
#[test]
fn a_wrong_extension_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really_png.jpg");
    std::fs::copy(fixture("grey_40x40.png"), &path).unwrap();
    assert_eq!(decode_file(&path, &DecodeLimits::default()).unwrap().width(), 40);
}

#[test]
fn encoding_loses_nothing() {
    for channels in [1, 3] {
        let count = 7 * 5 * channels;
        let bytes = (0..count).map(|i| (i * 37) as u8).collect();
        let words = (0..count).map(|i| (i * 3571) as u16).collect();
        for pixels in [Pixels::U8(bytes), Pixels::U16(words)] {
            let image = Image::new(7, 5, channels, pixels).unwrap();
            assert_eq!(decode(&encode_png(&image).unwrap()).unwrap(), image);
        }
    }
    let real = Image::new(1, 1, 1, Pixels::F32(vec![0.5])).unwrap();
    assert!(matches!(encode_png(&real), Err(Error::Kind { .. })));
    assert!(encode_png(&real.to_u8()).is_ok());
}
