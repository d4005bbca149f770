//! Pipelines as data.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use vit_random::{Stream, Streams};
use vit_transforms::{
    CenterCrop, Error, Filter, HorizontalFlip, IMAGENET_MEAN, IMAGENET_STD, Image, Normalize,
    Pipeline, Pixels, RandomResizedCrop, RandomRotation, Resize, ResizeSize, Step, TimmRules,
    TimmTraining, ToGrey, ToRgb, VerticalFlip,
};

fn stream() -> Stream {
    Streams::new(3).stream("test", 0, 0)
}

fn picture(width: usize, height: usize, channels: usize) -> Image {
    let values = (0..width * height * channels).map(|i| (i * 31) as u8).collect();
    Image::new(width, height, channels, Pixels::U8(values)).unwrap()
}

fn every_step() -> Vec<Step> {
    vec![
        Step::ToRgb(ToRgb),
        Step::Resize(Resize { size: ResizeSize::ShorterSide(40), filter: Filter::Lanczos }),
        Step::Resize(Resize {
            size: ResizeSize::Exact { height: 30, width: 50 },
            filter: Filter::Nearest,
        }),
        Step::RandomRotation(RandomRotation { degrees: 10.0, fill: vec![1, 2, 3] }),
        Step::RandomResizedCrop(RandomResizedCrop {
            size: 24,
            scale: (0.08, 1.0),
            ratio: (0.75, 4.0 / 3.0),
            filter: Filter::Bicubic,
        }),
        Step::HorizontalFlip(HorizontalFlip { probability: 0.5 }),
        Step::VerticalFlip(VerticalFlip { probability: 0.5 }),
        Step::CenterCrop(CenterCrop { size: 20 }),
        Step::ToGrey(ToGrey),
        Step::Normalize(Normalize { mean: vec![0.485], std: vec![0.229] }),
    ]
}

#[test]
fn a_file_gives_the_same_pipeline() {
    let pipeline = Pipeline::new(every_step());
    pipeline.validate().unwrap();
    let text = serde_json::to_string(&pipeline).unwrap();
    let read: Pipeline = serde_json::from_str(&text).unwrap();
    assert_eq!(read, pipeline);
    let run = |pipeline: &Pipeline| pipeline.apply(picture(61, 47, 1), &mut stream()).unwrap();
    assert_eq!(run(&read), run(&pipeline));
}

/// Files of earlier versions have to be readable: this text may not need a change.
#[test]
fn the_format_is_fixed() {
    let text = r#"{"steps": [
        {"name": "resize", "size": {"shorter_side": 256}, "filter": "bicubic"},
        {"name": "center_crop", "size": 224},
        {"name": "to_rgb"},
        {"name": "normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    ]}"#;
    let read: Pipeline = serde_json::from_str(text).unwrap();
    let preset = Pipeline::evaluation(224, 3, &IMAGENET_MEAN, &IMAGENET_STD).unwrap();
    assert_eq!(read, preset);
    for wrong in [
        r#"{"steps": [{"name": "resize", "size": {"shorter_side": 256}}]}"#,
        r#"{"steps": [{"name": "center_crop", "size": 2, "sise": 3}]}"#,
        r#"{"steps": [{"name": "blur"}]}"#,
        r#"{"steps": [{"name": "center_crop", "size": -1}]}"#,
        r#"{"step": []}"#,
    ] {
        assert!(serde_json::from_str::<Pipeline>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn presets_end_in_tensors() {
    for channels in [1, 3] {
        let (mean, std) = (&IMAGENET_MEAN[..channels], &IMAGENET_STD[..channels]);
        let presets = [
            (Pipeline::mae_pretrain(32, 0.2, channels, mean, std).unwrap(), true),
            (Pipeline::finetune_train(32, channels, mean, std).unwrap(), true),
            (Pipeline::evaluation(32, channels, mean, std).unwrap(), false),
        ];
        for (pipeline, random) in &presets {
            assert_eq!(pipeline.is_random(), *random);
            for of_file in [1, 3] {
                let result = pipeline.apply(picture(61, 47, of_file), &mut stream()).unwrap();
                assert_eq!(result.describe(), format!("f32 32x32x{channels}"));
                result.write_chw(&mut vec![0.0; 32 * 32 * channels]).unwrap();
            }
        }
    }
}

/// The sizes of spec mae.md 4.6: 224 → 256, 192 → 219, 160 → 182, 128 → 146, above 224 → the same.
#[test]
fn evaluation_resizes_as_published() {
    for (size, shorter) in [(224, 256), (192, 219), (160, 182), (128, 146), (256, 256), (384, 384)]
    {
        let pipeline = Pipeline::evaluation(size, 3, &[0.5], &[0.5]).unwrap();
        let expected = Resize { size: ResizeSize::ShorterSide(shorter), filter: Filter::Bicubic };
        assert_eq!(pipeline.steps[0], Step::Resize(expected));
    }
}

#[test]
fn bad_parameters_are_refused() {
    let crop = |size, scale, ratio| {
        Step::RandomResizedCrop(RandomResizedCrop { size, scale, ratio, filter: Filter::Bicubic })
    };
    let normalize = |mean: &[f32], std: &[f32]| {
        Step::Normalize(Normalize { mean: mean.to_vec(), std: std.to_vec() })
    };
    let exact = |height, width| {
        Step::Resize(Resize { size: ResizeSize::Exact { height, width }, filter: Filter::Bicubic })
    };
    let rotation = |degrees, fill| Step::RandomRotation(RandomRotation { degrees, fill });
    let ratio = (0.75, 1.5);
    let bad = [
        Step::CenterCrop(CenterCrop { size: 0 }),
        Step::CenterCrop(CenterCrop { size: usize::MAX }),
        Step::Resize(Resize { size: ResizeSize::ShorterSide(0), filter: Filter::Bicubic }),
        exact(0, 3),
        exact(3, 0),
        crop(0, (0.2, 1.0), ratio),
        crop(8, (0.0, 1.0), ratio),
        crop(8, (-0.2, 1.0), ratio),
        crop(8, (1.0, 0.2), ratio),
        crop(8, (0.2, 1.1), ratio),
        crop(8, (f64::NAN, 1.0), ratio),
        crop(8, (0.2, 1.0), (0.0, 1.0)),
        crop(8, (0.2, 1.0), (2.0, 1.0)),
        crop(8, (0.2, 1.0), (1.0, f64::INFINITY)),
        Step::HorizontalFlip(HorizontalFlip { probability: 1.5 }),
        Step::HorizontalFlip(HorizontalFlip { probability: f64::NAN }),
        Step::VerticalFlip(VerticalFlip { probability: -0.1 }),
        rotation(-1.0, vec![0]),
        rotation(f64::NAN, vec![0]),
        rotation(10.0, vec![]),
        rotation(10.0, vec![0, 0]),
        normalize(&[0.5], &[0.0]),
        normalize(&[0.5], &[f32::NAN]),
        normalize(&[0.5], &[0.5; 3]),
        normalize(&[], &[]),
        normalize(&[f32::INFINITY], &[1.0]),
    ];
    for step in bad {
        let error = Pipeline::new(vec![step.clone()]).validate().unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{step:?}: {error}");
        // A pipeline that nobody validated fails in the same way.
        let pipeline = Pipeline::new(vec![step]);
        assert!(pipeline.apply(picture(9, 9, 3), &mut stream()).is_err());
    }
    assert!(Pipeline::evaluation(usize::MAX, 3, &[0.5], &[0.5]).is_err());
    assert!(Pipeline::evaluation(32, 2, &[0.5], &[0.5]).is_err());
    assert!(Pipeline::mae_pretrain(32, 0.0, 3, &[0.5], &[0.5]).is_err());
}

/// Every recipe ends in a finite tensor of the size asked for, whatever the file holds, survives
/// being written and read, and depends on its stream alone.
#[test]
fn recipes_end_in_tensors() {
    let (mean, std) = (&IMAGENET_MEAN, &IMAGENET_STD);
    let timm = |augment, grey| {
        let options = TimmTraining { size: 32, augment, grey, ..TimmTraining::default() };
        Pipeline::timm_train(&options, mean, std).unwrap()
    };
    let recipes = [
        timm(Some("rand-m9-mstd0.5-inc1"), true),
        timm(Some("augmix-m5-w4-d2"), false),
        timm(Some("augmix-b1"), false),
        timm(Some("original-mstd0.5"), false),
        timm(Some("3a"), false),
        timm(None, false),
        Pipeline::linear_probe_train(32, mean, std).unwrap(),
        Pipeline::endoscopy_pretrain(32, mean, std).unwrap(),
        Pipeline::endoscopy_finetune(32, mean, std).unwrap(),
        Pipeline::simclr_with_rotation(32, mean, std).unwrap(),
        Pipeline::three_augment(32, mean, std).unwrap(),
        Pipeline::timm_evaluation(32, 0.9, Filter::Bicubic, mean, std).unwrap(),
    ];
    for pipeline in &recipes {
        let text = serde_json::to_string(pipeline).unwrap();
        assert_eq!(&serde_json::from_str::<Pipeline>(&text).unwrap(), pipeline);
        for (of_file, wide) in [(1, false), (3, false), (1, true), (3, true)] {
            let image = picture(61, 47, of_file);
            let image = if wide { sixteen(&image) } else { image };
            for index in 0..20 {
                let rng = || Streams::new(7).stream("augment", 0, index);
                let result = pipeline.apply(image.clone(), &mut rng()).unwrap();
                assert_eq!(result.describe(), "f32 32x32x3", "{text}");
                let mut planes = vec![f32::NAN; 3 * 32 * 32];
                pipeline.apply_chw(image.clone(), &mut rng(), &mut planes).unwrap();
                let mut expected = vec![f32::NAN; 3 * 32 * 32];
                result.write_chw(&mut expected).unwrap();
                assert!(planes.iter().all(|value| value.is_finite()));
                assert_eq!(planes, expected, "{text}");
            }
        }
    }
}

fn sixteen(image: &Image) -> Image {
    let Pixels::U8(values) = image.pixels() else { panic!("not 8 bits") };
    let values = values.iter().map(|&value| u16::from(value) * 257).collect();
    Image::new(image.width(), image.height(), image.channels(), Pixels::U16(values)).unwrap()
}

/// The fill colours of the specification: (124, 116, 104) for ImageNet, 122 for MRM's mean.
#[test]
fn timm_fills_with_the_mean() {
    let fill = |mean: &[f32], std: &[f32]| {
        let pipeline = Pipeline::timm_train(&TimmTraining::default(), mean, std).unwrap();
        let step = pipeline.steps.iter().find_map(|step| match step {
            Step::RandAugment(step) => Some(step.clone()),
            _ => None,
        });
        step.unwrap().settings
    };
    let settings = fill(&IMAGENET_MEAN, &IMAGENET_STD);
    assert_eq!((settings.fill, settings.rules), (vec![124, 116, 104], TimmRules::V0_3_2));
    assert_eq!(fill(&[0.4785], &[0.2834]).fill, vec![122]);
}

#[test]
fn strings_that_timm_does_not_know_are_refused() {
    let parse = |text: &str, rules| {
        let options = TimmTraining { augment: Some(text), rules, ..TimmTraining::default() };
        Pipeline::timm_train(&options, &[0.5], &[0.5])
    };
    for (text, rules, about) in [
        ("rand-x3", TimmRules::V1_0, "\"x\""),
        ("rand-m", TimmRules::V1_0, ""),
        ("rand-m9.5", TimmRules::V1_0, "9.5"),
        ("rand-p0.5", TimmRules::V0_3_2, "\"p\""),
        ("rand-mmax20", TimmRules::V0_3_2, "\"mmax\""),
        ("rand-w0", TimmRules::V1_0, "\"w\""),
        ("random-m9", TimmRules::V1_0, "random"),
        ("augmix-q1", TimmRules::V1_0, "\"q\""),
        ("v7", TimmRules::V1_0, "\"v7\""),
    ] {
        let result = parse(text, rules);
        if about.is_empty() {
            // A section without a digit is ignored, as in timm.
            assert!(result.is_ok(), "{text}");
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{error}");
        assert!(error.to_string().contains(about), "{text}: {error}");
    }
}
