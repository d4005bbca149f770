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
    /// Whether several labels may be true at once.
    pub(super) multi_label: bool,
    pub(super) preprocessing: Option<Preprocessing>,
}

impl Sidecar {
    /// Of the file beside the weights, if there is one.
    pub(super) fn beside(file: &WeightFile) -> Result<Option<Self>> {
        let Some(folder) = file.files().next().and_then(Path::parent) else { return Ok(None) };
        let Some(config) = json(&folder.join("config.json"))? else { return Ok(None) };
        let fault = |name: &str, reason| Error::File { path: folder.join(name), reason };
        let mut sidecar = match config.get("model_type") {
            Some(_) => Self::hugging_face(&config),
            None => Self::timm(&config).map_err(|reason| fault("config.json", reason))?,
        };
        let name = "preprocessor_config.json";
        if let Some(prepared) = json(&folder.join(name))? {
            let channels = sidecar.in_chans.unwrap_or(3);
            let found = preprocessor(&prepared, channels).map_err(|reason| fault(name, reason))?;
            sidecar.preprocessing = Some(found);
        }
        if let Some(preprocessing) = &sidecar.preprocessing {
            preprocessing.check()?;
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
            multi_label: config.get("problem_type").and_then(Value::as_str)
                == Some("multi_label_classification"),
            preprocessing: None,
        }
    }

    fn timm(config: &Value) -> std::result::Result<Self, String> {
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
        Ok(Self {
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
            multi_label: false,
            preprocessing: timm_preprocessing(pretrained)?,
        })
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

/// The keys of a preprocessing in timm's configurations.
const TIMM_KEYS: [&str; 6] =
    ["input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std"];

/// Nothing where the configuration has none of the keys that decide; what is there and cannot be
/// understood is an error, since a default in its place would be wrong without a word.
fn timm_preprocessing(config: &Value) -> std::result::Result<Option<Preprocessing>, String> {
    let found = TIMM_KEYS.iter().filter_map(|key| Some(((*key).to_string(), config.get(key)?)));
    let mut plain: serde_json::Map<_, _> = found.map(|(key, v)| (key, v.clone())).collect();
    if !plain.contains_key("mean") && !plain.contains_key("std") {
        return Ok(None);
    }
    // timm's own defaults.
    plain.entry("crop_pct").or_insert(0.875.into());
    plain.entry("interpolation").or_insert("bicubic".into());
    serde_json::from_value(Value::Object(plain))
        .map(Some)
        .map_err(|e| format!("how pictures are prepared: {e}"))
}

/// Hugging Face's image processors: resized to both sides, or by the short side and cropped. A side
/// is a number or an object.
fn preprocessor(config: &Value, channels: usize) -> std::result::Result<Preprocessing, String> {
    let number = |value: &Value| value.as_u64().map(|n| n as usize);
    let flag = |key: &str| config.get(key).and_then(Value::as_bool) != Some(false);
    for key in ["do_normalize", "do_rescale", "do_resize"] {
        if !flag(key) {
            return Err(format!("{key} is false: such pictures are not prepared here"));
        }
    }
    let sides = |key: &str| match config.get(key)? {
        Value::Object(size) => Some((number(size.get("height")?)?, number(size.get("width")?)?)),
        side => number(side).map(|side| (side, side)),
    };
    let edge = config.get("size").and_then(|size| size.get("shortest_edge")).and_then(number);
    let crop = sides("crop_size").filter(|_| flag("do_center_crop"));
    let whole = sides("size");
    let (height, width) = crop.or(whole).or(edge.map(|edge| (edge, edge))).ok_or("no size")?;
    // What is resized before the crop. DeiT's processor brings both sides to it; its own programs
    // and we bring the short one, which is the same for square pictures.
    let before = edge.or(whole.filter(|_| crop.is_some()).map(|(height, _)| height));
    let (crop_pct, crop_mode) = match before {
        Some(edge) if edge >= height && height > 0 => {
            (height as f64 / edge as f64, CropMode::Center)
        }
        Some(edge) => return Err(format!("a crop of {height} from a short side of {edge}")),
        None => (1., CropMode::Squash),
    };
    // Pillow's numbers.
    let interpolation = match config.get("resample").map(Value::as_u64) {
        Some(Some(0)) => Interpolation::Nearest,
        Some(Some(1)) => Interpolation::Lanczos,
        Some(Some(3)) => Interpolation::Bicubic,
        None | Some(Some(2)) => Interpolation::Bilinear,
        Some(_) => return Err(format!("resample {:?} is not known", config.get("resample"))),
    };
    let floats = |key: &str| -> std::result::Result<Vec<f64>, String> {
        let value = config.get(key).ok_or_else(|| format!("it has no {key}"))?;
        serde_json::from_value(value.clone()).map_err(|e| format!("{key}: {e}"))
    };
    Ok(Preprocessing {
        input_size: [channels, height, width],
        crop_pct,
        crop_mode,
        interpolation,
        mean: floats("image_mean")?,
        std: floats("image_std")?,
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

    /// Whether `config.json` beside the file says that several labels may be true at once
    /// (`problem_type` of Hugging Face).
    ///
    /// # Errors
    /// [`Error::File`] when that file cannot be read.
    pub fn multi_label_beside(&self) -> Result<bool> {
        Ok(Sidecar::beside(self)?.is_some_and(|sidecar| sidecar.multi_label))
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
