//! `config.json` beside a weight file, as timm and Hugging Face's libraries write it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::WeightFile;
use crate::{CropMode, Error, ImageSize, Interpolation, Pooling, Preprocessing, Result, VitConfig};

/// Bytes such a file may have.
const MAX_BYTES: u64 = 4 << 20;

/// What it says, as far as it says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sidecar {
    pub(super) architecture: Option<String>,
    pub(super) image_size: Option<ImageSize>,
    pub(super) patch_size: Option<usize>,
    pub(super) in_chans: Option<usize>,
    pub(super) embed_dim: Option<usize>,
    pub(super) depth: Option<usize>,
    pub(super) num_heads: Option<usize>,
    pub(super) layer_norm_eps: Option<f64>,
    pub(super) init_values: Option<f64>,
    pub(super) num_classes: Option<usize>,
    pub(super) pooling: Option<Pooling>,
    pub(super) labels: Vec<String>,
    pub(super) preprocessing: Option<Preprocessing>,
}

impl Sidecar {
    /// Of the file beside the weights, if there is one.
    pub(super) fn beside(file: &WeightFile) -> Result<Option<Self>> {
        let Some(folder) = file.files().next().and_then(Path::parent) else { return Ok(None) };
        let Some(config) = json(&folder.join("config.json"))? else { return Ok(None) };
        let mut sidecar = match config.get("model_type") {
            Some(_) => Self::hugging_face(&config),
            None => Self::timm(&config),
        };
        if let Some(prepared) = json(&folder.join("preprocessor_config.json"))? {
            sidecar.preprocessing = preprocessor(&prepared, sidecar.in_chans.unwrap_or(3));
        }
        Ok(Some(sidecar))
    }

    fn hugging_face(config: &Value) -> Self {
        let number = |key: &str| config.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let labels = config.get("id2label").and_then(Value::as_object);
        let mut labels: Vec<(usize, String)> = labels
            .into_iter()
            .flatten()
            .filter_map(|(id, label)| Some((id.parse().ok()?, label.as_str()?.to_string())))
            .collect();
        labels.sort();
        let model_type = config.get("model_type").and_then(Value::as_str);
        Self {
            architecture: model_type.map(str::to_string),
            image_size: config.get("image_size").and_then(size),
            patch_size: number("patch_size"),
            in_chans: number("num_channels"),
            embed_dim: number("hidden_size"),
            depth: number("num_hidden_layers"),
            num_heads: number("num_attention_heads"),
            layer_norm_eps: config.get("layer_norm_eps").and_then(Value::as_f64),
            init_values: config.get("layerscale_value").and_then(Value::as_f64),
            num_classes: None,
            pooling: None,
            labels: labels.into_iter().map(|(_, label)| label).collect(),
            preprocessing: None,
        }
    }

    fn timm(config: &Value) -> Self {
        let pretrained = config.get("pretrained_cfg").unwrap_or(config);
        let arguments = config.get("model_args").unwrap_or(&Value::Null);
        let number = |key: &str| arguments.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let input: Option<Vec<usize>> =
            pretrained.get("input_size").and_then(|v| serde_json::from_value(v.clone()).ok());
        let table = match input.as_deref() {
            Some([_, height, width]) => Some(ImageSize { height: *height, width: *width }),
            _ => None,
        };
        let labels = pretrained.get("label_names").or_else(|| config.get("label_names"));
        let pooling = config.get("global_pool").or_else(|| arguments.get("global_pool"));
        Self {
            architecture: config.get("architecture").and_then(Value::as_str).map(str::to_string),
            image_size: arguments.get("img_size").and_then(size).or(table),
            patch_size: number("patch_size"),
            in_chans: number("in_chans").or(input.as_deref().and_then(|i| i.first().copied())),
            embed_dim: number("embed_dim"),
            depth: number("depth"),
            num_heads: number("num_heads"),
            layer_norm_eps: None,
            init_values: arguments.get("init_values").and_then(Value::as_f64),
            num_classes: config.get("num_classes").and_then(Value::as_u64).map(|n| n as usize),
            pooling: pooling.and_then(Value::as_str).and_then(timm_pooling),
            labels: labels.and_then(|v| serde_json::from_value(v.clone()).ok()).unwrap_or_default(),
            preprocessing: timm_preprocessing(pretrained),
        }
    }

    /// That it does not contradict what shapes say.
    pub(super) fn agrees(&self, config: &VitConfig) -> std::result::Result<(), String> {
        let pairs = [
            ("patch_size", self.patch_size, config.patch_size),
            ("in_chans", self.in_chans, config.in_chans),
            ("embed_dim", self.embed_dim, config.embed_dim),
            ("depth", self.depth, config.depth),
            ("num_classes", self.num_classes, config.num_classes),
        ];
        let wrong = pairs.iter().find(|(_, told, found)| told.is_some_and(|told| told != *found));
        match wrong {
            Some((field, told, found)) => Err(format!(
                "config.json says {field} {}, the tensors say {found}",
                told.unwrap_or_default()
            )),
            None => Ok(()),
        }
    }
}

fn json(path: &Path) -> Result<Option<Value>> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let fault = |reason: String| Error::File { path: PathBuf::from(path), reason };
    let length = match std::fs::metadata(path) {
        Ok(about) if about.is_file() => about.len(),
        _ => return Ok(None),
    };
    if length > MAX_BYTES {
        return Err(fault(format!("{length} bytes are too many for a configuration")));
    }
    let text = std::fs::read(path).map_err(io)?;
    Ok(Some(serde_json::from_slice(&text).map_err(|e| fault(format!("is not JSON: {e}")))?))
}

/// A side or `[height, width]`.
fn size(value: &Value) -> Option<ImageSize> {
    serde_json::from_value(value.clone()).ok()
}

fn timm_pooling(name: &str) -> Option<Pooling> {
    Some(match name {
        "token" => Pooling::ClassToken,
        "avg" => Pooling::GlobalPool,
        "max" => Pooling::Max,
        "" => Pooling::None,
        _ => return None,
    })
}

fn floats(value: Option<&Value>) -> Option<Vec<f64>> {
    serde_json::from_value(value?.clone()).ok()
}

fn timm_preprocessing(config: &Value) -> Option<Preprocessing> {
    let mut plain = serde_json::Map::new();
    for key in ["input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std"] {
        if let Some(value) = config.get(key) {
            plain.insert(key.to_string(), value.clone());
        }
    }
    serde_json::from_value(Value::Object(plain)).ok()
}

/// Hugging Face's image processors: resized to both sides, or by the short side and cropped.
fn preprocessor(config: &Value, channels: usize) -> Option<Preprocessing> {
    let side = |key: &str, part: &str| config.get(key)?.get(part)?.as_u64().map(|n| n as usize);
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let sides = |key: &str| Some((side(key, "height")?, side(key, "width")?));
    let crop = sides("crop_size").filter(|_| flag("do_center_crop") != Some(false));
    let (height, width) = crop.or_else(|| sides("size"))?;
    let (crop_pct, crop_mode) = match (crop, side("size", "shortest_edge")) {
        (Some((crop, _)), Some(edge)) if edge > 0 => (crop as f64 / edge as f64, CropMode::Center),
        _ => (1., CropMode::Squash),
    };
    // Pillow's numbers.
    let interpolation = match config.get("resample").and_then(Value::as_u64) {
        Some(0) => Interpolation::Nearest,
        Some(1) => Interpolation::Lanczos,
        Some(3) => Interpolation::Bicubic,
        _ => Interpolation::Bilinear,
    };
    Some(Preprocessing {
        input_size: [channels, height, width],
        crop_pct,
        crop_mode,
        interpolation,
        mean: floats(config.get("image_mean"))?,
        std: floats(config.get("image_std"))?,
    })
}

impl WeightFile {
    /// Names of the outputs as `config.json` beside the file says them; none where it does not.
    ///
    /// # Errors
    /// [`Error::File`] when that file cannot be read.
    pub fn labels_beside(&self) -> Result<Vec<String>> {
        Ok(Sidecar::beside(self)?.map(|sidecar| sidecar.labels).unwrap_or_default())
    }

    /// What pictures need, as `config.json` (timm) or `preprocessor_config.json` (Hugging Face)
    /// beside the file says it.
    ///
    /// # Errors
    /// [`Error::File`] when one of those cannot be read.
    pub fn preprocessing_beside(&self) -> Result<Option<Preprocessing>> {
        Ok(Sidecar::beside(self)?.and_then(|sidecar| sidecar.preprocessing))
    }
}
