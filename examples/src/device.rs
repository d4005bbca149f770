use anyhow::{Context, Result, bail};
use clap::Args;
use vit_models::candle_core::Device;

/// Where to compute.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// `cpu`, `cuda`, `cuda:1`, `metal`. A GPU needs the feature of its name when building.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl DeviceArgs {
    /// The device.
    ///
    /// # Errors
    /// When the name is unknown, the device absent, or the program built without it.
    pub fn open(&self) -> Result<Device> {
        let (kind, number) = match self.device.split_once(':') {
            Some((kind, number)) => {
                (kind, number.parse().with_context(|| format!("--device {}", self.device))?)
            }
            None => (self.device.as_str(), 0),
        };
        let device = match kind {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Device::new_cuda(number),
            "metal" => Device::new_metal(number),
            _ => bail!("--device {}: there are cpu, cuda and metal", self.device),
        };
        device.with_context(|| {
            format!("--device {} (is the program built with --features {kind}?)", self.device)
        })
    }
}
