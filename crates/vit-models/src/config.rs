use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How tokens become one embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pooling {
    /// The class token after the final norm (`norm.*`).
    ClassToken,
    /// The mean of the patch tokens, then a norm (`fc_norm.*`). There is no `norm.*`.
    GlobalPool,
}

/// Where position information comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PositionTable {
    /// A fixed two-dimensional sine and cosine table that training does not change.
    SinCos,
    /// A table that is trained.
    Learned,
}

/// Which first values weights get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InitScheme {
    /// MAE: Xavier-uniform matrices, the patch embedding as a matrix, tokens N(0, 0.02).
    Mae,
    /// timm: N(0, 0.02) matrices and tables, the patch embedding as a convolution.
    Timm,
}

/// Shape and habits of a vision transformer (Dosovitskiy et al., arXiv 2010.11929).
///
/// Presets are named after the field's models; every field may be changed before building.
/// `deny_unknown_fields` so that a misspelt field in a file is an error and not a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of the square pictures, in pixels.
    pub img_size: usize,
    /// Side of a patch, in pixels; divides `img_size`.
    pub patch_size: usize,
    /// Channels of the pictures.
    pub in_chans: usize,
    /// Width of the tokens.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub num_heads: usize,
    /// Hidden width of the MLP over `embed_dim`.
    pub mlp_ratio: f64,
    /// Whether the fused query, key, value projection has a bias.
    pub qkv_bias: bool,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Largest drop-path rate: block `i` of `n` gets `drop_path · i / (n − 1)`.
    pub drop_path: f64,
    /// How tokens become one embedding.
    pub pooling: Pooling,
    /// Outputs of the head; 0 for no head.
    pub num_classes: usize,
    /// Where position information comes from.
    pub position_table: PositionTable,
    /// Which first values weights get.
    pub init: InitScheme,
}

impl VitConfig {
    fn preset(embed_dim: usize, depth: usize, num_heads: usize, patch: usize, img: usize) -> Self {
        Self {
            img_size: img,
            patch_size: patch,
            in_chans: 3,
            embed_dim,
            depth,
            num_heads,
            mlp_ratio: 4.,
            qkv_bias: true,
            layer_norm_eps: 1e-6,
            drop_path: 0.,
            pooling: Pooling::ClassToken,
            num_classes: 0,
            position_table: PositionTable::Learned,
            init: InitScheme::Timm,
        }
    }

    /// ViT-Ti: width 192, 12 blocks, 3 heads.
    #[must_use]
    pub fn vit_tiny(patch_size: usize, img_size: usize) -> Self {
        Self::preset(192, 12, 3, patch_size, img_size)
    }

    /// ViT-S: width 384, 12 blocks, 6 heads.
    #[must_use]
    pub fn vit_small(patch_size: usize, img_size: usize) -> Self {
        Self::preset(384, 12, 6, patch_size, img_size)
    }

    /// ViT-B: width 768, 12 blocks, 12 heads.
    #[must_use]
    pub fn vit_base(patch_size: usize, img_size: usize) -> Self {
        Self::preset(768, 12, 12, patch_size, img_size)
    }

    /// ViT-L: width 1024, 24 blocks, 16 heads.
    #[must_use]
    pub fn vit_large(patch_size: usize, img_size: usize) -> Self {
        Self::preset(1024, 24, 16, patch_size, img_size)
    }

    /// ViT-H: width 1280, 32 blocks, 16 heads.
    #[must_use]
    pub fn vit_huge(patch_size: usize, img_size: usize) -> Self {
        Self::preset(1280, 32, 16, patch_size, img_size)
    }

    /// A preset by name: `vit_tiny`, `vit_small`, `vit_base`, `vit_large` or `vit_huge`.
    ///
    /// # Errors
    /// [`Error::Config`] for another name.
    pub fn by_name(name: &str, patch_size: usize, img_size: usize) -> Result<Self> {
        let preset = match name {
            "vit_tiny" => Self::vit_tiny,
            "vit_small" => Self::vit_small,
            "vit_base" => Self::vit_base,
            "vit_large" => Self::vit_large,
            "vit_huge" => Self::vit_huge,
            _ => {
                return Err(Error::Config(format!(
                    "no model '{name}'; there are vit_tiny, vit_small, vit_base, vit_large, vit_huge"
                )));
            }
        };
        Ok(preset(patch_size, img_size))
    }

    /// As a classifier with a fresh head.
    #[must_use]
    pub fn classifier(mut self, num_classes: usize, pooling: Pooling) -> Self {
        self.num_classes = num_classes;
        self.pooling = pooling;
        self
    }

    /// As MAE's encoder: class token, final norm, no head, fixed position table, MAE's first
    /// values.
    #[must_use]
    pub fn mae_encoder(mut self) -> Self {
        self.num_classes = 0;
        self.pooling = Pooling::ClassToken;
        self.position_table = PositionTable::SinCos;
        self.init = InitScheme::Mae;
        self.drop_path = 0.;
        self
    }

    /// Patches per side.
    #[must_use]
    pub fn grid(&self) -> usize {
        self.img_size.checked_div(self.patch_size).unwrap_or(0)
    }

    /// Patches per picture.
    #[must_use]
    pub fn num_patches(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Hidden width of the MLP: `embed_dim · mlp_ratio`, cut to an integer.
    #[must_use]
    pub fn hidden_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    /// Drop-path rate of a block.
    #[must_use]
    pub fn drop_path_rate(&self, block: usize) -> f64 {
        if self.depth < 2 { 0. } else { self.drop_path * block as f64 / (self.depth - 1) as f64 }
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not.
    pub fn check(&self) -> Result<()> {
        let positive = [
            ("img_size", self.img_size),
            ("patch_size", self.patch_size),
            ("in_chans", self.in_chans),
            ("embed_dim", self.embed_dim),
            ("depth", self.depth),
            ("num_heads", self.num_heads),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Config(format!("{name} is 0")));
        }
        let faults = [
            (
                !self.img_size.is_multiple_of(self.patch_size),
                format!(
                    "img_size {} is not a multiple of patch_size {}",
                    self.img_size, self.patch_size
                ),
            ),
            (
                !self.embed_dim.is_multiple_of(self.num_heads),
                format!(
                    "embed_dim {} is not a multiple of num_heads {}",
                    self.embed_dim, self.num_heads
                ),
            ),
            (
                self.position_table == PositionTable::SinCos && !self.embed_dim.is_multiple_of(4),
                format!(
                    "embed_dim {} is not a multiple of 4, as the sin-cos table needs",
                    self.embed_dim
                ),
            ),
            (
                !(0. ..1.).contains(&self.drop_path),
                format!("drop_path {} is not in [0, 1)", self.drop_path),
            ),
            (
                !self.mlp_ratio.is_finite() || self.hidden_dim() == 0,
                format!("mlp_ratio {}", self.mlp_ratio),
            ),
            (
                !self.layer_norm_eps.is_finite() || self.layer_norm_eps <= 0.,
                format!("layer_norm_eps {}", self.layer_norm_eps),
            ),
        ];
        match faults.into_iter().find(|(fault, _)| *fault) {
            Some((_, message)) => Err(Error::Config(message)),
            None => Ok(()),
        }
    }
}
