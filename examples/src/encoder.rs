use anyhow::{Result, bail};
use clap::Args;
use vit_models::{Preset, VitConfig};

/// The encoder, where no weight file says what it is.
#[derive(Debug, Clone, Args)]
pub struct EncoderArgs {
    /// Encoder: a size, `vit_tiny` to `vit_huge`, or a published model by timm's name, such as
    /// `vit_small_patch16_224` or `vit_base_patch14_reg4_dinov2`.
    #[arg(long, default_value = "vit_tiny")]
    pub model: String,
    /// Side of a patch in pixels, where the model's name does not tell it (default: 4).
    #[arg(long)]
    pub patch_size: Option<usize>,
    /// Channels the model sees: 1 or 3.
    #[arg(long, default_value_t = 1)]
    pub in_chans: usize,
    /// Number of blocks, if not the preset's.
    #[arg(long)]
    pub depth: Option<usize>,
}

impl EncoderArgs {
    /// The configuration for pictures of this side.
    ///
    /// # Errors
    /// When there is no such model, or its name tells another patch size.
    pub fn config(&self, input_size: usize) -> Result<VitConfig> {
        let mut config = match Preset::by_name(&self.model) {
            Ok(preset) => preset.config,
            Err(_) => VitConfig::by_name(&self.model, self.patch_size.unwrap_or(4), input_size)?,
        };
        if let Some(patch) = self.patch_size.filter(|patch| *patch != config.patch_size) {
            bail!("{} has patches of {}, not {patch}", self.model, config.patch_size);
        }
        config.img_size = input_size.into();
        config.in_chans = self.in_chans;
        config.depth = self.depth.unwrap_or(config.depth);
        Ok(config)
    }
}
