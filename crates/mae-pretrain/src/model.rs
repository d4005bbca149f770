use std::sync::Arc;

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use vit_kernels::{PatchOrder, patchify};
use vit_models::{Block, Context, LayerNorm, Linear, ParamInit, ParamSpec, Vit, sin_cos_table};

use crate::{Error, MaeConfig, Masking, Result};

/// Added to a patch's variance before the root, in normalised targets.
const NORM_PIX_EPS: f64 = 1e-6;

/// A masked auto-encoder.
#[derive(Debug, Clone)]
pub struct Mae {
    config: MaeConfig,
    encoder: Vit,
    decoder_embed: Linear,
    mask_token: Tensor,
    decoder_pos_embed: Tensor,
    decoder_blocks: Vec<Block>,
    decoder_norm: LayerNorm,
    decoder_pred: Linear,
}

/// What one forward pass gives.
#[derive(Debug, Clone)]
pub struct MaeOutput {
    /// Mean squared error of the hidden patches, a scalar.
    pub loss: Tensor,
    /// Predicted patches, `[B, L, p²·C]`, in the target's space.
    pub pred: Tensor,
    /// Encoder output, `[B, 1 + keep, D]`.
    pub latent: Tensor,
}

impl Mae {
    /// The parameters of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(config: &MaeConfig) -> Result<Vec<ParamSpec>> {
        config.check()?;
        let (dim, encoder) = (config.decoder_embed_dim, &config.encoder);
        let rows = encoder.num_patches() + 1;
        let table = Arc::new(sin_cos_table(dim, encoder.grid())?);
        let mut table =
            ParamSpec::new("decoder_pos_embed".into(), &[1, rows, dim], ParamInit::Values(table));
        table.trainable = false;
        let mut specs = Vit::specs(encoder)?;
        specs.push(ParamSpec::new("mask_token".into(), &[1, 1, dim], ParamInit::Normal(0.02)));
        specs.push(table);
        let matrix = |in_dim, out_dim| encoder.init.matrix(in_dim, out_dim);
        let (width, values) = (encoder.embed_dim, config.patch_values());
        specs.extend(Linear::specs("decoder_embed", width, dim, true, matrix(width, dim)));
        for i in 0..config.decoder_depth {
            specs.extend(Block::specs(&format!("decoder_blocks.{i}"), &config.decoder_block()));
        }
        specs.extend(LayerNorm::specs("decoder_norm", dim));
        specs.extend(Linear::specs("decoder_pred", dim, values, true, matrix(dim, values)));
        Ok(specs)
    }

    /// Reads the model from a parameter store or whatever else a `VarBuilder` stands for.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or a parameter is missing or has another shape.
    pub fn new(config: &MaeConfig, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        let (dim, encoder) = (config.decoder_embed_dim, &config.encoder);
        let rows = encoder.num_patches() + 1;
        let block = config.decoder_block();
        let blocks = (0..config.decoder_depth).map(|i| {
            Block::new(&format!("decoder_blocks.{i}"), &block, &vb.pp("decoder_blocks").pp(i))
        });
        Ok(Self {
            encoder: Vit::new(encoder, vb)?,
            decoder_embed: Linear::new(encoder.embed_dim, dim, true, &vb.pp("decoder_embed"))?,
            mask_token: vb.get((1, 1, dim), "mask_token")?,
            decoder_pos_embed: vb.get((1, rows, dim), "decoder_pos_embed")?,
            decoder_blocks: blocks.collect::<vit_models::Result<_>>()?,
            decoder_norm: LayerNorm::new(dim, encoder.layer_norm_eps, &vb.pp("decoder_norm"))?,
            decoder_pred: Linear::new(dim, config.patch_values(), true, &vb.pp("decoder_pred"))?,
            config: config.clone(),
        })
    }

    /// The configuration the model was built from.
    #[must_use]
    pub fn config(&self) -> &MaeConfig {
        &self.config
    }

    /// Hides patches, encodes the visible ones, predicts the hidden ones, compares.
    ///
    /// `images` is `[B, C, H, W]`, `masking` belongs to the same batch.
    ///
    /// # Errors
    /// When pictures or mask do not fit the model.
    pub fn forward(&self, images: &Tensor, masking: &Masking, ctx: &Context) -> Result<MaeOutput> {
        let tokens = self.encoder.embed_patches(images)?;
        let latent = self.encoder.encode(&masking.gather_visible(&tokens)?, ctx)?;
        let pred = self.decode(&latent, masking, ctx)?;
        let loss = self.loss(images, &pred, masking)?;
        Ok(MaeOutput { loss, pred, latent })
    }

    /// From the encoder's tokens `[B, 1 + keep, D]` to predicted patches `[B, L, p²·C]`.
    fn decode(&self, latent: &Tensor, masking: &Masking, ctx: &Context) -> Result<Tensor> {
        let x = self.decoder_embed.forward(latent, ctx)?;
        let (batch, tokens, dim) = x.dims3()?;
        let patches = self.config.encoder.num_patches();
        let hidden = patches - masking.keep();
        let hidden = self.mask_token.broadcast_as((batch, hidden, dim))?;
        let shuffled = Tensor::cat(&[&x.narrow(1, 1, tokens - 1)?, &hidden], 1)?;
        let mut x = Tensor::cat(&[&x.narrow(1, 0, 1)?, &masking.restore(&shuffled)?], 1)?
            .broadcast_add(&self.decoder_pos_embed)?;
        for block in &self.decoder_blocks {
            x = block.forward(&x, ctx)?;
        }
        let pred = self.decoder_pred.forward(&self.decoder_norm.forward(&x)?, ctx)?;
        Ok(pred.narrow(1, 1, patches)?)
    }

    /// Mean squared error of the hidden patches:
    /// `Σ_hidden mean_over_values((pred − target)²) / number of hidden patches`.
    fn loss(&self, images: &Tensor, pred: &Tensor, masking: &Masking) -> Result<Tensor> {
        let target = self.target(images)?;
        let per_patch = (pred - target)?.sqr()?.mean(D::Minus1)?;
        let mask = masking.mask_tensor(images.device())?.to_dtype(per_patch.dtype())?;
        let hidden = masking.batch() * (self.config.encoder.num_patches() - masking.keep());
        Ok(((per_patch * mask)?.sum_all()? / hidden as f64)?)
    }

    /// What the decoder should predict, `[B, L, p²·C]`: pixels `(row, column, channel)`, with
    /// `norm_pix_loss` each patch brought to mean 0 and variance 1.
    ///
    /// # Errors
    /// When the pictures do not fit the model.
    pub fn target(&self, images: &Tensor) -> Result<Tensor> {
        let patches = patchify(images, self.config.encoder.patch_size, PatchOrder::ChannelLast)?;
        if !self.config.norm_pix_loss {
            return Ok(patches);
        }
        let PatchStatistics { mean, root } = patch_statistics(&patches)?;
        Ok(patches.broadcast_sub(&mean)?.broadcast_div(&root)?)
    }

    /// Predicted patches in the space of the pictures.
    ///
    /// A model trained with `norm_pix_loss` predicts no brightness and no contrast: here each
    /// patch gets those of the true patch, hidden ones included. A picture made this way shows
    /// structure only, and must say so.
    ///
    /// # Errors
    /// When pictures and prediction do not belong together.
    pub fn pixels(&self, images: &Tensor, pred: &Tensor) -> Result<Tensor> {
        if !self.config.norm_pix_loss {
            return Ok(pred.clone());
        }
        let patches = patchify(images, self.config.encoder.patch_size, PatchOrder::ChannelLast)?;
        let PatchStatistics { mean, root } = patch_statistics(&patches)?;
        Ok(pred.broadcast_mul(&root)?.broadcast_add(&mean)?)
    }
}

/// Mean and `√(variance + eps)` of each patch over all its values together, `[B, L, 1]`; the
/// variance is unbiased (divided by n − 1), as in the reference.
struct PatchStatistics {
    mean: Tensor,
    root: Tensor,
}

fn patch_statistics(patches: &Tensor) -> Result<PatchStatistics> {
    let values = patches.dim(D::Minus1)?;
    if values < 2 {
        return Err(Error::Config("a patch of one value has no variance".to_string()));
    }
    let mean = patches.mean_keepdim(D::Minus1)?;
    let squares = patches.broadcast_sub(&mean)?.sqr()?.sum_keepdim(D::Minus1)?;
    let root = ((squares / (values - 1) as f64)? + NORM_PIX_EPS)?.sqrt()?;
    Ok(PatchStatistics { mean, root })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// `spec/xray-lora.md` 12.
    #[test]
    fn patch_normalisation_is_unbiased() {
        let patches = Tensor::new(&[[[1f64, 2., 4., 7.]]], &Device::Cpu).unwrap();
        let PatchStatistics { mean, root } = patch_statistics(&patches).unwrap();
        let normed = patches.broadcast_sub(&mean).unwrap().broadcast_div(&root).unwrap();
        let got = normed.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (got, want) in got.iter().zip([-0.944911, -0.566947, 0.188982, 1.322876]) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }

    /// `spec/mae.md` 1.1: elements, trainable elements, tensors of the state dictionary.
    #[test]
    fn published_sizes() {
        for (config, elements, trainable, tensors) in [
            (MaeConfig::base_patch16(), 111_907_840, 111_655_680, 254),
            (MaeConfig::large_patch16(), 329_541_888, 329_239_296, 398),
            (MaeConfig::huge_patch14(), 657_074_508, 656_613_964, 494),
        ] {
            let specs = Mae::specs(&config).unwrap();
            let count = |specs: &mut dyn Iterator<Item = &ParamSpec>| -> usize {
                specs.map(ParamSpec::elements).sum()
            };
            assert_eq!(count(&mut specs.iter()), elements);
            assert_eq!(count(&mut specs.iter().filter(|spec| spec.trainable)), trainable);
            assert_eq!(specs.len(), tensors);
        }
    }
}
