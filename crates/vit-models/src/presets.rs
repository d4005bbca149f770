use crate::{
    CropMode, Error, InitScheme, Interpolation, Mlp, Pooling, PositionFilter, PositionTable,
    Preprocessing, Result, VitConfig,
};

/// Sizes by name: width, blocks, heads, width of the MLP over the width.
const SIZES: [(&str, [usize; 3], f64); 8] = [
    ("tiny", [192, 12, 3], 4.),
    ("small", [384, 12, 6], 4.),
    ("base", [768, 12, 12], 4.),
    ("medium", [512, 12, 8], 4.),
    ("large", [1024, 24, 16], 4.),
    ("huge", [1280, 32, 16], 4.),
    ("giant", [1408, 40, 16], 48. / 11.),
    ("gigantic", [1664, 48, 16], 64. / 13.),
];

/// DINOv2's giant, which is not that of Zhai et al.: width, blocks, heads.
const DINO_GIANT: [usize; 3] = [1536, 40, 24];

/// The name of a size by its width and blocks.
pub(crate) fn size_name(embed_dim: usize, depth: usize) -> Option<&'static str> {
    if [embed_dim, depth] == DINO_GIANT[..2] {
        return Some("giant");
    }
    let known = SIZES.iter().find(|(_, [dim, blocks, _], _)| (*dim, *blocks) == (embed_dim, depth));
    known.map(|(name, ..)| *name)
}

/// The number of blocks that published models of this width have.
pub(crate) fn usual_depth(embed_dim: usize) -> Option<usize> {
    if embed_dim == DINO_GIANT[0] {
        return Some(DINO_GIANT[1]);
    }
    SIZES.iter().find(|(_, [dim, ..], _)| *dim == embed_dim).map(|(_, [_, depth, _], _)| *depth)
}

/// The number of heads that published models of this width have.
pub(crate) fn usual_heads(embed_dim: usize) -> Option<usize> {
    if embed_dim == DINO_GIANT[0] {
        return Some(DINO_GIANT[2]);
    }
    SIZES.iter().find(|(_, [dim, ..], _)| *dim == embed_dim).map(|(_, [.., heads], _)| *heads)
}

const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const HALF: ([f64; 3], [f64; 3]) = ([0.5; 3], [0.5; 3]);

/// A published model: its configuration and what was done to its pictures.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Preset {
    /// The name it was asked for by.
    pub name: String,
    /// Shape and habits, without a head.
    pub config: VitConfig,
    /// What was done to its pictures.
    pub preprocessing: Preprocessing,
}

impl Preset {
    /// A model by the name that timm or the model's own repository gives it. A tag after a point
    /// is taken where it changes something (`.mae`).
    ///
    /// | name | model |
    /// |---|---|
    /// | `vit_{tiny,small,base,large,huge,giant,gigantic}_patch{8,14,16,32}_{224,384,…}` | ViT (augreg) |
    /// | `vit_{base,large,huge}_patch{14,16}_{224}.mae`, `mae_vit_{base,large,huge}_patch{14,16}` | MAE |
    /// | `deit_{tiny,small,base}_patch16_{224,384}`, `deit_…_distilled_patch16_{224,384}` | DeiT |
    /// | `deit3_{small,base,large,huge}_patch{14,16}_{224,384}` | DeiT III |
    /// | `vit_{small,base,large,giant}_patch14_dinov2`, `vit_…_patch14_reg4_dinov2` | DINOv2 |
    /// | `retfound_mae` | RETFound |
    /// | `vit_{small,base,large,huge}_patch{14,16}` | the seeds' classifiers, 224 px |
    ///
    /// # Errors
    /// [`Error::Config`] for another name.
    pub fn by_name(name: &str) -> Result<Self> {
        let (plain, tag) = name.split_once('.').unwrap_or((name, ""));
        let preset = match plain {
            "retfound_mae" => Self::retfound(),
            _ if plain.ends_with("dinov2") => Self::dinov2(plain),
            _ => plain
                .strip_prefix("mae_vit_")
                .map(|rest| Self::sized(rest).map(Self::mae))
                .or_else(|| plain.strip_prefix("deit3_").map(Self::deit3))
                .or_else(|| plain.strip_prefix("deit_").map(Self::deit))
                .or_else(|| plain.strip_prefix("vit_").map(Self::sized))
                .flatten(),
        };
        let preset = preset.map(|preset| if tag == "mae" { preset.mae() } else { preset });
        let mut preset =
            preset.filter(|preset| preset.config.check().is_ok()).ok_or_else(|| {
                Error::Config(format!(
                    "no model '{name}'; names are timm's, such as vit_base_patch16_224, \
                 vit_large_patch16_224.mae, deit_small_patch16_224, vit_base_patch14_reg4_dinov2, \
                 and mae_vit_large_patch16, retfound_mae"
                ))
            })?;
        preset.name = name.to_string();
        Ok(preset)
    }

    /// `SIZE_patchP` or `SIZE_patchP_IMG`, 224 px where no size is given.
    fn sized(rest: &str) -> Option<Self> {
        let (size, rest) = rest.split_once("_patch")?;
        let (patch, img) = rest.split_once('_').unwrap_or((rest, "224"));
        let config = VitConfig::sized(size, patch.parse().ok()?, img.parse().ok()?)?;
        // Fine-tuned at a larger size, a model is tested on whole pictures.
        let crop_pct = if config.img_size.height >= 384 { 1. } else { 0.9 };
        Some(Self::of(config, crop_pct, HALF))
    }

    fn of(config: VitConfig, crop_pct: f64, (mean, std): ([f64; 3], [f64; 3])) -> Self {
        let preprocessing = Preprocessing {
            input_size: [config.in_chans, config.img_size.height, config.img_size.width],
            crop_pct,
            crop_mode: CropMode::Center,
            interpolation: Interpolation::Bicubic,
            mean: mean.to_vec(),
            std: std.to_vec(),
        };
        Self { name: String::new(), config, preprocessing }
    }

    fn mae(mut self) -> Self {
        self.config.position_table = PositionTable::SinCos;
        self.config.init = InitScheme::Mae;
        self.normalised(IMAGENET)
    }

    fn normalised(mut self, (mean, std): ([f64; 3], [f64; 3])) -> Self {
        self.preprocessing.mean = mean.to_vec();
        self.preprocessing.std = std.to_vec();
        self
    }

    fn deit(rest: &str) -> Option<Self> {
        let plain = rest.replacen("_distilled", "", 1);
        let mut preset = Self::sized(&plain)?.normalised(IMAGENET);
        preset.config.distilled = plain != rest;
        Some(preset)
    }

    fn deit3(rest: &str) -> Option<Self> {
        let mut preset = Self::sized(rest)?.normalised(IMAGENET);
        preset.config.init_values = Some(1e-6);
        preset.config.no_embed_class = true;
        Some(preset)
    }

    fn dinov2(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("vit_")?.strip_suffix("_dinov2")?;
        let (size, registers) = match rest.strip_suffix("_reg4") {
            Some(rest) => (rest.strip_suffix("_patch14")?, true),
            None => (rest.strip_suffix("_patch14")?, false),
        };
        let mut config = VitConfig::sized(size, 14, 518)?;
        if size == "giant" {
            [config.embed_dim, config.depth, config.num_heads] = DINO_GIANT;
            (config.mlp_ratio, config.mlp) = (2.66667 * 2., Mlp::SwigluPacked);
        }
        config.init_values = Some(1e-5);
        (config.reg_tokens, config.no_embed_class) = if registers { (4, true) } else { (0, false) };
        Some(Self::of(config, 1., IMAGENET))
    }

    fn retfound() -> Option<Self> {
        let mut config = VitConfig::sized("large", 16, 224)?;
        config.pooling = Pooling::GlobalPool;
        Some(Self::of(config, 0.875, IMAGENET))
    }
}

impl VitConfig {
    fn sized(size: &str, patch_size: usize, img_size: usize) -> Option<Self> {
        let (_, shape, mlp_ratio) = SIZES.iter().find(|(name, ..)| *name == size)?;
        Some(Self { mlp_ratio: *mlp_ratio, ..Self::plain(*shape, patch_size, img_size) })
    }

    fn plain([embed_dim, depth, num_heads]: [usize; 3], patch: usize, img_size: usize) -> Self {
        Self {
            img_size: img_size.into(),
            patch_size: patch,
            in_chans: 3,
            embed_dim,
            depth,
            num_heads,
            mlp_ratio: 4.,
            mlp: Mlp::Gelu,
            qkv_bias: true,
            qk_norm: false,
            init_values: None,
            pre_norm: false,
            layer_norm_eps: 1e-6,
            drop_path: 0.,
            drop_rate: 0.,
            pos_drop_rate: 0.,
            patch_drop_rate: 0.,
            proj_drop_rate: 0.,
            attn_drop_rate: 0.,
            class_token: true,
            distilled: false,
            reg_tokens: 0,
            no_embed_class: false,
            dynamic_img_size: false,
            position_filter: PositionFilter::Bicubic,
            pooling: Pooling::ClassToken,
            fc_norm: None,
            num_classes: 0,
            position_table: PositionTable::Learned,
            init: InitScheme::Timm,
        }
    }

    /// ViT-Ti: width 192, 12 blocks, 3 heads.
    #[must_use]
    pub fn vit_tiny(patch_size: usize, img_size: usize) -> Self {
        Self::plain([192, 12, 3], patch_size, img_size)
    }

    /// ViT-S: width 384, 12 blocks, 6 heads.
    #[must_use]
    pub fn vit_small(patch_size: usize, img_size: usize) -> Self {
        Self::plain([384, 12, 6], patch_size, img_size)
    }

    /// ViT-B: width 768, 12 blocks, 12 heads.
    #[must_use]
    pub fn vit_base(patch_size: usize, img_size: usize) -> Self {
        Self::plain([768, 12, 12], patch_size, img_size)
    }

    /// ViT-L: width 1024, 24 blocks, 16 heads.
    #[must_use]
    pub fn vit_large(patch_size: usize, img_size: usize) -> Self {
        Self::plain([1024, 24, 16], patch_size, img_size)
    }

    /// ViT-H: width 1280, 32 blocks, 16 heads.
    #[must_use]
    pub fn vit_huge(patch_size: usize, img_size: usize) -> Self {
        Self::plain([1280, 32, 16], patch_size, img_size)
    }

    /// A size by name, `vit_tiny` to `vit_gigantic`, with any patches and pictures. Published
    /// models have names of their own: [`Preset::by_name`].
    ///
    /// # Errors
    /// [`Error::Config`] for another name.
    pub fn by_name(name: &str, patch_size: usize, img_size: usize) -> Result<Self> {
        let config =
            name.strip_prefix("vit_").and_then(|size| Self::sized(size, patch_size, img_size));
        config.ok_or_else(|| {
            let names: Vec<_> = SIZES.iter().map(|(size, ..)| format!("vit_{size}")).collect();
            Error::Config(format!("no model '{name}'; there are {}", names.join(", ")))
        })
    }
}
