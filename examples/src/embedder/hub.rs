use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

/// Where models of `hf://` addresses come from.
#[derive(Debug, Clone, Default, Args)]
pub struct HubArgs {
    /// Folder of the hub's cache (default: HF_HOME/hub, else ~/.cache/huggingface/hub).
    #[arg(long)]
    pub hub_cache: Option<PathBuf>,
    /// Address of the hub (default: HF_ENDPOINT, else the public one).
    #[arg(long)]
    pub hub_endpoint: Option<String>,
    /// Take models from the cache only (also HF_HUB_OFFLINE=1). The token comes from HF_TOKEN.
    #[arg(long)]
    pub offline: bool,
}

/// A model's file on this machine.
pub(super) struct Located {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

#[cfg(feature = "hub")]
impl HubArgs {
    pub(crate) fn options(&self) -> Result<vit_models::HubOptions> {
        use anyhow::Context as _;
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let home = || {
            let home = variable("HF_HOME").map(PathBuf::from);
            let user = || Some(PathBuf::from(variable("HOME")?).join(".cache/huggingface"));
            home.or_else(user).map(|home| home.join("hub"))
        };
        let cache = self.hub_cache.clone().or_else(home);
        let cache = cache.context("give --hub-cache: neither HF_HOME nor HOME is set")?;
        let mut options = vit_models::HubOptions::new(cache);
        if let Some(endpoint) = self.hub_endpoint.clone().or_else(|| variable("HF_ENDPOINT")) {
            options.endpoint = endpoint.trim_end_matches('/').to_string();
        }
        options.token = variable("HF_TOKEN");
        let on = |value: String| !matches!(value.to_lowercase().as_str(), "0" | "false" | "no");
        options.offline = self.offline || variable("HF_HUB_OFFLINE").is_some_and(on);
        Ok(options)
    }

    pub(super) fn locate(&self, address: &str) -> Result<Located> {
        use anyhow::Context as _;
        let hub = vit_models::Hub::new(self.options()?)?;
        let model = with_bar(|note| hub.fetch(&address.parse()?, note))?;
        for file in
            model.weights.iter().chain(&model.config).chain(&model.preprocessor).chain(&model.index)
        {
            let whence = if file.cached { "cached" } else { "fetched" };
            println!("{} ({} bytes, {whence}) sha256 {}", file.name, file.bytes, file.sha256);
        }
        let name = format!("{}@{}", model.address, model.commit);
        // Of several parts the index is what is opened.
        let file = model.index.as_ref().or(model.weights.first());
        let file = file.with_context(|| format!("{address} has no weights"))?;
        Ok(Located { name, path: file.path.clone() })
    }
}

/// Shows the progress of a transfer, and takes the bar away afterwards.
#[cfg(feature = "hub")]
pub(crate) fn with_bar<T, E>(
    transfer: impl FnOnce(&mut dyn FnMut(vit_models::HubProgress)) -> Result<T, E>,
) -> Result<T, E> {
    let bar = indicatif::ProgressBar::no_length();
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    let result = transfer(&mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.file.to_string());
    });
    bar.finish_and_clear();
    result
}

#[cfg(not(feature = "hub"))]
impl HubArgs {
    pub(super) fn locate(&self, address: &str) -> Result<Located> {
        anyhow::bail!("{address}: build with --features hub")
    }
}
