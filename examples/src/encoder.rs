use anyhow::{Result, bail};
use clap::Args;
use vit_models::{ModelConfig, VitConfig};

/// The network, where no weight file says what it is.
#[derive(Debug, Clone, Args)]
pub struct EncoderArgs {
    /// Network: a size, `vit_tiny` to `vit_huge`, or a published model by timm's or torchvision's
    /// name, such as `vit_small_patch16_224`, `vit_base_patch14_reg4_dinov2`, `densenet121`
    /// (default: what the weight file is of, else `vit_tiny`).
    #[arg(long)]
    pub model: Option<String>,
    /// Side of a patch in pixels, where the model's name does not tell it (default: 4).
    #[arg(long)]
    pub patch_size: Option<usize>,
    /// Channels the model sees: 1 or 3 (default: the weight file's, else 1).
    #[arg(long)]
    pub in_chans: Option<usize>,
    /// Number of blocks, if not the preset's.
    #[arg(long)]
    pub depth: Option<usize>,
}

impl EncoderArgs {
    /// The configuration for pictures of this side.
    ///
    /// # Errors
    /// When there is no such model, or its name tells another patch size or depth.
    pub fn config(&self, input_size: usize) -> Result<ModelConfig> {
        let name = self.model.as_deref().unwrap_or("vit_tiny");
        let mut config = match ModelConfig::by_name(name) {
            Ok(config) => config,
            Err(unknown) => {
                let size = VitConfig::by_name(name, self.patch_size.unwrap_or(4), input_size);
                ModelConfig::Vit(size.map_err(|_| unknown)?)
            }
        };
        match (&mut config, self.patch_size, self.depth) {
            (ModelConfig::Vit(config), patch, depth) => {
                if let Some(patch) = patch.filter(|patch| *patch != config.patch_size) {
                    bail!("{name} has patches of {}, not {patch}", config.patch_size);
                }
                config.depth = depth.unwrap_or(config.depth);
            }
            (_, None, None) => {}
            _ => bail!("--patch-size and --depth are for vision transformers, {name} is none"),
        }
        Ok(config.for_pictures(input_size.into(), self.in_chans.unwrap_or(1)))
    }

    /// As [`EncoderArgs::config`], for what only a vision transformer can do.
    ///
    /// # Errors
    /// As [`EncoderArgs::config`], and for another network.
    pub fn vit(&self, input_size: usize) -> Result<VitConfig> {
        match self.config(input_size)? {
            ModelConfig::Vit(config) => Ok(config),
            _ => bail!("a masked auto-encoder has a vision transformer as its encoder"),
        }
    }
}
