//! Every value against Pillow, torchvision and timm: see `tests/fixtures/make_operations.py`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vit_random::Streams;

use crate::ops::affine::affine;
use crate::parameters::fill_for;
use crate::random_affine::Parts;
use crate::resize::resize_exact;
use crate::{
    Border, DecodeLimits, Filter, Image, Operation, Pad, Pixels, Sampling, ToRgb, Transform, Views,
    decode_file,
};

#[derive(Deserialize)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    input: String,
    kind: String,
    operation: Option<Operation>,
    sampling: Option<Sampling>,
    parts: Option<[f64; 6]>,
    filter: Option<Filter>,
    target: Option<(usize, usize)>,
    pixels: Option<usize>,
    border: Option<Border>,
    index: Option<usize>,
    vertical: Option<bool>,
    width: usize,
    height: usize,
    hash: String,
}

impl Case {
    fn run(&self, image: Image) -> Image {
        let sampling = self.sampling.clone().unwrap_or_default();
        match self.kind.as_str() {
            "operation" => self.operation.unwrap().apply(&image, &sampling).unwrap(),
            "affine" => {
                let [angle, x, y, scale, shear_x, shear_y] = self.parts.unwrap();
                let parts = Parts { angle, translate: (x, y), scale, shear: (shear_x, shear_y) };
                let matrix = parts.inverse(image.width(), image.height());
                let fill = fill_for("test", &image, &sampling.fill).unwrap();
                affine("test", &image, &matrix, sampling.filter, &fill).unwrap()
            }
            "resize" => {
                let (width, height) = self.target.unwrap();
                resize_exact("test", image, width, height, self.filter.unwrap()).unwrap()
            }
            "pad" => {
                let pad =
                    Pad { pixels: self.pixels.unwrap(), border: self.border.clone().unwrap() };
                pad.apply(image, &mut Streams::new(0).stream("", 0, 0)).unwrap()
            }
            "ten_crop" => {
                let views = Views::TenCrop { size: 33, vertical: self.vertical.unwrap() };
                views.of(&image).unwrap().swap_remove(self.index.unwrap())
            }
            kind => panic!("unknown kind {kind}"),
        }
    }

    /// What differs from the expectation, if anything.
    fn check(&self, image: Image) -> Option<String> {
        let got = self.run(image);
        let Pixels::U8(values) = got.pixels() else { return Some(got.describe()) };
        let right =
            (got.width(), got.height()) == (self.width, self.height) && fnv1a(values) == self.hash;
        (!right).then(|| format!("{self:?}"))
    }
}

fn fnv1a(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn decode(path: &Path) -> Image {
    decode_file(path, &DecodeLimits::default()).unwrap()
}

/// Grey pictures of the shared data, or the colour picture the script makes of them.
fn real_picture(data: &Path, rest: &str) -> Image {
    let (mode, name) = rest.split_once(':').unwrap();
    let grey = decode(&data.join(name));
    if mode == "L" {
        return grey;
    }
    let sampling = Sampling::default();
    let planes = [None, Some(Operation::Invert), Some(Operation::AutoContrast)].map(|operation| {
        let plane = match operation {
            Some(operation) => operation.apply(&grey, &sampling).unwrap(),
            None => grey.clone(),
        };
        let Pixels::U8(values) = plane.into_pixels() else { panic!("not 8 bits") };
        values
    });
    let values: Vec<u8> =
        (0..planes[0].len()).flat_map(|at| [planes[0][at], planes[1][at], planes[2][at]]).collect();
    Image::new(grey.width(), grey.height(), 3, Pixels::U8(values)).unwrap()
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read_to_string(folder.join("operations.json")).unwrap();
    serde_json::from_str::<Document>(&text).unwrap().cases
}

fn check_all(picture: impl Fn(&str) -> Option<Image>) -> usize {
    let mut count = 0;
    let mut wrong = Vec::new();
    for case in cases() {
        if let Some(image) = picture(&case.input) {
            count += 1;
            wrong.extend(case.check(image));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    count
}

#[test]
fn operations_equal_pillow_on_generated_pictures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let count = check_all(|name| (!name.starts_with("data:")).then(|| decode(&folder.join(name))));
    assert!(count > 500, "{count}");
}

/// The folder of shared data; `None`, with a message, where there is none.
fn shared_data() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var("VITALIGHT_DATA").unwrap_or_else(|_| default.to_owned());
    let folder = PathBuf::from(folder);
    if !folder.is_dir() {
        let required = std::env::var("VITALIGHT_REQUIRE_DATA").is_ok_and(|value| value == "1");
        assert!(!required, "no shared data at {}", folder.display());
        println!("skipped: no shared data at {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn operations_equal_pillow_on_real_pictures() {
    let Some(data) = shared_data() else { return };
    let count = check_all(|name| name.strip_prefix("data:").map(|rest| real_picture(&data, rest)));
    assert!(count > 200, "{count}");
}

/// Grey as RGB and 16 bits at the same levels: the same operators mean the same.
#[test]
fn sixteen_bits_agree_with_eight() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for name in ["rgb_61x47.png", "grey_61x47.png"] {
        let image = decode(&folder.join(name));
        let Pixels::U8(bytes) = image.pixels() else { panic!("not 8 bits") };
        let words = bytes.iter().map(|&value| u16::from(value) * 257).collect();
        let wide = Image::new(image.width(), image.height(), image.channels(), Pixels::U16(words));
        let wide = wide.unwrap();
        for case in cases().into_iter().filter(|case| case.input == name) {
            let tolerance = match case.operation {
                // The 8-bit form cuts its step to a whole number of pixels, 11 instead of 11.2 on a
                // small picture: up to 12 levels at the bright end.
                Some(Operation::Equalize) => 13.0,
                // 8 bits keep the highest bits of 8, 16 bits those of 16.
                Some(Operation::Posterize { .. }) => 130.0,
                // There the hue has 256 steps, of 6 levels each.
                Some(Operation::Hue { .. }) => 16.0,
                // Four passes, or several kernels, each rounded or cut off.
                Some(Operation::GaussianBlur { .. }) => 6.0,
                _ => 2.0,
            };
            let (small, large) = (case.run(image.clone()), case.run(wide.clone()));
            let (Pixels::U8(small), Pixels::U16(large)) = (small.pixels(), large.pixels()) else {
                panic!("the kind changed: {case:?}");
            };
            let worst = small
                .iter()
                .zip(large)
                .map(|(&a, &b)| (f64::from(a) - f64::from(b) / 257.0).abs())
                .fold(0.0, f64::max);
            assert!(worst <= tolerance, "{worst} levels: {case:?}");
        }
    }
}

/// 16 bits keep what 8 bits cannot show.
#[test]
fn sixteen_bits_are_not_rounded_to_eight() {
    let values: Vec<u16> = (0..64 * 64).map(|i| 30_000 + (i % 200) as u16).collect();
    let image = Image::new(64, 64, 1, Pixels::U16(values)).unwrap();
    let run = |operation: Operation| {
        let result = operation.apply(&image, &Sampling::default()).unwrap();
        let Pixels::U16(values) = result.into_pixels() else { panic!("not 16 bits") };
        values
    };
    let stretched = run(Operation::AutoContrast);
    assert_eq!((stretched.iter().min(), stretched.iter().max()), (Some(&0), Some(&65535)));
    let mut levels = run(Operation::Equalize);
    levels.sort_unstable();
    levels.dedup();
    assert_eq!(levels.len(), 200);
    for operation in [Operation::Brightness { factor: 0.5 }, Operation::Invert] {
        let mut levels = run(operation);
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() >= 100, "{operation:?}: {}", levels.len());
    }
    let grey = ToRgb.apply(image.clone(), &mut Streams::new(0).stream("", 0, 0)).unwrap();
    let result = Operation::Color { factor: 0.3 }.apply(&grey, &Sampling::default()).unwrap();
    assert_eq!(result.pixels(), grey.pixels());
}
