//! From pictures to batches.

use vit_models::candle_core::Device;
use vit_models::{CropMode, Interpolation, Preprocessing, Preset};
use vit_transforms::{Image, Pixels};

use crate::support::flat;

fn squares(side: usize) -> Preprocessing {
    let preset = Preset::by_name("vit_base_patch16_224").unwrap();
    Preprocessing { input_size: [3, side, side], ..preset.preprocessing }
}

/// A grey ramp of 20 × 10.
fn ramp() -> Image {
    let values: Vec<u8> = (0..200u8).collect();
    Image::new(20, 10, 1, Pixels::U8(values)).unwrap()
}

#[test]
fn the_middle_is_cropped_and_normalised() {
    let one_to_one = Preprocessing { crop_pct: 1., ..squares(10) };
    let batch = one_to_one.batch(&[ramp(), ramp()], &Device::Cpu).unwrap();
    assert_eq!(batch.dims(), [2, 3, 10, 10]);
    let values = flat(&batch);
    for (i, row) in values.chunks_exact(10).enumerate() {
        for (j, value) in row.iter().enumerate() {
            let grey = ((i % 10) * 20 + 5 + j) as f64 / 255.;
            assert!((value - (grey - 0.5) / 0.5).abs() < 1e-6);
        }
    }
    assert_eq!(squares(224).resized(), 248);
}

/// Whoever resizes to a side and crops means that side, whatever its share rounds to.
#[test]
fn a_side_comes_back_from_its_share() {
    for edge in 32..=1024 {
        for crop in 1..=edge {
            let preprocessing =
                Preprocessing { crop_pct: crop as f64 / edge as f64, ..squares(crop) };
            assert_eq!(preprocessing.resized(), edge, "{crop} of {edge}");
        }
    }
}

#[test]
fn both_sides_are_resized_where_told() {
    let squash = Preprocessing {
        input_size: [1, 10, 20],
        crop_mode: CropMode::Squash,
        interpolation: Interpolation::Bilinear,
        mean: vec![0.],
        std: vec![1.],
        ..squares(10)
    };
    let batch = squash.batch(&[ramp()], &Device::Cpu).unwrap();
    assert_eq!(batch.dims(), [1, 1, 10, 20]);
    assert!((flat(&batch)[7] - 7. / 255.).abs() < 1e-6);
}

#[test]
fn senseless_numbers_are_named() {
    let good = squares(8);
    for (wrong, word) in [
        (Preprocessing { crop_pct: 0., ..good.clone() }, "crop_pct"),
        (Preprocessing { crop_pct: f64::NAN, ..good.clone() }, "crop_pct"),
        (Preprocessing { mean: vec![0.5], ..good.clone() }, "mean"),
        (Preprocessing { std: vec![0.5, 0., 1.], ..good.clone() }, "std 0"),
        (Preprocessing { std: vec![0.5, f64::INFINITY, 1.], ..good.clone() }, "std inf"),
        (Preprocessing { input_size: [3, 8, 9], ..good.clone() }, "squash"),
        (Preprocessing { input_size: [3, 0, 0], ..good.clone() }, "input_size"),
        (
            Preprocessing {
                input_size: [2, 8, 8],
                mean: vec![0.; 2],
                std: vec![1.; 2],
                ..good.clone()
            },
            "channels",
        ),
    ] {
        let error = wrong.pipeline().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
