//! What holds for every picture and every stream.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use vit_random::{Stream, Streams};
use vit_transforms::{
    CenterCrop, Error, Filter, HorizontalFlip, Image, Normalize, Pixels, RandomResizedCrop,
    RandomRotation, Resize, ResizeSize, ToGrey, ToRgb, Transform, VerticalFlip,
};

fn stream(index: u64) -> Stream {
    Streams::new(3).stream("test", 0, index)
}

/// Every kind of pixels and channels, with values that are all different as far as they can be.
fn any_image() -> impl Strategy<Value = Image> {
    (1..40usize, 1..40usize, prop_oneof![Just(1usize), Just(3)], 0..3u8).prop_map(
        |(width, height, channels, kind)| {
            let count = width * height * channels;
            let pixels = match kind {
                0 => Pixels::U8((0..count).map(|i| (i * 7) as u8).collect()),
                1 => Pixels::U16((0..count).map(|i| (i * 701) as u16).collect()),
                _ => Pixels::F32((0..count).map(|i| i as f32 / count as f32).collect()),
            };
            Image::new(width, height, channels, pixels).unwrap()
        },
    )
}

fn any_filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::Nearest),
        Just(Filter::Bilinear),
        Just(Filter::Bicubic),
        Just(Filter::Lanczos)
    ]
}

fn shape(image: &Image) -> (usize, usize, usize) {
    (image.width(), image.height(), image.channels())
}

fn values(image: &Image) -> Vec<f32> {
    let Pixels::F32(values) = image.to_f32().into_pixels() else { unreachable!() };
    values
}

proptest! {
    #[test]
    fn results_have_the_promised_shape(image in any_image(), filter in any_filter(), size in 1..50usize, seed: u64) {
        let (width, height, channels) = shape(&image);
        let kind = image.pixels().kind();
        let rng = &mut stream(seed);
        let exact = Resize { size: ResizeSize::Exact { height: size, width: 9 }, filter };
        let result = exact.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(shape(&result), (9, size, channels));
        prop_assert_eq!(result.pixels().kind(), kind);

        let shorter = Resize { size: ResizeSize::ShorterSide(size), filter };
        let result = shorter.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(result.width().min(result.height()), size);
        prop_assert_eq!(result.width() < result.height(), width < height && size * height / width > size);

        let crop = RandomResizedCrop { size, scale: (0.1, 1.0), ratio: (0.75, 4.0 / 3.0), filter };
        prop_assert_eq!(shape(&crop.apply(image.clone(), rng).unwrap()), (size, size, channels));
        let result = CenterCrop { size }.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(shape(&result), (size, size, channels));
        let rotation = RandomRotation { degrees: 360.0, fill: vec![0] };
        let result = rotation.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(shape(&result), (width, height, channels));
        prop_assert_eq!(shape(&ToRgb.apply(image.clone(), rng).unwrap()).2, 3);
        prop_assert_eq!(shape(&ToGrey.apply(image, rng).unwrap()).2, 1);
    }

    #[test]
    fn the_stream_decides_alone(image in any_image(), seed: u64) {
        let crop = RandomResizedCrop {
            size: 8, scale: (0.1, 1.0), ratio: (0.75, 4.0 / 3.0), filter: Filter::Bicubic,
        };
        let rotation = RandomRotation { degrees: 90.0, fill: vec![7] };
        let run = || {
            let rng = &mut stream(seed);
            let image = rotation.apply(image.clone(), rng).unwrap();
            crop.apply(image, rng).unwrap()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn flipping_twice_changes_nothing(image in any_image()) {
        let rng = &mut stream(0);
        let (left_right, top_bottom) =
            (HorizontalFlip { probability: 1.0 }, VerticalFlip { probability: 1.0 });
        let once = left_right.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(&left_right.apply(once, rng).unwrap(), &image);
        let once = top_bottom.apply(image.clone(), rng).unwrap();
        prop_assert_eq!(&top_bottom.apply(once, rng).unwrap(), &image);
        let never = HorizontalFlip { probability: 0.0 };
        prop_assert_eq!(&never.apply(image.clone(), rng).unwrap(), &image);
    }

    /// The three kinds of pixels agree up to their rounding.
    #[test]
    fn kinds_agree(width in 1..30usize, height in 1..30usize, to in (1..40usize, 1..40usize), filter in any_filter()) {
        let bytes: Vec<u8> = (0..width * height).map(|i| (i * i * 31) as u8).collect();
        let words = bytes.iter().map(|&v| u16::from(v) * 257).collect();
        let resize = Resize { size: ResizeSize::Exact { height: to.0, width: to.1 }, filter };
        let run = |pixels| {
            let image = Image::new(width, height, 1, pixels).unwrap();
            values(&resize.apply(image, &mut stream(0)).unwrap())
        };
        let small = Image::new(width, height, 1, Pixels::U8(bytes.clone())).unwrap();
        let real: Vec<f32> = run(Pixels::F32(values(&small)));
        let real: Vec<f32> = real.into_iter().map(|v| v.clamp(0.0, 1.0)).collect();
        // 8 bits round and clip between the passes, which overshooting filters show.
        for (a, b) in run(Pixels::U16(words)).iter().zip(&real) {
            prop_assert!((a - b).abs() < 1e-4, "{} {}", a, b);
        }
        if matches!(filter, Filter::Nearest | Filter::Bilinear) {
            for (a, b) in run(Pixels::U8(bytes)).iter().zip(&real) {
                prop_assert!((a - b).abs() < 1.01 / 255.0, "{} {}", a, b);
            }
        }
    }

    #[test]
    fn planes_and_pixels_hold_the_same_values(image in any_image()) {
        let (width, height, channels) = shape(&image);
        let mut planes = vec![f32::NAN; width * height * channels];
        image.write_chw(&mut planes).unwrap();
        let interleaved = values(&image);
        for y in 0..height { for x in 0..width { for c in 0..channels {
            prop_assert_eq!(
                planes[(c * height + y) * width + x],
                interleaved[(y * width + x) * channels + c]
            );
        }}}
        let wrong = &mut vec![0.0; planes.len() + 1];
        let refused = matches!(image.write_chw(wrong), Err(Error::Buffer { .. }));
        prop_assert!(refused);
    }
}

#[test]
fn normalisation_is_that_of_torch() {
    let image = Image::new(2, 1, 3, Pixels::U8(vec![0, 128, 255, 17, 200, 64])).unwrap();
    let normalize = Normalize { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] };
    let result = normalize.apply(image, &mut stream(0)).unwrap();
    // (value / 255 - mean) / std in binary32, by NumPy.
    let expected = NORMALIZED;
    assert_eq!(result.pixels(), &Pixels::F32(expected.to_vec()));

    let words = Image::new(1, 1, 1, Pixels::U16(vec![65535])).unwrap();
    let one = Normalize { mean: vec![0.5], std: vec![0.25] };
    let result = one.apply(words, &mut stream(0)).unwrap();
    assert_eq!(result.pixels(), &Pixels::F32(vec![2.0]));
}

const NORMALIZED: [f32; 6] = [-2.117904, 0.2051822, 2.64, -1.8267832, 1.4656863, -0.68897593];

#[test]
fn kinds_that_do_not_fit_are_refused() {
    let grey = Image::new(2, 2, 1, Pixels::U8(vec![1; 4])).unwrap();
    let three = Normalize { mean: vec![0.5; 3], std: vec![0.5; 3] };
    let error = three.apply(grey.clone(), &mut stream(0)).unwrap_err();
    assert_eq!(error.to_string(), "Normalize takes a picture of 3 channels, got u8 2x2x1");
    let rotation = RandomRotation { degrees: 10.0, fill: vec![1, 2, 3] };
    assert!(matches!(rotation.apply(grey, &mut stream(0)), Err(Error::Kind { .. })));
}

/// A picture of 1×60000 pixels, its shorter side brought to 60000.
#[test]
fn results_without_measure_are_refused() {
    let thin = Image::new(1, 60_000, 1, Pixels::U8(vec![0; 60_000])).unwrap();
    let resize = Resize { size: ResizeSize::ShorterSide(60_000), filter: Filter::Bilinear };
    assert!(matches!(resize.apply(thin, &mut stream(0)), Err(Error::Limit { .. })));
}

#[test]
fn flips_happen_as_often_as_asked() {
    let image = Image::new(2, 1, 1, Pixels::U8(vec![0, 1])).unwrap();
    let flip = HorizontalFlip { probability: 0.3 };
    let flipped = (0..10_000)
        .filter(|&index| flip.apply(image.clone(), &mut stream(index)).unwrap() != image)
        .count();
    assert!((2850..3150).contains(&flipped), "{flipped}");
}
