//! The whole diagnosis of a weight file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::health::TensorHealth;
use super::tables::COUNTER;
use super::view::View;
use super::{Architecture, Container, Family, LoadOptions, Outcome, WeightFile};
use crate::{ModelConfig, Result, VitConfig};

/// What to compare a file with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DoctorOptions {
    /// A model by the name of a preset; the file's own guess where nothing is said.
    pub model: Option<String>,
    /// Or a model by its configuration.
    pub config: Option<ModelConfig>,
    /// The family, where the names do not tell.
    pub family: Option<Family>,
}

/// How much of a model a file gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Coverage {
    /// Tensors of the model that get values.
    pub tensors_loaded: usize,
    /// Tensors of the model; 0 where no model is known to count them of.
    pub tensors: usize,
    /// Numbers of the model that get values.
    pub values_loaded: usize,
    /// Numbers of the model.
    pub values: usize,
}

impl Coverage {
    /// The smaller of both shares, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let share = |part: usize, whole: usize| match whole {
            0 => 0.,
            whole => part as f64 / whole as f64,
        };
        share(self.tensors_loaded, self.tensors).min(share(self.values_loaded, self.values))
    }
}

/// One tensor of the model or the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoctorRow {
    /// Name in the model, or in the file where the model has none.
    pub name: String,
    /// What would become of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Shape in the model, or in the file where the model has none.
    pub shape: Vec<usize>,
}

/// What a weight file is, what a model would get from it, and whether its numbers are sound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The file.
    pub path: PathBuf,
    /// Its size, all shards together.
    pub bytes: u64,
    /// The way it is written.
    pub container: Container,
    /// The dictionary that was taken from it; empty for the file itself.
    pub section: String,
    /// Dictionaries that hold tensors, with how many.
    pub sections: Vec<(String, usize)>,
    /// Whose names it has.
    pub family: Family,
    /// What it is of that family, in words.
    pub variant: String,
    /// What stands before every name of the encoder.
    pub prefix: String,
    /// The model that was guessed; nothing with a note why not.
    pub guess: Option<Architecture>,
    /// The model it was compared with.
    pub compared_with: Option<String>,
    /// What one should know.
    pub notes: Vec<String>,
    /// One row for each tensor of the model or the file, sorted by name.
    pub rows: Vec<DoctorRow>,
    /// How much of the model the file gives.
    pub coverage: Coverage,
    /// Tensors of the model that would stay at their first values.
    pub left_at_first_value: Vec<String>,
    /// Tensors of the file by type of number.
    pub types: BTreeMap<String, usize>,
    /// What makes it likely that a part of the model is missing from the file. Only of a model that
    /// was guessed: a told one has its own number of blocks.
    pub suspicions: Vec<String>,
    /// Tensors whose numbers cannot be right, with why.
    pub faults: BTreeMap<String, String>,
    /// Tensors of zeros that may be so.
    pub zeros: Vec<String>,
    /// Every tensor's numbers.
    pub health: Vec<TensorHealth>,
    /// What a training program left beside the weights.
    pub training: Map<String, Value>,
}

impl Diagnosis {
    /// Whether the file gives at least this share of the model, its numbers are sound, and nothing
    /// looks cut off.
    #[must_use]
    pub fn is_healthy(&self, min_coverage: f64) -> bool {
        let sound = self.faults.is_empty() && self.suspicions.is_empty();
        sound && self.coverage.share() >= min_coverage
    }
}

impl WeightFile {
    /// Looks at everything: names, shapes and every number.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a model that is not known; [`crate::Error::File`] when numbers cannot
    /// be read. That the model cannot be guessed is not an error but a note.
    pub fn diagnose(&self, options: &DoctorOptions) -> Result<Diagnosis> {
        let mut notes = Vec::new();
        let mut suspicions = Vec::new();
        let told = options.config.is_some() || options.model.is_some();
        let guess = match self.guess_as(options.family) {
            Ok(guess) => {
                notes.extend(guess.notes);
                if !told {
                    notes.extend(guess.suspicions.iter().cloned());
                    suspicions = guess.suspicions;
                }
                Some(guess.architecture)
            }
            Err(error) => {
                notes.push(format!("the model cannot be guessed: {error}"));
                None
            }
        };
        let view = View::of(self, options.family, |_| false);
        let (compared_with, config) = target(options, guess.as_ref())?;
        let wanted: BTreeMap<String, Vec<usize>> = match &config {
            Some(config) => {
                config.specs()?.into_iter().map(|spec| (spec.name, spec.shape)).collect()
            }
            None => {
                if guess.is_some() {
                    notes.push(
                        "names are compared with torchvision's, shapes are not; how many tensors \
                         such a model has is not known, so none is counted as covered"
                            .to_string(),
                    );
                }
                let known = guess.is_some();
                let useful = view.places.iter().filter(|(name, _)| known && is_of_cnn(name));
                useful.map(|(name, place)| (name.clone(), place.shape.clone())).collect()
            }
        };
        let mut load = LoadOptions { family: options.family, ..LoadOptions::default() };
        if let Some(ModelConfig::Vit(config)) = &config {
            load = load.for_model(config);
        }
        load.file_grid = guess.as_ref().and_then(Architecture::vit).map(VitConfig::grid);
        let report = self.plan(&wanted, &load).report;
        let left: Vec<String> = report.missing().into_iter().map(str::to_string).collect();
        let count = |shape: &Vec<usize>| shape.iter().fold(1, |n: usize, s| n.saturating_mul(*s));
        let elements = |name: &String| wanted.get(name).map_or(0, count);
        let values = wanted.keys().map(elements).fold(0, usize::saturating_add);
        // Without a configuration the file would be compared with itself.
        let coverage = config.as_ref().map_or(Coverage::default(), |_| Coverage {
            tensors_loaded: wanted.len() - left.len(),
            tensors: wanted.len(),
            values_loaded: left.iter().map(elements).fold(values, usize::saturating_sub),
            values,
        });
        let shape = |name: &str| wanted.get(name).or_else(|| self.shapes().get(name)).cloned();
        let rows = report.tensors.into_iter().map(|row| DoctorRow {
            shape: shape(&row.name).unwrap_or_default(),
            name: row.name,
            outcome: row.outcome,
        });
        let health = self.health()?;
        let mut types = BTreeMap::new();
        for tensor in &health {
            *types.entry(format!("{:?}", tensor.dtype).to_lowercase()).or_insert(0) += 1;
        }
        let fault = |t: &TensorHealth| t.fault().map(|fault| (t.name.clone(), fault));
        let zero = health.iter().filter(|t| t.all_zero && t.fault().is_none());
        Ok(Diagnosis {
            path: self.path().to_path_buf(),
            bytes: self.bytes(),
            container: self.container(),
            section: self.section().to_string(),
            sections: self.sections().to_vec(),
            family: view.naming.family,
            variant: variant(&view),
            prefix: view.naming.prefix.clone(),
            compared_with,
            notes,
            rows: rows.collect(),
            coverage,
            left_at_first_value: left,
            types,
            suspicions,
            faults: health.iter().filter_map(fault).collect(),
            zeros: zero.map(|t| t.name.clone()).collect(),
            health,
            training: self.training().clone(),
            guess,
        })
    }
}

/// The model to compare with: as told, or as guessed.
fn target(
    options: &DoctorOptions,
    guess: Option<&Architecture>,
) -> Result<(Option<String>, Option<ModelConfig>)> {
    if let Some(config) = &options.config {
        return Ok((Some("the given configuration".to_string()), Some(config.clone())));
    }
    if let Some(name) = &options.model {
        return Ok((Some(name.clone()), Some(ModelConfig::by_name(name)?)));
    }
    let Some(Architecture { name, config }) = guess else { return Ok((None, None)) };
    Ok((Some(name.clone()), config.clone()))
}

/// Whether torchvision's DenseNets and ResNets have such a parameter.
fn is_of_cnn(name: &str) -> bool {
    const PARTS: [&str; 6] = ["features.", "classifier.", "conv1.", "bn1.", "layer", "fc."];
    PARTS.iter().any(|part| name.starts_with(part)) && !name.ends_with(COUNTER.0)
}

/// What the file is of its family.
fn variant(view: &View) -> String {
    let has = |name: &str| view.places.contains_key(name);
    let begins = |part: &str| view.places.keys().any(|name| name.starts_with(part));
    let mut parts = Vec::new();
    match view.naming.family {
        Family::SmpEncoder => parts.push("encoder of a U-Net"),
        Family::DenseNet | Family::ResNet => parts.push("convolutional network"),
        Family::Unknown => parts.push("names of no known family"),
        _ => parts.push("vision transformer"),
    }
    if begins("decoder_blocks.") {
        parts.push("with MAE's decoder (reconstructs pictures)");
    } else if view.naming.family == Family::Mae && !has("head.weight") {
        parts.push("encoder only (cannot reconstruct pictures)");
    }
    if begins("bert_") {
        parts.push("with the report decoder of MRM");
    }
    let head = ["head.weight", "classifier.weight", "fc.weight"].into_iter().any(has);
    match (head, has("fc_norm.weight")) {
        (true, true) => parts.push("with a head after global pooling (fine-tuned)"),
        (true, false) => parts.push("with a head"),
        (false, _) => parts.push("without a head"),
    }
    parts.join(", ")
}
