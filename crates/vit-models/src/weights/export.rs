//! Weights written for other libraries: their names, their configuration.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::card::{CARD_PART, ModelCard};
use super::hf_out::{self, HfModel};
use super::view::View;
use super::write::{texts, write_atomic, write_safetensors};
use super::{
    Architecture, Family, LoadOptions, LoadReport, Outcome, TensorReport, WeightFile, timm_out,
};
use crate::{Error, ModelConfig, Result, Vit};

/// Whose names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// timm's, with its `config.json`; `timm.create_model("local-dir:FOLDER")` reads it.
    Timm,
    /// MAE's, with the decoder if there is one.
    Mae,
    /// Hugging Face's, with `config.json` and `preprocessor_config.json`: ViT, ViTMAE where there is
    /// a decoder, Dinov2 where there is LayerScale, DeiT where there is a distillation token.
    HuggingFace,
}

/// File that holds the weights of a written folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// Writes a model into a folder: [`MODEL_FILE`] with `card` in its metadata, and the configuration
/// that the other library expects beside it. `tensors` have our names (timm's and MAE's).
///
/// The report has a row for each of them: matched, renamed, split into parts, adapted, or dropped
/// with the reason.
///
/// # Errors
/// [`Error::Config`] when the other library has no such model; [`Error::Missing`] when a tensor of
/// the configuration is not there; [`Error::Io`] when a file cannot be written.
pub fn export_weights(
    folder: &Path,
    tensors: &BTreeMap<String, Tensor>,
    card: &ModelCard,
    layout: Layout,
) -> Result<LoadReport> {
    let path = folder.join(MODEL_FILE);
    let specs = Vit::specs(&card.config)?;
    let missing: Vec<String> = specs
        .into_iter()
        .map(|spec| spec.name)
        .filter(|name| !tensors.contains_key(name))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Missing { path, names: missing, found: tensors.len() });
    }
    let mut sidecars: Vec<(&str, Value)> = Vec::new();
    let written = match layout {
        Layout::Mae => same(tensors, |_| None),
        Layout::Timm => {
            sidecars.push(("config.json", timm_out::config(card)?));
            same(tensors, |name| is_decoder(name).then_some("timm has no decoder"))
        }
        Layout::HuggingFace => {
            let model = HfModel::of(&card.config, tensors.keys().any(|name| is_decoder(name)))?;
            sidecars.push(("config.json", hf_out::config(&model, card, tensors)?));
            if let Some(preprocessing) = &card.preprocessing {
                let value = hf_out::preprocessor(preprocessing);
                sidecars.push(("preprocessor_config.json", value));
            }
            hf_out::tensors(&model, &card.config, tensors)?
        }
    };
    let (named, mut rows) = written;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    fs::create_dir_all(folder)
        .map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    let fault = |e: serde_json::Error| Error::File { path: path.clone(), reason: e.to_string() };
    let mut metadata = Map::new();
    metadata.insert(CARD_PART.to_string(), serde_json::to_value(card).map_err(fault)?);
    metadata.insert("layout".to_string(), json!(layout));
    let mut header = texts(&path, &metadata)?;
    // Hugging Face's libraries refuse a file that does not say this.
    header.insert("format".to_string(), "pt".to_string());
    write_safetensors(&path, &named, &header)?;
    for (name, value) in sidecars {
        let text = serde_json::to_vec_pretty(&value).map_err(fault)?;
        write_atomic(&folder.join(name), |file| file.write_all(&text))?;
    }
    Ok(LoadReport { path, tensors: rows })
}

pub(super) fn is_decoder(name: &str) -> bool {
    name.starts_with("decoder_") || name == "mask_token"
}

/// Tensors under new names, and what became of each of ours.
pub(super) type Written = (BTreeMap<String, Tensor>, Vec<TensorReport>);

fn same(
    tensors: &BTreeMap<String, Tensor>,
    dropped: impl Fn(&str) -> Option<&'static str>,
) -> Written {
    let mut written = BTreeMap::new();
    let mut rows = Vec::new();
    for (name, tensor) in tensors {
        let outcome = match dropped(name) {
            Some(reason) => Outcome::Dropped { reason: reason.to_string() },
            None => {
                written.insert(name.clone(), tensor.clone());
                Outcome::Matched
            }
        };
        rows.push(TensorReport { name: name.clone(), outcome });
    }
    (written, rows)
}

impl WeightFile {
    /// Writes the file's model into a folder under another family's names. The card says its guess,
    /// what `config.json` says of labels and pictures, and the file's hash.
    ///
    /// # Errors
    /// As [`WeightFile::guess`], [`WeightFile::load_into`] and [`export_weights`];
    /// [`Error::Config`] for a convolutional network.
    pub fn convert(
        &self,
        folder: &Path,
        layout: Layout,
        family: Option<Family>,
    ) -> Result<LoadReport> {
        let known = self.card()?;
        // A card says what names and shapes cannot.
        let (name, config) = match &known {
            Some(card) => (card.name.clone(), Some(ModelConfig::Vit(card.config.clone()))),
            None => {
                let Architecture { name, config } = self.guess_as(family)?.architecture;
                (name, config)
            }
        };
        let Some(ModelConfig::Vit(config)) = config else {
            return Err(Error::Config(format!("{name} has torchvision's names already")));
        };
        let view = View::of(self, family, |_| false);
        let specs = Vit::specs(&config)?.into_iter().map(|spec| (spec.name, spec.shape));
        let decoder = view.places.iter().filter(|(name, _)| is_decoder(name));
        let decoder = decoder.map(|(name, place)| (name.clone(), place.shape.clone()));
        let wanted: BTreeMap<String, Vec<usize>> = specs.chain(decoder).collect();
        let mut options = LoadOptions::strict().for_model(&config);
        (options.family, options.file_grid) = (family, Some(config.grid()));
        let (tensors, _) = self.tensors_for(&wanted, &options, &Device::Cpu)?;
        let (known_labels, known_preprocessing, licence, multi_label) = match known {
            Some(card) => (card.labels, card.preprocessing, card.licence, card.multi_label),
            None => (Vec::new(), None, None, self.multi_label_beside()?),
        };
        let labels = if known_labels.is_empty() { self.labels_beside()? } else { known_labels };
        let preprocessing = match known_preprocessing {
            None => self.preprocessing_beside()?,
            some => some,
        };
        let fits = labels.len() == config.num_classes;
        let card = ModelCard {
            name,
            preprocessing,
            multi_label,
            labels: if fits { labels } else { Vec::new() },
            licence,
            sources: self.hashes()?,
            config,
        };
        export_weights(folder, &tensors.into_iter().collect(), &card, layout)
    }
}
