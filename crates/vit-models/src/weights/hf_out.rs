//! Names and configuration of Hugging Face's models.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde_json::{Value, json};

use super::card::ModelCard;
use super::export::Written;
use super::{Family, Outcome, TensorReport};
use crate::{CropMode, Error, Interpolation, Mlp, Pooling, Preprocessing, Result, VitConfig};

/// Which of their models a configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HfModel {
    family: Family,
    /// `model_type` of `config.json`.
    kind: &'static str,
    /// The class that reads it.
    class: &'static str,
    /// Before names of the encoder.
    prefix: &'static str,
}

impl HfModel {
    /// The model, or why there is none.
    pub(super) fn of(config: &VitConfig, decoder: bool) -> Result<Self> {
        let model = |family, kind, class, prefix| Self { family, kind, class, prefix };
        let head = config.num_classes > 0;
        let dino = config.init_values.is_some() || config.reg_tokens > 0;
        let class = config.pooling == Pooling::ClassToken;
        let faults = [
            (config.qk_norm, "norms of queries and keys"),
            (config.pre_norm, "a norm before the blocks"),
            (!config.class_token, "a model without class token"),
            (head && config.norm_after_pooling(), "a norm after pooling (fc_norm)"),
            (head && !dino && !class, "a head on other than the class token"),
            (
                head && dino && config.pooling != Pooling::ClassAverage,
                "a Dinov2 head on the class token alone",
            ),
            (!dino && config.mlp != Mlp::Gelu, "SwiGLU outside of Dinov2"),
            (dino && config.init_values.is_none(), "registers without LayerScale"),
            (dino && decoder, "MAE's decoder with LayerScale or registers"),
            (dino && config.distilled, "a distillation token with LayerScale or registers"),
            (decoder && head, "a decoder and a head at once"),
            (config.norm_after_pooling(), "a norm after pooling (fc_norm)"),
        ];
        if let Some((_, what)) = faults.iter().find(|(fault, _)| *fault) {
            return Err(Error::Config(format!("Hugging Face has no model for {what}")));
        }
        Ok(match (decoder, dino, config.reg_tokens > 0, config.distilled, head) {
            (true, ..) => model(Family::HfVitMae, "vit_mae", "ViTMAEForPreTraining", "vit."),
            (_, true, true, _, true) => model(
                Family::HfDinov2,
                "dinov2_with_registers",
                "Dinov2WithRegistersForImageClassification",
                "dinov2_with_registers.",
            ),
            (_, true, true, _, false) => {
                model(Family::HfDinov2, "dinov2_with_registers", "Dinov2WithRegistersModel", "")
            }
            (_, true, false, _, true) => {
                model(Family::HfDinov2, "dinov2", "Dinov2ForImageClassification", "dinov2.")
            }
            (_, true, false, _, false) => model(Family::HfDinov2, "dinov2", "Dinov2Model", ""),
            (_, _, _, true, true) => {
                model(Family::HfDeit, "deit", "DeiTForImageClassificationWithTeacher", "deit.")
            }
            (_, _, _, true, false) => model(Family::HfDeit, "deit", "DeiTModel", ""),
            (.., true) => model(Family::HfVit, "vit", "ViTForImageClassification", "vit."),
            _ => model(Family::HfVit, "vit", "ViTModel", ""),
        })
    }
}

/// Every tensor under their names.
pub(super) fn tensors(
    model: &HfModel,
    config: &VitConfig,
    ours: &BTreeMap<String, Tensor>,
) -> Result<Written> {
    let mut written = BTreeMap::new();
    let mut rows = Vec::new();
    for (name, tensor) in ours {
        let Some(theirs) = model.family.theirs(name) else {
            let reason = format!("{} has no such tensor", model.class);
            rows.push(TensorReport { name: name.clone(), outcome: Outcome::Dropped { reason } });
            continue;
        };
        let prefix = if theirs.inside { model.prefix } else { "" };
        let names = theirs.names.into_iter().map(|name| format!("{prefix}{name}"));
        let names: Vec<String> = match config.mlp {
            Mlp::SwigluPacked => names
                .map(|n| n.replace(".mlp.fc1.", ".mlp.weights_in."))
                .map(|n| n.replace(".mlp.fc2.", ".mlp.weights_out."))
                .collect(),
            Mlp::Gelu => names.collect(),
        };
        let tensor = if name == "pos_embed" { table(tensor, config)? } else { tensor.clone() };
        let outcome = match names.as_slice() {
            [one] if name == "pos_embed" && config.no_embed_class => Outcome::Adapted {
                from: vec![one.clone()],
                from_shape: ours.get(name).map(|t| t.dims().to_vec()).unwrap_or_default(),
                to_shape: tensor.dims().to_vec(),
                how: "a row of zeros for the class token".to_string(),
            },
            [one] => Outcome::Renamed { from: one.clone() },
            parts => Outcome::Split { into: parts.to_vec() },
        };
        let rows_each = tensor.dims().first().copied().unwrap_or(0) / names.len().max(1);
        for (i, part) in names.iter().enumerate() {
            let value = match names.len() {
                1 => tensor.clone(),
                _ => tensor.narrow(0, i * rows_each, rows_each)?.contiguous()?,
            };
            written.insert(part.clone(), value);
        }
        rows.push(TensorReport { name: name.clone(), outcome });
    }
    if model.family == Family::HfDinov2 {
        // Theirs always has it; evaluation never uses it.
        let dtype = ours.values().next().map_or(candle_core::DType::F32, Tensor::dtype);
        let token = Tensor::zeros((1, config.embed_dim), dtype, &candle_core::Device::Cpu)?;
        written.insert(format!("{}embeddings.mask_token", model.prefix), token);
    }
    Ok((written, rows))
}

/// Theirs has a position for the class token, and for the distillation token, but none for
/// registers.
fn table(table: &Tensor, config: &VitConfig) -> Result<Tensor> {
    if !config.no_embed_class {
        if config.reg_tokens > 0 {
            let what = "registers with positions of their own";
            return Err(Error::Config(format!("Hugging Face has no model for {what}")));
        }
        return Ok(table.clone());
    }
    let rows = 1 + usize::from(config.distilled);
    let zeros = Tensor::zeros((1, rows, table.dim(2)?), table.dtype(), table.device())?;
    Ok(Tensor::cat(&[&zeros, table], 1)?)
}

/// `config.json`.
pub(super) fn config(
    model: &HfModel,
    card: &ModelCard,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Value> {
    let config = &card.config;
    let size = match (config.img_size.height, config.img_size.width) {
        (height, width) if height == width => json!(height),
        (height, width) => json!([height, width]),
    };
    let mut whole = json!({
        "architectures": [model.class],
        "model_type": model.kind,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "image_size": size,
        "patch_size": config.patch_size,
        "num_channels": config.in_chans,
        "layer_norm_eps": config.layer_norm_eps,
        "qkv_bias": config.qkv_bias,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "dtype": "float32",
    });
    let Some(fields) = whole.as_object_mut() else { return Ok(whole) };
    if model.family == Family::HfDinov2 {
        fields.insert("mlp_ratio".to_string(), json!(ratio(config)?));
        fields.insert("use_swiglu_ffn".to_string(), json!(config.mlp == Mlp::SwigluPacked));
        fields.insert("layerscale_value".to_string(), json!(config.init_values.unwrap_or(1.)));
        if config.reg_tokens > 0 {
            fields.insert("num_register_tokens".to_string(), json!(config.reg_tokens));
        }
    } else {
        fields.insert("intermediate_size".to_string(), json!(config.hidden_dim()));
    }
    if model.family == Family::HfVitMae {
        decoder(fields, tensors)?;
    }
    if config.num_classes > 0 {
        let label = |i: usize| card.labels.get(i).cloned().unwrap_or_else(|| format!("LABEL_{i}"));
        let ids: BTreeMap<String, String> =
            (0..config.num_classes).map(|i| (i.to_string(), label(i))).collect();
        let back: BTreeMap<String, usize> =
            (0..config.num_classes).map(|i| (label(i), i)).collect();
        let kind = if card.multi_label { "multi_label" } else { "single_label" };
        fields.insert("problem_type".to_string(), json!(format!("{kind}_classification")));
        fields.insert("id2label".to_string(), json!(ids));
        fields.insert("label2id".to_string(), json!(back));
    }
    Ok(whole)
}

/// Sizes of the decoder, from its tensors.
fn decoder(
    fields: &mut serde_json::Map<String, Value>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let dims = |name: &str| tensors.get(name).map(Tensor::dims);
    let (Some([width, _]), Some([hidden, _])) =
        (dims("decoder_embed.weight"), dims("decoder_blocks.0.mlp.fc1.weight"))
    else {
        return Err(Error::Config("the decoder has no embedding or no block".to_string()));
    };
    let depth = (0..)
        .take_while(|i| tensors.contains_key(&format!("decoder_blocks.{i}.norm1.weight")))
        .count();
    // MAE's decoders of every size have 16 heads; a width that cannot has two.
    let heads = if width.is_multiple_of(16) { 16 } else { 2 };
    for (field, value) in [
        ("decoder_hidden_size", *width),
        ("decoder_num_hidden_layers", depth),
        ("decoder_intermediate_size", *hidden),
        ("decoder_num_attention_heads", heads),
    ] {
        fields.insert(field.to_string(), json!(value));
    }
    fields.insert("norm_pix_loss".to_string(), json!(false));
    fields.insert("mask_ratio".to_string(), json!(0.75));
    Ok(())
}

/// Their ratio is a whole number, and SwiGLU's width two thirds of it, rounded up to eights.
fn ratio(config: &VitConfig) -> Result<usize> {
    let (dim, hidden) = (config.embed_dim, config.hidden_dim());
    let width = |ratio: usize| match config.mlp {
        Mlp::Gelu => dim * ratio,
        Mlp::SwigluPacked => 2 * (dim * ratio * 2 / 3).next_multiple_of(8),
    };
    (1..=16).find(|ratio| width(*ratio) == hidden).ok_or_else(|| {
        Error::Config(format!("Hugging Face's Dinov2 has no MLP of {hidden} for a width of {dim}"))
    })
}

/// `preprocessor_config.json` of their image processors.
pub(super) fn preprocessor(preprocessing: &Preprocessing) -> Value {
    let [_, height, width] = preprocessing.input_size;
    let resample = match preprocessing.interpolation {
        Interpolation::Nearest => 0,
        Interpolation::Lanczos => 1,
        Interpolation::Bilinear => 2,
        Interpolation::Bicubic => 3,
    };
    let crop = preprocessing.crop_mode == CropMode::Center;
    let edge = preprocessing.resized();
    let size = if crop {
        json!({"shortest_edge": edge})
    } else {
        json!({"height": height, "width": width})
    };
    json!({
        "image_processor_type": "BitImageProcessor",
        "do_resize": true,
        "size": size,
        "do_center_crop": crop,
        "crop_size": {"height": height, "width": width},
        "resample": resample,
        "do_rescale": true,
        "rescale_factor": 1. / 255.,
        "do_normalize": true,
        "image_mean": preprocessing.mean,
        "image_std": preprocessing.std,
    })
}
