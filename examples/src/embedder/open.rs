//! From a file or an address to a model. What any checkpoint needs is decided in
//! [`Embedder::from_file`] and nowhere else.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest, Sha256};
use vit_datasets::Task;
use vit_models::candle_core::{DType, Device};
use vit_models::{Classifier, LoadOptions, ParamStore, Vit, VitConfig};

use super::hub::Located;
use super::{Embedder, HubArgs};
use crate::finetune::build;
use crate::{Card, Kind};

impl Embedder {
    /// Opens a model: the path of a weight file or `hf://owner/name[@revision][/file]`.
    ///
    /// # Errors
    /// When it cannot be found, read or understood, or its pipeline draws random numbers.
    pub fn open(model: &str, hub: &HubArgs, device: &Device) -> Result<Self> {
        let located = if model.starts_with("hf://") { hub.locate(model)? } else { local(model)? };
        let embedder = Self::from_file(located, device)?;
        ensure!(
            !embedder.pipeline.is_random(),
            "the pipeline of {model} draws random numbers: it is one of training"
        );
        embedder.pipeline.validate().with_context(|| format!("the pipeline of {model}"))?;
        Ok(embedder)
    }

    /// Builds the model of a file of ours: its card says how.
    fn from_file(located: Located, device: &Device) -> Result<Self> {
        let path = &located.path;
        let (file, card) = Card::open(path)?;
        let (config, labels, lora) = match card.model {
            Kind::Mae { config } => (config.encoder, Task::Unlabelled, None),
            Kind::Classifier { config, labels, lora } => (config, labels, lora),
        };
        let model = match lora {
            None => Vit::from_file(&config, path, device)?.0,
            Some(lora) => {
                let mut specs = Vit::specs(&config)?;
                specs.extend(vit_lora::specs(&specs, &lora)?);
                let store = ParamStore::init(&specs, 0, DType::F32, device)?;
                file.load_into(&store, &LoadOptions::strict())?;
                build(&config, Some(&lora), &store.frozen())?
            }
        };
        let names = labels.names().len();
        let outputs = model.num_classes();
        ensure!(
            names == outputs || names == 0,
            "{} has {outputs} outputs and names {names} labels",
            located.name
        );
        Ok(Self {
            name: located.name,
            sha256: located.sha256,
            input: input(&config),
            model: Box::new(model),
            labels,
            pipeline: card.pipeline,
            device: device.clone(),
        })
    }
}

/// Channels, height and width of the pictures.
fn input(config: &VitConfig) -> [usize; 3] {
    [config.in_chans, config.img_size.height, config.img_size.width]
}

fn local(model: &str) -> Result<Located> {
    let path = Path::new(model);
    let mut file = File::open(path).with_context(|| model.to_string())?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).with_context(|| model.to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Located { name, path: path.to_path_buf(), sha256: format!("{:x}", hash.finalize()) })
}
