//! From decoded pictures to what a model takes, with the feature `transforms`.

use candle_core::{Device, Tensor};
use vit_random::Streams;
use vit_transforms::{
    CenterCrop, Filter, Image, Normalize, Pipeline, Resize, ResizeSize, ToGrey, ToRgb,
};

use crate::{CropMode, Error, Interpolation, Preprocessing, Result};

impl Preprocessing {
    /// The steps for one picture: colour, resize, crop, normalisation.
    ///
    /// # Errors
    /// [`Error::Config`] when the numbers make no sense, or for channels other than 1 or 3.
    pub fn pipeline(&self) -> Result<Pipeline> {
        self.check()?;
        let [channels, height, width] = self.input_size;
        let colour = match channels {
            1 => ToGrey.into(),
            3 => ToRgb.into(),
            _ => {
                let reason = format!("pictures have 1 or 3 channels, not {channels}");
                return Err(Error::Config(format!("preprocessing: {reason}")));
            }
        };
        let filter = match self.interpolation {
            Interpolation::Nearest => Filter::Nearest,
            Interpolation::Bilinear => Filter::Bilinear,
            Interpolation::Bicubic => Filter::Bicubic,
            Interpolation::Lanczos => Filter::Lanczos,
        };
        let mut steps = vec![colour];
        match self.crop_mode {
            CropMode::Center => {
                let size = ResizeSize::ShorterSide(self.resized());
                steps.push(Resize { size, filter }.into());
                steps.push(CenterCrop { size: height }.into());
            }
            CropMode::Squash => {
                let size = ResizeSize::Exact { height, width };
                steps.push(Resize { size, filter }.into());
            }
        }
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        steps.push(Normalize { mean: narrow(&self.mean), std: narrow(&self.std) }.into());
        let pipeline = Pipeline::new(steps);
        pipeline.validate().map_err(picture)?;
        Ok(pipeline)
    }

    /// Pictures as one batch `[B, C, H, W]`.
    ///
    /// # Errors
    /// As [`Preprocessing::pipeline`]; [`Error::Config`] when a picture cannot be prepared.
    pub fn batch(&self, pictures: &[Image], device: &Device) -> Result<Tensor> {
        let pipeline = self.pipeline()?;
        // Nothing here is random; a pipeline is given a stream all the same.
        let mut stream = Streams::new(0).stream("evaluation", 0, 0);
        let [channels, height, width] = self.input_size;
        let mut values = vec![0.; pictures.len() * channels * height * width];
        for (image, out) in pictures.iter().zip(values.chunks_exact_mut(channels * height * width))
        {
            pipeline.apply_chw(image.clone(), &mut stream, out).map_err(picture)?;
        }
        Ok(Tensor::from_vec(values, (pictures.len(), channels, height, width), device)?)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn picture(error: vit_transforms::Error) -> Error {
    Error::Config(format!("picture: {error}"))
}
