use std::sync::Arc;

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use vit_kernels::{
    PatchOrder, TokenRows, assemble_tokens, gather_tokens, mean_squared_error, patchify,
    patchify_rows,
};
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

    /// Hides patches, encodes the visible ones, predicts every patch, compares the hidden ones.
    ///
    /// `images` is `[B, C, H, W]`, `masking` belongs to the same batch. For training,
    /// [`Mae::loss`] gives the same loss for less work.
    ///
    /// # Errors
    /// When pictures or mask do not fit the model.
    pub fn forward(&self, images: &Tensor, masking: &Masking, ctx: &Context) -> Result<MaeOutput> {
        let latent = self.encode(images, masking, ctx)?;
        let pred = self.decode(&latent, masking, None, ctx)?;
        let pred = pred.narrow(1, 1, self.config.encoder.num_patches())?;
        let hidden = masking.hidden(0)?;
        let loss = self.compare(images, &gather_tokens(&pred, &hidden)?, &hidden)?;
        Ok(MaeOutput { loss, pred, latent })
    }

    /// The loss alone, a scalar: the decoder's last block, norm and projection are computed for
    /// hidden patches only. Equal to that of [`Mae::forward`] but for rounding, and so are its
    /// gradients.
    ///
    /// # Errors
    /// When pictures or mask do not fit the model.
    pub fn loss(&self, images: &Tensor, masking: &Masking, ctx: &Context) -> Result<Tensor> {
        let latent = self.encode(images, masking, ctx)?;
        // Behind the class token.
        let pred = self.decode(&latent, masking, Some(&masking.hidden(1)?), ctx)?;
        self.compare(images, &pred, &masking.hidden(0)?)
    }

    /// Visible patches to the encoder's tokens, `[B, 1 + keep, D]`.
    fn encode(&self, images: &Tensor, masking: &Masking, ctx: &Context) -> Result<Tensor> {
        let (batch, patches) = (images.dims().first(), self.config.encoder.num_patches());
        if batch != Some(&masking.batch()) || masking.patches() != patches {
            return Err(Error::Config(format!(
                "a mask of {} pictures with {} patches for pictures {:?} with {patches}",
                masking.batch(),
                masking.patches(),
                images.dims()
            )));
        }
        let tokens = self.encoder.embed_visible(images, &masking.visible()?, ctx)?;
        Ok(self.encoder.encode(&tokens, ctx)?)
    }

    /// From the encoder's tokens to predictions: `[B, 1 + L, p²·C]`, class token included, or of
    /// `rows` only.
    fn decode(
        &self,
        latent: &Tensor,
        masking: &Masking,
        rows: Option<&TokenRows>,
        ctx: &Context,
    ) -> Result<Tensor> {
        let x = self.decoder_embed.forward(latent, ctx)?;
        let (mask, table) = (&self.mask_token, &self.decoder_pos_embed);
        let mut x = assemble_tokens(&x, mask, table, &masking.assembly()?)?;
        let Some((last, blocks)) = self.decoder_blocks.split_last() else {
            return Err(Error::Config("a decoder without blocks".to_string()));
        };
        for block in blocks {
            x = block.forward(&x, ctx)?;
        }
        let x = last.forward_rows(&x, rows, ctx)?;
        Ok(self.decoder_pred.forward(&self.decoder_norm.forward(&x)?, ctx)?)
    }

    /// Mean squared error of the hidden patches:
    /// `Σ_hidden mean_over_values((pred − target)²) / number of hidden patches`.
    ///
    /// Every patch has the same number of values, so it is the mean over all of them.
    fn compare(&self, images: &Tensor, pred: &Tensor, hidden: &TokenRows) -> Result<Tensor> {
        let patch = self.config.encoder.patch_size;
        let patches = patchify_rows(images, patch, PatchOrder::ChannelLast, hidden)?;
        Ok(mean_squared_error(pred, &self.normalised(patches)?)?)
    }

    /// What the decoder should predict, `[B, L, p²·C]`: pixels `(row, column, channel)`, with
    /// `norm_pix_loss` each patch brought to mean 0 and variance 1.
    ///
    /// # Errors
    /// When the pictures do not fit the model.
    pub fn target(&self, images: &Tensor) -> Result<Tensor> {
        let patches = patchify(images, self.config.encoder.patch_size, PatchOrder::ChannelLast)?;
        self.normalised(patches)
    }

    fn normalised(&self, patches: Tensor) -> Result<Tensor> {
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
