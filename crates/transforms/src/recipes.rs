//! The training pipelines of the published fine-tuning recipes.

use crate::{
    Apply, AugmentSettings, Blur, ColorJitter, EraseMode, Error, Filter, GaussianBlur,
    HorizontalFlip, Normalize, Operation, Pipeline, RandomAffine, RandomChoice, RandomErasing,
    RandomGrey, RandomResizedCrop, RandomRotation, Resize, ResizeSize, Result, Sampling,
    SingleDrawResizedCrop, Step, TimmRules, ToRgb, VerticalFlip, parse_augment,
};

/// Aspects of random crops: torchvision's default.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// What differs between the recipes that train through timm's `create_transform`.
#[derive(Debug, Clone, PartialEq)]
pub struct TimmTraining<'a> {
    /// Side of the pictures.
    pub size: usize,
    /// timm's string of random operators, such as `"rand-m9-mstd0.5-inc1"`; none: `jitter` holds.
    pub augment: Option<&'a str>,
    /// Release of timm.
    pub rules: TimmRules,
    /// Strength of the colour jitter; timm ignores it where there are random operators.
    pub jitter: f64,
    /// Probability of random erasing (mode pixel).
    pub erasing: f64,
    /// Whether colour is taken out after the random operators (MED-PEFT, MRM). What operators leave
    /// empty is filled with the mean; in MED-PEFT a list of one mean makes Pillow fill with
    /// (122, 0, 0), which the grey then turns to 36, by mistake.
    pub grey: bool,
}

impl Default for TimmTraining<'_> {
    /// MAE's fine-tuning of 2021: RandAugment 9 of timm 0.3.2, erasing 0.25.
    fn default() -> Self {
        Self {
            size: 224,
            augment: Some("rand-m9-mstd0.5-inc1"),
            rules: TimmRules::V0_3_2,
            jitter: 0.0,
            erasing: 0.25,
            grey: false,
        }
    }
}

impl Pipeline {
    /// timm's training transform as MAE, medical_mae and MED-PEFT use it: random resized crop
    /// (0.08 to 1, bicubic), flip, random operators or colour jitter, normalisation, erasing.
    /// Pictures come out as `size` × `size` RGB.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense; see [`parse_augment`].
    pub fn timm_train(options: &TimmTraining<'_>, mean: &[f32], std: &[f32]) -> Result<Self> {
        let size = options.size;
        let mut steps = vec![crop(size, (0.08, 1.0)), flip(), ToRgb.into()];
        if let Some(text) = options.augment {
            let mut settings =
                AugmentSettings::for_size(options.rules, size, mean, Filter::Bicubic);
            // One mean stands for three equal ones.
            if settings.fill.is_empty() {
                settings.fill = vec![128];
            }
            steps.push(parse_augment(text, settings)?);
        } else if options.jitter > 0.0 {
            let x = options.jitter;
            steps.push(ColorJitter::new(x, x, x, 0.0).into());
        }
        if options.grey {
            steps.push(RandomGrey { probability: 1.0 }.into());
        }
        steps.push(normalize(mean, std));
        if options.erasing > 0.0 {
            steps.push(RandomErasing::new(options.erasing, EraseMode::Pixel).into());
        }
        checked(steps)
    }

    /// MAE's linear probe: single-draw crop (0.08 to 1, bicubic), flip, normalisation.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn linear_probe_train(size: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let crop = SingleDrawResizedCrop {
            size,
            scale: (0.08, 1.0),
            ratio: RATIO,
            filter: Filter::Bicubic,
        };
        checked(vec![crop.into(), flip(), ToRgb.into(), normalize(mean, std)])
    }

    /// Pre-training of SSL-Endoscopy: crop (0.8 to 1, Lanczos), rotation by up to 10 degrees, no
    /// flip.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn endoscopy_pretrain(size: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let crop =
            RandomResizedCrop { size, scale: (0.8, 1.0), ratio: RATIO, filter: Filter::Lanczos };
        let turn = RandomRotation { degrees: 10.0, fill: vec![0] };
        checked(vec![crop.into(), turn.into(), ToRgb.into(), normalize(mean, std)])
    }

    /// Fine-tuning of SSL-Endoscopy: squashed to a square (bilinear), both flips, rotation by up to
    /// 90 degrees.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn endoscopy_finetune(size: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let square = ResizeSize::Exact { height: size, width: size };
        checked(vec![
            Resize { size: square, filter: Filter::Bilinear }.into(),
            flip(),
            VerticalFlip { probability: 0.5 }.into(),
            RandomRotation { degrees: 90.0, fill: vec![0] }.into(),
            ToRgb.into(),
            normalize(mean, std),
        ])
    }

    /// medical_mae's `simclr_with_randrotation`: crop (0.2 to 1, bilinear), colour jitter in four of
    /// five pictures, rotation by 0 to 45 degrees counter-clockwise, grey in one of five, Pillow's
    /// blur in half, flip.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn simclr_with_rotation(size: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let crop =
            RandomResizedCrop { size, scale: (0.2, 1.0), ratio: RATIO, filter: Filter::Bilinear };
        let jitter = crate::RandomApply {
            probability: 0.8,
            steps: vec![ColorJitter::new(0.4, 0.4, 0.4, 0.1).into()],
        };
        let turn = RandomAffine {
            degrees: (-45.0, 0.0),
            translate: (0.0, 0.0),
            scale: (1.0, 1.0),
            shear_x: (0.0, 0.0),
            shear_y: (0.0, 0.0),
            sampling: Sampling { filter: Filter::Nearest, fill: vec![0] },
        };
        checked(vec![
            crop.into(),
            jitter.into(),
            turn.into(),
            RandomGrey { probability: 0.2 }.into(),
            GaussianBlur { probability: 0.5, blur: Blur::Pillow { radius: (0.1, 2.0) } }.into(),
            flip(),
            ToRgb.into(),
            normalize(mean, std),
        ])
    }

    /// 3-Augment (Touvron et al. 2022) as medical_mae has it: crop (0.08 to 1, bicubic), flip, and
    /// one of grey, solarisation at 128, and Pillow's blur.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn three_augment(size: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let choice = RandomChoice {
            steps: vec![
                RandomGrey { probability: 1.0 }.into(),
                Apply::always(Operation::Solarize { threshold: 128 }).into(),
                GaussianBlur { probability: 1.0, blur: Blur::Pillow { radius: (0.1, 2.0) } }.into(),
            ],
            weights: Vec::new(),
        };
        checked(vec![
            crop(size, (0.08, 1.0)),
            flip(),
            choice.into(),
            ToRgb.into(),
            normalize(mean, std),
        ])
    }

    /// timm's evaluation: shorter side to ⌊size / crop_pct⌋, central square, normalisation.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn timm_evaluation(
        size: usize,
        crop_pct: f64,
        filter: Filter,
        mean: &[f32],
        std: &[f32],
    ) -> Result<Self> {
        if !(crop_pct > 0.0 && crop_pct <= 1.0) {
            let reason = format!("crop_pct is {crop_pct}, it must be above 0 and at most 1");
            return Err(Error::Parameter { transform: "Pipeline", reason });
        }
        let shorter = ResizeSize::ShorterSide(shorter_side(size, crop_pct));
        checked(vec![
            Resize { size: shorter, filter }.into(),
            crate::CenterCrop { size }.into(),
            ToRgb.into(),
            normalize(mean, std),
        ])
    }
}

/// `math.floor(size / crop_pct)` as Python has it, rounding of the quotient included: 399 for 224
/// and 0.56.
fn shorter_side(size: usize, crop_pct: f64) -> usize {
    (size as f64 / crop_pct).floor() as usize
}

fn crop(size: usize, scale: (f64, f64)) -> Step {
    RandomResizedCrop { size, scale, ratio: RATIO, filter: Filter::Bicubic }.into()
}

fn flip() -> Step {
    HorizontalFlip { probability: 0.5 }.into()
}

fn normalize(mean: &[f32], std: &[f32]) -> Step {
    Normalize { mean: mean.to_vec(), std: std.to_vec() }.into()
}

fn checked(steps: Vec<Step>) -> Result<Pipeline> {
    let pipeline = Pipeline::new(steps);
    pipeline.validate()?;
    Ok(pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's values.
    #[test]
    fn sides_are_rounded_as_by_timm() {
        let cases = [(224, 0.56), (448, 0.56), (272, 0.68), (224, 0.875), (224, 0.9), (384, 1.0)];
        let sides = cases.map(|(size, share)| shorter_side(size, share));
        assert_eq!(sides, [399, 799, 399, 256, 248, 384]);
    }
}
