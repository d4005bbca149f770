use anyhow::Result;
use clap::Args;
use vit_models::VitConfig;

/// The encoder, where no weight file says what it is.
#[derive(Debug, Clone, Args)]
pub struct EncoderArgs {
    /// Encoder: vit_tiny, vit_small, vit_base, vit_large, vit_huge.
    #[arg(long, default_value = "vit_tiny")]
    pub model: String,
    /// Side of a patch in pixels.
    #[arg(long, default_value_t = 4)]
    pub patch_size: usize,
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
    /// When there is no such model.
    pub fn config(&self, input_size: usize) -> Result<VitConfig> {
        let mut config = VitConfig::by_name(&self.model, self.patch_size, input_size)?;
        config.in_chans = self.in_chans;
        config.depth = self.depth.unwrap_or(config.depth);
        Ok(config)
    }
}
