use serde::{Deserialize, Serialize};
use vit_models::{BlockConfig, VitConfig};

use crate::{Error, Result};

/// A masked auto-encoder (He et al., arXiv 2111.06377): an encoder that sees the visible patches
/// only, and a small decoder that predicts the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaeConfig {
    /// The encoder; see [`VitConfig::mae_encoder`].
    pub encoder: VitConfig,
    /// Width of the decoder's tokens.
    pub decoder_embed_dim: usize,
    /// Blocks of the decoder.
    pub decoder_depth: usize,
    /// Attention heads of the decoder; divides `decoder_embed_dim`.
    pub decoder_num_heads: usize,
    /// Share of patches that is hidden, between 0 and 1.
    pub mask_ratio: f64,
    /// Whether each target patch is normalised by its own mean and variance.
    pub norm_pix_loss: bool,
}

impl MaeConfig {
    /// A decoder of the published size (width 512, 8 blocks, 16 heads), mask ratio 0.75, pixel
    /// loss, on an encoder of any size.
    #[must_use]
    pub fn new(encoder: VitConfig) -> Self {
        Self {
            encoder: encoder.mae_encoder(),
            decoder_embed_dim: 512,
            decoder_depth: 8,
            decoder_num_heads: 16,
            mask_ratio: 0.75,
            norm_pix_loss: false,
        }
    }

    /// `mae_vit_base_patch16`.
    #[must_use]
    pub fn base_patch16() -> Self {
        Self::new(VitConfig::vit_base(16, 224))
    }

    /// `mae_vit_large_patch16`.
    #[must_use]
    pub fn large_patch16() -> Self {
        Self::new(VitConfig::vit_large(16, 224))
    }

    /// `mae_vit_huge_patch14`.
    #[must_use]
    pub fn huge_patch14() -> Self {
        Self::new(VitConfig::vit_huge(14, 224))
    }

    /// Values of one patch.
    #[must_use]
    pub fn patch_values(&self) -> usize {
        self.encoder.patch_size * self.encoder.patch_size * self.encoder.in_chans
    }

    /// Configuration of the decoder's blocks: the encoder's habits at the decoder's width.
    #[must_use]
    pub fn decoder_block(&self) -> BlockConfig {
        let dim = self.decoder_embed_dim;
        BlockConfig {
            dim,
            num_heads: self.decoder_num_heads,
            hidden_dim: (dim as f64 * self.encoder.mlp_ratio) as usize,
            drop_path: 0.,
            ..self.encoder.block(0)
        }
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that does not.
    pub fn check(&self) -> Result<()> {
        self.encoder.check()?;
        if self.encoder.prefix_tokens() != 1 || self.encoder.prefix_positions() != 1 {
            return Err(Error::Config(
                "a masked auto-encoder's encoder has a class token with a position, and no other \
                 token before the patches"
                    .to_string(),
            ));
        }
        let (dim, heads) = (self.decoder_embed_dim, self.decoder_num_heads);
        if dim == 0 || heads == 0 || !dim.is_multiple_of(heads) || !dim.is_multiple_of(4) {
            return Err(Error::Config(format!(
                "decoder_embed_dim {dim} must be a multiple of 4 and of decoder_num_heads {heads}"
            )));
        }
        if self.decoder_depth == 0 {
            return Err(Error::Config("decoder_depth is 0".to_string()));
        }
        crate::keep_count(self.encoder.num_patches(), self.mask_ratio).map(|_| ())
    }
}
