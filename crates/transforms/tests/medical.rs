//! Medical transforms against OpenCV, scikit-image, torchvision and pydicom: see
//! `fixtures/make_medical.py`.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use serde::Deserialize;
use vit_random::{Stream, Streams};
use vit_transforms::{
    BiasField, BlackFrameCrop, BorderCrop, Clahe, DecodeLimits, ElasticDeformation, Error,
    HistogramMatch, Image, Operation, Pixels, Sampling, Transform, VoiFunction, Window,
    WindowRange, decode_file,
};

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Case {
    Clahe { input: String, bits: u32, step: Clahe, hash: String },
    HistogramMatch { input: String, reference: String, hash: String },
    KernelBlur { input: String, size: usize, sigma: f64, values: String },
    Window { function: VoiFunction, center: f64, width: f64, real: Vec<f64> },
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/medical.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn stream(index: u64) -> Stream {
    Streams::new(1).stream("test", 0, index)
}

fn picture(name: &str) -> Image {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    decode_file(&path, &DecodeLimits::default()).unwrap()
}

fn bytes(image: &Image) -> &[u8] {
    let Pixels::U8(values) = image.pixels() else { panic!("not 8 bits: {}", image.describe()) };
    values
}

/// The 16-bit picture of the script.
fn wide(image: &Image) -> Image {
    let pattern = bytes(image).iter().enumerate();
    let values = pattern.map(|(at, &v)| u16::from(v) * 250 + (at * 31 % 251) as u16).collect();
    Image::new(image.width(), image.height(), 1, Pixels::U16(values)).unwrap()
}

fn hash(image: &Image) -> String {
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

#[test]
fn clahe_equals_opencv() {
    let mut count = 0;
    for case in cases() {
        let Case::Clahe { input, bits, step, hash: expected } = case else { continue };
        let image = picture(&input);
        let image = if bits == 16 { wide(&image) } else { image };
        let result = step.apply(image, &mut stream(0)).unwrap();
        assert_eq!(hash(&result), expected, "{input} {bits} {step:?}");
        count += 1;
    }
    assert_eq!(count, 20);
}

/// Colour: a grey picture as RGB must come out as the grey one does.
#[test]
fn clahe_of_grey_as_rgb_is_that_of_grey() {
    let grey = picture("grey_61x47.png");
    let values = bytes(&grey).iter().flat_map(|&value| [value; 3]).collect();
    let rgb = Image::new(61, 47, 3, Pixels::U8(values)).unwrap();
    let one = Clahe::default().apply(grey, &mut stream(0)).unwrap();
    let three = Clahe::default().apply(rgb, &mut stream(0)).unwrap();
    assert!(bytes(&three).chunks(3).zip(bytes(&one)).all(|(pixel, &value)| pixel == [value; 3]));
}

#[test]
fn histogram_matching_equals_scikit_image() {
    let mut count = 0;
    for case in cases() {
        let Case::HistogramMatch { input, reference, hash: expected } = case else { continue };
        let step = HistogramMatch::to_picture(&picture(&reference)).unwrap();
        let result = step.apply(picture(&input), &mut stream(0)).unwrap();
        assert_eq!(hash(&result), expected, "{input}");
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn the_sampled_gaussian_equals_torchvision() {
    let (mut count, mut differing, mut all) = (0, 0, 0);
    for case in cases() {
        let Case::KernelBlur { input, size, sigma, values } = case else { continue };
        let result = Operation::KernelBlur { size, sigma }
            .apply(&picture(&input), &Sampling::default())
            .unwrap();
        let expected: Vec<u8> = (0..values.len() / 2)
            .map(|at| u8::from_str_radix(&values[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(expected.len(), bytes(&result).len());
        for (&a, &b) in bytes(&result).iter().zip(&expected) {
            assert!(a.abs_diff(b) <= 1, "{input} {size} {sigma}: {a} {b}");
            differing += usize::from(a != b);
            all += 1;
        }
        count += 1;
    }
    assert_eq!(count, 6);
    assert!(differing * 1000 < all, "{differing} of {all} values differ");
}

#[test]
fn windows_equal_pydicom() {
    let mut count = 0;
    for case in cases() {
        let Case::Window { function, center, width, real } = case else { continue };
        let values = (0..4096u32).step_by(7 * 13);
        for (value, expected) in values.zip(&real) {
            let got = function.evaluate(value.into(), center, width);
            assert!((got - expected).abs() < 2e-7, "{function:?} {center} {width}: {value} {got}");
        }
        count += 1;
    }
    assert_eq!(count, 12);
}

#[test]
fn a_window_is_applied_to_every_kind() {
    let range =
        WindowRange::CenterWidth { center: 100.5, width: 101.0, function: VoiFunction::Linear };
    let window = Window { range };
    let run = |pixels| {
        let image = Image::new(5, 1, 1, pixels).unwrap();
        window.apply(image, &mut stream(0)).unwrap().into_pixels()
    };
    // From 50 to 150.
    let expected = [0u16, 0, 128, 255, 255];
    assert_eq!(run(Pixels::U8(vec![0, 50, 100, 150, 255])), Pixels::U8(vec![0, 0, 128, 255, 255]));
    let words = run(Pixels::U16(vec![0, 50, 100, 150, 60000]));
    assert_eq!(words, Pixels::U16(vec![0, 0, 32768, 65535, 65535]), "{expected:?}");
    let real = run(Pixels::F32(vec![0.0, 50.0, 100.0, 150.0, 1e6]));
    assert_eq!(real, Pixels::F32(vec![0.0, 0.0, 0.5, 1.0, 1.0]));
}

#[test]
fn percentiles_stretch_what_lies_between() {
    let values: Vec<u16> = (0..1000u16).map(|i| 5000 + i).chain([0, 65535]).collect();
    let image = Image::new(1002, 1, 1, Pixels::U16(values)).unwrap();
    let window = Window { range: WindowRange::Percentiles { low: 1.0, high: 99.0 } };
    let Pixels::U16(result) = window.apply(image, &mut stream(0)).unwrap().into_pixels() else {
        panic!("not 16 bits")
    };
    assert_eq!((result[0], result[999]), (0, 65535));
    assert!(result[500].abs_diff(32768) < 200, "{}", result[500]);
    let constant = Image::new(2, 1, 1, Pixels::U8(vec![7, 7])).unwrap();
    assert_eq!(window.apply(constant.clone(), &mut stream(0)).unwrap(), constant);
}

/// A bright field with a black border of known width and a bright letter in it.
#[test]
fn borders_are_cut_where_they_are() {
    let (width, height) = (90, 70);
    let inside = |x: usize, y: usize| (12..80).contains(&x) && (5..61).contains(&y);
    let letter = |x: usize, y: usize| (2..5).contains(&x) && (30..33).contains(&y);
    let mut words = vec![0u16; width * height];
    for y in 0..height {
        for x in 0..width {
            words[y * width + x] = match () {
                () if inside(x, y) => 20_000 + (x * y) as u16,
                () if letter(x, y) => 60_000,
                () => (x % 7) as u16,
            };
        }
    }
    let image = Image::new(width, height, 1, Pixels::U16(words)).unwrap();
    let cut = BorderCrop::default().apply(image.clone(), &mut stream(0)).unwrap();
    assert_eq!((cut.width(), cut.height()), (68, 56));
    let bytes = image.to_u8();
    let cut = BlackFrameCrop::default().apply(bytes.clone(), &mut stream(0)).unwrap();
    assert_eq!((cut.width(), cut.height()), (68, 56));
    // A picture without a border, and one that is all border, stay.
    let again = BlackFrameCrop::default().apply(cut.clone(), &mut stream(0)).unwrap();
    assert_eq!(again, cut);
    let black = Image::new(9, 9, 1, Pixels::U8(vec![0; 81])).unwrap();
    assert_eq!(BorderCrop::default().apply(black.clone(), &mut stream(0)).unwrap(), black);
}

/// A disc: towards content 1 the rectangle lies within it.
#[test]
fn a_round_field_is_cut_to_what_is_asked() {
    let side = 101i32;
    let lit = |at: i32| (at % side - 50).pow(2) + (at / side - 50).pow(2) <= 48 * 48;
    let values = (0..side * side).map(|at| if lit(at) { 180 } else { 3 }).collect();
    let image = Image::new(101, 101, 1, Pixels::U8(values)).unwrap();
    let cut = |content| {
        let step = BlackFrameCrop { content, ..BlackFrameCrop::default() };
        step.apply(image.clone(), &mut stream(0)).unwrap()
    };
    let box_of_disc = cut(0.01);
    assert!(box_of_disc.width() >= 95 && box_of_disc.width() <= 97, "{}", box_of_disc.describe());
    let inside = cut(1.0);
    assert!(bytes(&inside).iter().all(|&value| value == 180));
    assert!(inside.width() >= 60 && inside.height() >= 60, "{}", inside.describe());
}

#[test]
fn deformation_is_smooth_and_as_large_as_asked() {
    let (width, height) = (120, 90);
    let values = (0..width * height).map(|at| (at % width) as f32).collect();
    let ramp = Image::new(width, height, 1, Pixels::F32(values)).unwrap();
    let step = ElasticDeformation { probability: 1.0, alpha: 60.0, sigma: 6.0 };
    let Pixels::F32(moved) = step.apply(ramp, &mut stream(4)).unwrap().into_pixels() else {
        panic!("not real")
    };
    // On a ramp of slope 1 the change of the value is the displacement.
    let shift = |x: usize, y: usize| moved[y * width + x] - x as f32;
    let inner = || (10..height - 10).flat_map(|y| (10..width - 10).map(move |x| (x, y)));
    let squares: f64 = inner().map(|(x, y)| f64::from(shift(x, y)).powi(2)).sum();
    let size = (squares / inner().count() as f64).sqrt();
    // Uniform noise has variance 1/3; a Gaussian blur divides it by 4 pi sigma^2.
    let expected = 60.0 * (1.0 / 3.0 / (4.0 * std::f64::consts::PI * 36.0)).sqrt();
    assert!((size / expected - 1.0).abs() < 0.35, "{size} {expected}");
    let steepest = inner().map(|(x, y)| (shift(x + 1, y) - shift(x, y)).abs()).fold(0.0, f32::max);
    assert!(steepest < 1.0, "{steepest}");
    let none = ElasticDeformation { alpha: 0.0, ..step };
    let image = picture("rgb_40x40.png");
    assert_eq!(none.apply(image.clone(), &mut stream(0)).unwrap(), image);
}

#[test]
fn a_bias_field_of_no_strength_changes_nothing() {
    let image = picture("rgb_40x40.png");
    let none = BiasField { probability: 1.0, strength: 0.0, order: 3 };
    assert_eq!(none.apply(image.clone(), &mut stream(0)).unwrap(), image);
    let some = BiasField { strength: 0.5, ..none };
    let changed = some.apply(image.clone(), &mut stream(0)).unwrap();
    assert_ne!(changed, image);
    assert_eq!(changed.describe(), image.describe());
}

#[test]
fn real_values_are_refused_by_name() {
    let image = Image::new(2, 2, 1, Pixels::F32(vec![0.5; 4])).unwrap();
    let refused = |step: &dyn Transform, name: &str| {
        let error = step.apply(image.clone(), &mut stream(0)).unwrap_err();
        assert!(matches!(error, Error::Kind { .. }), "{error:?}");
        assert!(error.to_string().starts_with(name), "{error}");
    };
    refused(&Clahe::default(), "Clahe");
    refused(&BorderCrop::default(), "BorderCrop");
    refused(&Window { range: WindowRange::Percentiles { low: 1.0, high: 99.0 } }, "Window");
    let reference = HistogramMatch { reference: vec![vec![1; 256]] };
    refused(&reference, "HistogramMatch");
}
