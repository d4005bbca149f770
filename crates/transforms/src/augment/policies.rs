//! The published tables of operators.

use super::auto_augment::PolicyStep;
use super::kind::OperationKind::{self, *};

/// The 15 operators of RandAugment.
pub(super) const RAND: [OperationKind; 15] = [
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
];

/// The same, all of them stronger with the magnitude.
pub(super) const RAND_INCREASING: [OperationKind; 15] = [
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    PosterizeIncreasing,
    SolarizeIncreasing,
    SolarizeAdd,
    ColorIncreasing,
    ContrastIncreasing,
    BrightnessIncreasing,
    SharpnessIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
];

/// Weights of [`RAND`] under `w0` of timm before 0.8.
pub(super) const WEIGHTS_0: [f64; 15] =
    [0.025, 0.005, 0.0, 0.3, 0.0, 0.005, 0.005, 0.025, 0.005, 0.005, 0.025, 0.2, 0.2, 0.1, 0.1];

/// The set `tweights` of timm 1.0.
pub(super) const WEIGHTED: [(OperationKind, f64); 15] = [
    (Rotate, 3.0),
    (ShearX, 2.0),
    (ShearY, 2.0),
    (TranslateXRel, 1.0),
    (TranslateYRel, 1.0),
    (ColorIncreasing, 0.25),
    (SharpnessIncreasing, 0.25),
    (AutoContrast, 0.25),
    (SolarizeIncreasing, 0.05),
    (SolarizeAdd, 0.05),
    (ContrastIncreasing, 0.05),
    (BrightnessIncreasing, 0.05),
    (Equalize, 0.05),
    (PosterizeIncreasing, 0.05),
    (Invert, 0.05),
];

/// The set `t3a` of timm 1.0.
pub(super) const THREE: [OperationKind; 3] = [SolarizeIncreasing, Desaturate, GaussianBlur];

/// The set `t3aw` of timm 1.0.
pub(super) const THREE_WEIGHTED: [(OperationKind, f64); 14] = [
    (SolarizeIncreasing, 6.0),
    (Desaturate, 6.0),
    (GaussianBlur, 6.0),
    (Rotate, 3.0),
    (ShearX, 2.0),
    (ShearY, 2.0),
    (PosterizeIncreasing, 1.0),
    (AutoContrast, 1.0),
    (ColorIncreasing, 1.0),
    (SharpnessIncreasing, 1.0),
    (ContrastIncreasing, 1.0),
    (BrightnessIncreasing, 1.0),
    (Equalize, 1.0),
    (Invert, 1.0),
];

/// The 13 operators of timm's AugMix.
pub(super) const AUGMIX: [OperationKind; 13] = [
    AutoContrast,
    ColorIncreasing,
    ContrastIncreasing,
    BrightnessIncreasing,
    SharpnessIncreasing,
    Equalize,
    Rotate,
    PosterizeIncreasing,
    SolarizeIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
];

type Row = [(OperationKind, f64, f64); 2];

/// The ImageNet policy of the TPU implementation of EfficientNet.
const V0: [Row; 25] = [
    [(Equalize, 0.8, 1.0), (ShearY, 0.8, 4.0)],
    [(Color, 0.4, 9.0), (Equalize, 0.6, 3.0)],
    [(Color, 0.4, 1.0), (Rotate, 0.6, 8.0)],
    [(Solarize, 0.8, 3.0), (Equalize, 0.4, 7.0)],
    [(Solarize, 0.4, 2.0), (Solarize, 0.6, 2.0)],
    [(Color, 0.2, 0.0), (Equalize, 0.8, 8.0)],
    [(Equalize, 0.4, 8.0), (SolarizeAdd, 0.8, 3.0)],
    [(ShearX, 0.2, 9.0), (Rotate, 0.6, 8.0)],
    [(Color, 0.6, 1.0), (Equalize, 1.0, 2.0)],
    [(Invert, 0.4, 9.0), (Rotate, 0.6, 0.0)],
    [(Equalize, 1.0, 9.0), (ShearY, 0.6, 3.0)],
    [(Color, 0.4, 7.0), (Equalize, 0.6, 0.0)],
    [(Posterize, 0.4, 6.0), (AutoContrast, 0.4, 7.0)],
    [(Solarize, 0.6, 8.0), (Color, 0.6, 9.0)],
    [(Solarize, 0.2, 4.0), (Rotate, 0.8, 9.0)],
    [(Rotate, 1.0, 7.0), (TranslateYRel, 0.8, 9.0)],
    [(ShearX, 0.0, 0.0), (Solarize, 0.8, 4.0)],
    [(ShearY, 0.8, 0.0), (Color, 0.6, 4.0)],
    [(Color, 1.0, 0.0), (Rotate, 0.6, 2.0)],
    [(Equalize, 0.8, 4.0), (Equalize, 0.0, 8.0)],
    [(Equalize, 1.0, 4.0), (AutoContrast, 0.6, 2.0)],
    [(ShearY, 0.4, 7.0), (SolarizeAdd, 0.6, 7.0)],
    [(Posterize, 0.8, 2.0), (Solarize, 0.6, 10.0)],
    [(Solarize, 0.6, 8.0), (Equalize, 0.6, 1.0)],
    [(Color, 0.8, 6.0), (Rotate, 0.4, 5.0)],
];

/// The ImageNet policy of the paper.
const ORIGINAL: [Row; 25] = [
    [(PosterizeOriginal, 0.4, 8.0), (Rotate, 0.6, 9.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
    [(PosterizeOriginal, 0.6, 7.0), (PosterizeOriginal, 0.6, 6.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Equalize, 0.4, 4.0), (Rotate, 0.8, 8.0)],
    [(Solarize, 0.6, 3.0), (Equalize, 0.6, 7.0)],
    [(PosterizeOriginal, 0.8, 5.0), (Equalize, 1.0, 2.0)],
    [(Rotate, 0.2, 3.0), (Solarize, 0.6, 8.0)],
    [(Equalize, 0.6, 8.0), (PosterizeOriginal, 0.4, 6.0)],
    [(Rotate, 0.8, 8.0), (Color, 0.4, 0.0)],
    [(Rotate, 0.4, 9.0), (Equalize, 0.6, 2.0)],
    [(Equalize, 0.0, 7.0), (Equalize, 0.8, 8.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Rotate, 0.8, 8.0), (Color, 1.0, 2.0)],
    [(Color, 0.8, 8.0), (Solarize, 0.8, 7.0)],
    [(Sharpness, 0.4, 7.0), (Invert, 0.6, 8.0)],
    [(ShearX, 0.6, 5.0), (Equalize, 1.0, 9.0)],
    [(Color, 0.4, 0.0), (Equalize, 0.6, 3.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
];

/// The sub-policies of this name: `v0`, `v0r`, `original`, `originalr` or `3a`. The forms with an
/// `r` posterise more with the magnitude instead of less.
pub(super) fn policy(name: &str) -> Option<Vec<Vec<PolicyStep>>> {
    match name {
        "v0" => Some(rows(&V0, false)),
        "v0r" => Some(rows(&V0, true)),
        "original" => Some(rows(&ORIGINAL, false)),
        "originalr" => Some(rows(&ORIGINAL, true)),
        "3a" => {
            let single = |(operation, magnitude)| {
                vec![PolicyStep { operation, probability: 1.0, magnitude }]
            };
            let steps = [(Solarize, 5.0), (Desaturate, 10.0), (GaussianBlurRand, 10.0)];
            Some(steps.into_iter().map(single).collect())
        }
        _ => None,
    }
}

fn rows(table: &[Row], increasing: bool) -> Vec<Vec<PolicyStep>> {
    let step = |&(operation, probability, magnitude): &(OperationKind, f64, f64)| {
        let operation = match operation {
            Posterize | PosterizeOriginal if increasing => PosterizeIncreasing,
            other => other,
        };
        PolicyStep { operation, probability, magnitude }
    };
    table.iter().map(|row| row.iter().map(step).collect()).collect()
}
