//! The pipelines of the published recipes.

use crate::{
    CenterCrop, Error, Filter, HorizontalFlip, Normalize, Pipeline, RandomResizedCrop, Resize,
    ResizeSize, Result, Step, ToGrey, ToRgb,
};

/// Aspects of random crops: torchvision's default.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

impl Pipeline {
    /// Augmentation of MAE pre-training: random resized crop with `scale_min` (0.2 in the paper)
    /// to 1 of the area, bicubic; horizontal flip; normalisation. (He et al. 2022, facebookresearch/mae.)
    ///
    /// Pictures come out as `size` × `size` with `channels` (1 or 3) channels, whichever the file
    /// has.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn mae_pretrain(
        size: usize,
        scale_min: f64,
        channels: usize,
        mean: &[f32],
        std: &[f32],
    ) -> Result<Self> {
        let crop = RandomResizedCrop {
            size,
            scale: (scale_min, 1.0),
            ratio: RATIO,
            filter: Filter::Bicubic,
        };
        let steps = vec![
            Step::RandomResizedCrop(crop),
            Step::HorizontalFlip(HorizontalFlip { probability: 0.5 }),
        ];
        finish(steps, channels, mean, std)
    }

    /// Augmentation of fine-tuning without RandAugment: random resized crop with 0.08 to 1 of the
    /// area, bicubic; horizontal flip; normalisation.
    ///
    /// Pictures come out as `size` × `size` with `channels` (1 or 3) channels.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn finetune_train(size: usize, channels: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        Self::mae_pretrain(size, 0.08, channels, mean, std)
    }

    /// Evaluation, without any randomness: shorter side to `size / 0.875` (256 for 224) up to 224
    /// pixels, to `size` above, bicubic; central square; normalisation. (facebookresearch/mae.)
    ///
    /// Pictures come out as `size` × `size` with `channels` (1 or 3) channels.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a parameter makes no sense.
    pub fn evaluation(size: usize, channels: usize, mean: &[f32], std: &[f32]) -> Result<Self> {
        let shorter = if size <= 224 { size * 8 / 7 } else { size };
        let steps = vec![
            Step::Resize(Resize {
                size: ResizeSize::ShorterSide(shorter),
                filter: Filter::Bicubic,
            }),
            Step::CenterCrop(CenterCrop { size }),
        ];
        finish(steps, channels, mean, std)
    }
}

/// Adds the change of channels and the normalisation, and checks the whole.
fn finish(mut steps: Vec<Step>, channels: usize, mean: &[f32], std: &[f32]) -> Result<Pipeline> {
    match channels {
        // First: one channel is less to resample. It is also where Pillow pipelines do it, on
        // loading, and the rounding makes the order matter.
        1 => steps.insert(0, Step::ToGrey(ToGrey)),
        // Last, for the same reason; copies can be made at any place.
        3 => steps.push(Step::ToRgb(ToRgb)),
        _ => {
            return Err(Error::Parameter {
                transform: "Pipeline",
                reason: format!("channels is {channels}, it must be 1 or 3"),
            });
        }
    }
    steps.push(Step::Normalize(Normalize { mean: mean.to_vec(), std: std.to_vec() }));
    let pipeline = Pipeline::new(steps);
    pipeline.validate()?;
    Ok(pipeline)
}
