//! The audit: which pictures are the same, and how files store them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use common::audit::{details, kinds, run};
use vit_datasets::audit::{Audit, AuditOptions, AuditReport, FindingKind};
use vit_datasets::{Dataset, ImageFolder, ImageFolderOptions, Phantom, PhantomConfig, Subset};
use vit_transforms::{Image, Pixels, encode_png};

fn open(folder: &Path) -> Arc<dyn Dataset> {
    Arc::new(ImageFolder::open(folder, &ImageFolderOptions::default()).unwrap())
}

fn of_folder(folder: &Path, options: AuditOptions) -> AuditReport {
    run(&Audit::new(options).part("all", open(folder)))
}

/// The values of a made-up radiograph.
fn phantom(seed: u64, side: usize) -> Vec<u8> {
    let config = PhantomConfig { len: 1, size: side, seed, ..Default::default() };
    match Phantom::new(config).unwrap().get(0).unwrap().image.into_pixels() {
        Pixels::U8(values) => values,
        other => panic!("{}", other.kind()),
    }
}

fn save(folder: &Path, name: &str, side: usize, channels: usize, pixels: Pixels) {
    let image = Image::new(side, side, channels, pixels).unwrap();
    std::fs::write(folder.join(name), encode_png(&image).unwrap()).unwrap();
}

/// A PNG of any kind of 8 bits.
fn png(side: usize, colour: u8, palette: Option<&[u8]>, pixels: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8], contents: &[u8]| {
        file.extend((contents.len() as u32).to_be_bytes());
        let named = [name, contents].concat();
        file.extend(&named);
        file.extend(crc32fast::hash(&named).to_be_bytes());
    };
    let length = (side as u32).to_be_bytes();
    chunk(b"IHDR", &[&length[..], &length[..], &[8, colour, 0, 0, 0]].concat());
    if let Some(palette) = palette {
        chunk(b"PLTE", palette);
    }
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    for row in pixels.chunks(pixels.len() / side) {
        packed.write_all(&[&[0], row].concat()).unwrap();
    }
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", b"");
    file
}

#[test]
fn the_same_pixels_in_another_mode_are_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let values = phantom(1, 48);
    let thrice: Vec<u8> = values.iter().flat_map(|&v| [v; 3]).collect();
    let wide: Vec<u16> = values.iter().map(|&v| u16::from(v) * 257).collect();
    let put = |name: &str, channels, pixels| save(folder.path(), name, 48, channels, pixels);
    put("grey.png", 1, Pixels::U8(values.clone()));
    put("rgb.png", 3, Pixels::U8(thrice.clone()));
    put("wide.png", 1, Pixels::U16(wide.clone()));
    put("both.png", 3, Pixels::U16(thrice.iter().map(|&v| u16::from(v) * 257).collect()));
    // One value that 8 bits do not have: nearly the same, not the same.
    put(
        "other.png",
        1,
        Pixels::U16(wide.iter().enumerate().map(|(i, v)| v + u16::from(i == 9)).collect()),
    );
    let report = of_folder(folder.path(), AuditOptions::default());
    let expected = "both.png in all = grey.png in all = rgb.png in all = wide.png in all, the same \
        pixels in other modes: grey u16; grey u16 stored as RGB; grey u8; grey u8 stored as RGB";
    assert_eq!(details(&report, FindingKind::DuplicateWithin), [expected]);
    let near = report.of(FindingKind::NearDuplicateWithin).next().unwrap();
    assert!(near.samples.iter().any(|sample| sample.id == "other.png"), "{report}");
    // Equal pictures, but not equal parts: their modes differ.
    let alone = |name: &str| {
        let home = tempfile::tempdir().unwrap();
        std::fs::copy(folder.path().join(name), home.path().join("x.png")).unwrap();
        of_folder(home.path(), AuditOptions::default()).parts[0].content.clone()
    };
    assert_ne!(alone("grey.png"), alone("rgb.png"));
    assert_eq!(alone("rgb.png"), alone("rgb.png"));
}

#[test]
fn what_decoding_takes_away_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let colours = |seed: u64| -> Vec<u8> {
        phantom(seed, 32).iter().flat_map(|&v| [v, v / 2, 255 - v]).collect()
    };
    for seed in 0..3 {
        save(folder.path(), &format!("plain{seed}.png"), 32, 3, Pixels::U8(colours(seed)));
    }
    let clear: Vec<u8> =
        colours(7).chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 128]).collect();
    put("alpha.png", &png(32, 6, None, &clear));
    let palette: Vec<u8> = (0..=255).flat_map(|v| [v, v / 2, 255 - v]).collect();
    put("palette.png", &png(32, 3, Some(&palette), &phantom(8, 32)));
    let report = of_folder(folder.path(), AuditOptions::default());
    let expected = [
        "1 RGB u8 (palette), where most pictures are RGB u8",
        "1 RGB u8 (transparency), where most pictures are RGB u8",
    ];
    assert_eq!(details(&report, FindingKind::WrongMode), expected);
    assert_eq!(kinds(&report), [FindingKind::WrongMode], "{report}");
    let modes: Vec<_> = report.parts[0].modes.iter().map(|(m, n)| (m.as_str(), *n)).collect();
    assert_eq!(modes, [("RGB u8", 3), ("RGB u8 (palette)", 1), ("RGB u8 (transparency)", 1)]);
}

/// Values of 8 bits in 16, as some archives have them: a 257th of full scale.
#[test]
fn wide_pictures_of_little_contrast_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let values = phantom(3, 64);
    let wide = |add: u16| Pixels::U16(values.iter().map(|&v| u16::from(v) + add).collect());
    save(folder.path(), "a.png", 64, 1, wide(0));
    save(folder.path(), "b.png", 64, 1, wide(40));
    save(folder.path(), "c.png", 64, 1, Pixels::U8(values.iter().map(|v| v / 2 + 60).collect()));
    let report = of_folder(folder.path(), AuditOptions::default());
    let found: Vec<_> = report.of(FindingKind::NearDuplicateWithin).collect();
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!(found[0].samples.len(), 3, "{report}");
}

/// The eight positions of a square picture.
fn turned(values: &[u8], side: usize, number: usize) -> Vec<u8> {
    let flip = |at: usize, flipped: bool| if flipped { side - 1 - at } else { at };
    let places = (0..side * side).map(|place| (place / side, place % side));
    let sources = places.map(|(y, x)| if number & 4 != 0 { (x, y) } else { (y, x) });
    let sources = sources.map(|(y, x)| (flip(y, number & 1 != 0), flip(x, number & 2 != 0)));
    sources.map(|(y, x)| values[y * side + x]).collect()
}

#[test]
fn mirrored_and_turned_copies_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::create_dir(&train).unwrap();
    std::fs::create_dir(&test).unwrap();
    for number in 0..8 {
        let values = phantom(number as u64, 61);
        save(&train, &format!("{number}.png"), 61, 1, Pixels::U8(values.clone()));
        // Brightened, so that it is no exact copy in any position.
        let values = values.iter().map(|v| v / 2 + 50).collect::<Vec<_>>();
        save(&test, &format!("{number}.png"), 61, 1, Pixels::U8(turned(&values, 61, number)));
    }
    let report = |near_turned| {
        let options = AuditOptions { near_turned, ..Default::default() };
        run(&Audit::new(options).part("train", open(&train)).part("test", open(&test)))
    };
    let upright = report(false);
    assert_eq!(upright.of(FindingKind::NearDuplicateAcross).count(), 1, "{upright}");
    let all = report(true);
    let found = details(&all, FindingKind::NearDuplicateAcross);
    assert_eq!(found.len(), 8, "{all}");
    let how = [
        "0 of",
        "mirrored top to bottom, ",
        "mirrored, ",
        "turned by 180 degrees, ",
        "mirrored and turned by 90 degrees, ",
        "turned by 90 degrees, ",
        "turned by 90 degrees, ",
        "mirrored and turned by 90 degrees, ",
    ];
    for (number, (detail, how)) in found.iter().zip(how).enumerate() {
        let start = format!("{number}.png in train ≈ {number}.png in test: {how}");
        assert!(detail.starts_with(&start), "{detail}");
    }
    assert_ne!(upright.hash(), all.hash());
}

/// A video whose frames are near their neighbours is one finding, whatever threads looked at it.
#[test]
fn connected_pictures_are_one_finding() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (phantom(1, 64), phantom(2, 64));
    for frame in 0..40u16 {
        let mix = |(a, b): (&u8, &u8)| {
            ((u16::from(*a) * (80 - frame) + u16::from(*b) * frame) / 80) as u8
        };
        let values = one.iter().zip(&other).map(mix).collect();
        save(folder.path(), &format!("{frame:02}.png"), 64, 1, Pixels::U8(values));
    }
    save(folder.path(), "other.png", 64, 1, Pixels::U8(phantom(9, 64)));
    let options = AuditOptions { near_bits: 10, ..Default::default() };
    let report = |workers| {
        run(&Audit::new(options.clone()).workers(workers).part("all", open(folder.path())))
    };
    let first = report(0);
    let found: Vec<_> = first.of(FindingKind::NearDuplicateWithin).collect();
    assert_eq!(found.len(), 1, "{first}");
    let ids: Vec<&str> = found[0].samples.iter().map(|sample| sample.id.as_str()).collect();
    assert_eq!(ids, (0..40).map(|frame| format!("{frame:02}.png")).collect::<Vec<_>>());
    assert!(found[0].detail.contains("; and 38 more near these, with up to 10 bits"), "{first}");
    assert_eq!(report(3), first);
}

/// Names of attributes are told, values are not.
#[test]
fn dicom_files_that_identify_somebody_are_found() {
    let Some(root) = common::data("dicom") else { return };
    let options = ImageFolderOptions { unlabelled: true, ..Default::default() };
    let data: Arc<dyn Dataset> = Arc::new(ImageFolder::open(&root, &options).unwrap());
    let report = run(&Audit::new(AuditOptions::default()).part("all", data));
    let found = details(&report, FindingKind::Identifying);
    let of = |name: &str| found.iter().find(|detail| detail.contains(name));
    let text = of("CT_small.dcm").unwrap();
    assert!(text.contains("direct identifiers: ") && text.contains("PatientName"), "{text}");
    assert!(found.iter().all(|detail| !detail.contains("CompressedSamples")), "{found:?}");
    // Its preamble is that of a TIFF file.
    assert_eq!(report.of(FindingKind::WrongExtension).count(), 0);
    let bytes = std::fs::read(root.join("CT_small.dcm")).unwrap();
    let value = b"CompressedSamples";
    assert!(bytes.windows(value.len()).any(|part| part == value), "the file has such a value");
}

/// A folder with two pictures, a split each, and a file that is none.
fn with_something_else() -> AuditReport {
    let folder = tempfile::tempdir().unwrap();
    for (at, name) in ["a.png", "b.png"].into_iter().enumerate() {
        save(folder.path(), name, 32, 1, Pixels::U8(phantom(at as u64, 32)));
    }
    std::fs::write(folder.path().join("c.jfif"), "picture").unwrap();
    let options = ImageFolderOptions { unlabelled: true, ..Default::default() };
    let data: Arc<dyn Dataset> = Arc::new(ImageFolder::open(folder.path(), &options).unwrap());
    let part = |at| Arc::new(Subset::new(Arc::clone(&data), vec![at]).unwrap());
    run(&Audit::new(AuditOptions::default()).part("train", part(0)).part("test", part(1)))
}

#[test]
fn what_became_no_sample_is_told_once() {
    let report = with_something_else();
    let found = details(&report, FindingKind::LeftOut);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("train, test: 1 left out") && found[0].contains("c.jfif"));
    // Wherever the folder lies.
    assert_eq!(with_something_else().hash(), report.hash());
}
