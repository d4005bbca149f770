use serde::{Deserialize, Serialize};

use crate::{Error, ImageSize, PositionFilter, Result};

/// How tokens become one embedding. Where the norm stands is [`VitConfig::norm_after_pooling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean of the patch tokens.
    GlobalPool,
    /// The class token and the mean of the patch tokens, one after the other: twice as wide
    /// (the linear evaluation of DINOv2).
    ClassAverage,
    /// The largest value over the patch tokens, channel by channel.
    Max,
    /// None: there are tokens and no embedding.
    None,
}

/// What stands between the two matrices of a block's MLP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mlp {
    /// GELU, the exact form with erf.
    #[default]
    Gelu,
    /// `silu(gate) · value` (Shazeer, arXiv 2002.05202) with gate and value from one matrix, gate
    /// first, as timm's `SwiGLUPacked` and DINOv2's giant have it: `mlp.fc1` is `[hidden, D]`,
    /// `mlp.fc2` `[D, hidden / 2]`.
    SwigluPacked,
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
    /// Height and width of the pictures, in pixels.
    pub img_size: ImageSize,
    /// Side of a patch, in pixels; divides both sides of `img_size`.
    pub patch_size: usize,
    /// Channels of the pictures.
    pub in_chans: usize,
    /// Width of the tokens.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of the MLP's first matrix over `embed_dim`.
    pub mlp_ratio: f64,
    /// What stands between the MLP's two matrices.
    #[serde(default)]
    pub mlp: Mlp,
    /// Whether the fused query, key, value projection has a bias.
    pub qkv_bias: bool,
    /// Layer norm of queries and keys, head by head (`attn.q_norm`, `attn.k_norm`).
    #[serde(default)]
    pub qk_norm: bool,
    /// First value of LayerScale (Touvron et al., arXiv 2103.17239; `ls1.gamma`, `ls2.gamma`);
    /// `None` for none.
    #[serde(default)]
    pub init_values: Option<f64>,
    /// A norm before the first block (`norm_pre`); the patch embedding then has no bias.
    #[serde(default)]
    pub pre_norm: bool,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Largest drop-path rate: block `i` of `n` gets `drop_path · i / (n − 1)`.
    pub drop_path: f64,
    /// Rate of dropout on the embedding before the head.
    #[serde(default)]
    pub drop_rate: f64,
    /// Rate of dropout on tokens after positions are added.
    #[serde(default)]
    pub pos_drop_rate: f64,
    /// Share of the patches that training leaves out, drawn anew for each picture (Liu et al.,
    /// arXiv 2208.07220).
    #[serde(default)]
    pub patch_drop_rate: f64,
    /// Rate of dropout after the projection of the attention and in the MLP.
    #[serde(default)]
    pub proj_drop_rate: f64,
    /// Rate of dropout on attention weights.
    #[serde(default)]
    pub attn_drop_rate: f64,
    /// Whether there is a class token (`cls_token`).
    #[serde(default = "yes")]
    pub class_token: bool,
    /// Whether a distillation token (`dist_token`) with a head of its own (`head_dist`) follows the
    /// class token (DeiT, arXiv 2012.12877). Scores are the mean of both heads.
    #[serde(default)]
    pub distilled: bool,
    /// Register tokens (`reg_token`; Darcet et al., arXiv 2309.16588).
    #[serde(default)]
    pub reg_tokens: usize,
    /// Whether `pos_embed` has rows for patches only, and none for the tokens before them.
    #[serde(default)]
    pub no_embed_class: bool,
    /// Whether pictures of any size that is a multiple of `patch_size` are taken: the position
    /// table is then resized as they come.
    #[serde(default)]
    pub dynamic_img_size: bool,
    /// Filter by which the position table is resized.
    #[serde(default)]
    pub position_filter: PositionFilter,
    /// How tokens become one embedding.
    pub pooling: Pooling,
    /// Whether the norm stands after pooling (`fc_norm`) and not before it (`norm`). `None` is
    /// timm's rule: after for the mean and the maximum of patches, before for the rest.
    #[serde(default)]
    pub fc_norm: Option<bool>,
    /// Outputs of the head; 0 for no head.
    pub num_classes: usize,
    /// Where position information comes from.
    pub position_table: PositionTable,
    /// Which first values weights get.
    pub init: InitScheme,
}

fn yes() -> bool {
    true
}

impl VitConfig {
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

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        self.img_size.grid(self.patch_size)
    }

    /// Patches per picture.
    #[must_use]
    pub fn num_patches(&self) -> usize {
        let (rows, columns) = self.grid();
        rows * columns
    }

    /// Tokens before the patches: class token, distillation token, registers.
    #[must_use]
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + usize::from(self.distilled) + self.reg_tokens
    }

    /// Rows of the position table before those of the patches.
    #[must_use]
    pub fn prefix_positions(&self) -> usize {
        if self.no_embed_class { 0 } else { self.prefix_tokens() }
    }

    /// Whether the norm stands after pooling (`fc_norm`) and not before it (`norm`).
    #[must_use]
    pub fn norm_after_pooling(&self) -> bool {
        let rule = matches!(self.pooling, Pooling::GlobalPool | Pooling::Max);
        self.fc_norm.unwrap_or(rule)
    }

    /// Width of the embedding that the head gets.
    #[must_use]
    pub fn num_features(&self) -> usize {
        if self.pooling == Pooling::ClassAverage { 2 * self.embed_dim } else { self.embed_dim }
    }

    /// Width of the MLP's first matrix: `embed_dim · mlp_ratio`, cut to an integer.
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
        let faults = self.size_faults().into_iter().chain(self.habit_faults());
        match faults.flatten().next() {
            Some(message) => Err(Error::Config(message)),
            None => Ok(()),
        }
    }

    fn size_faults(&self) -> Vec<Option<String>> {
        let ImageSize { height, width } = self.img_size;
        let (dim, heads, patch) = (self.embed_dim, self.num_heads, self.patch_size);
        let sizes = [
            ("img_size", height),
            ("img_size", width),
            ("patch_size", patch),
            ("in_chans", self.in_chans),
            ("embed_dim", dim),
            ("depth", self.depth),
            ("num_heads", heads),
        ];
        let zero = sizes.iter().find(|(_, size)| *size == 0);
        // A file's numbers decide what is allocated, and products of them must not overflow.
        let large = sizes.iter().find(|(_, size)| *size > LARGEST);
        if let Some((name, _)) = zero {
            return vec![Some(format!("{name} is 0"))];
        }
        if let Some((name, size)) = large {
            return vec![Some(format!("{name} {size} is more than {LARGEST}"))];
        }
        let fault = |fault: bool, message: String| fault.then_some(message);
        let hidden = self.hidden_dim();
        vec![
            fault(
                !height.is_multiple_of(patch) || !width.is_multiple_of(patch),
                format!("img_size {} is not a multiple of patch_size {patch}", self.img_size),
            ),
            fault(
                !dim.is_multiple_of(heads),
                format!("embed_dim {dim} is not a multiple of num_heads {heads}"),
            ),
            fault(
                self.position_table == PositionTable::SinCos && !dim.is_multiple_of(4),
                format!("embed_dim {dim} is not a multiple of 4, as the sin-cos table needs"),
            ),
            fault(
                !self.mlp_ratio.is_finite() || hidden == 0 || hidden > LARGEST,
                format!("mlp_ratio {}", self.mlp_ratio),
            ),
            fault(
                self.mlp == Mlp::SwigluPacked && !hidden.is_multiple_of(2),
                format!("the MLP's width {hidden} is odd, which cannot hold gate and value"),
            ),
            fault(
                self.num_classes > LARGEST || self.reg_tokens > LARGEST,
                format!("num_classes {}, reg_tokens {}", self.num_classes, self.reg_tokens),
            ),
        ]
    }

    fn habit_faults(&self) -> Vec<Option<String>> {
        let fault = |fault: bool, message: &str| fault.then(|| message.to_string());
        let rates = [
            ("drop_path", self.drop_path),
            ("drop_rate", self.drop_rate),
            ("pos_drop_rate", self.pos_drop_rate),
            ("patch_drop_rate", self.patch_drop_rate),
            ("proj_drop_rate", self.proj_drop_rate),
            ("attn_drop_rate", self.attn_drop_rate),
        ];
        let rate = rates.iter().find(|(_, rate)| !(0. ..1.).contains(rate));
        let eps = self.layer_norm_eps;
        let class = matches!(self.pooling, Pooling::ClassToken | Pooling::ClassAverage);
        vec![
            rate.map(|(name, rate)| format!("{name} {rate} is not in [0, 1)")),
            (!eps.is_finite() || eps <= 0.).then(|| format!("layer_norm_eps {eps}")),
            self.init_values.filter(|v| !v.is_finite()).map(|v| format!("init_values {v}")),
            fault(class && !self.class_token, "pooling by class token without class_token"),
            fault(
                self.pooling == Pooling::None && self.num_classes > 0,
                "a head needs an embedding, and pooling is none",
            ),
            fault(
                self.norm_after_pooling() && self.pooling == Pooling::ClassAverage,
                "fc_norm cannot norm two embeddings side by side",
            ),
            fault(
                self.distilled && (!self.class_token || self.pooling != Pooling::ClassToken),
                "a distilled model has a class token and is pooled by it",
            ),
        ]
    }
}

/// No side, width or count of a model is above this.
const LARGEST: usize = 1 << 20;
