//! `config.json` as timm reads it from a folder or the hub.

use serde_json::{Map, Value, json};

use super::card::ModelCard;
use crate::{CropMode, Error, Interpolation, Mlp, Pooling, Result};

/// The configuration. `model_args` repeat every size, so that a model of no published size is
/// built, too.
pub(super) fn config(card: &ModelCard) -> Result<Value> {
    let config = &card.config;
    let registers = config.reg_tokens > 0;
    // timm's constructors differ in what JSON cannot say: the class of the MLP, the second head.
    let architecture = match (config.mlp, config.distilled) {
        (Mlp::SwigluPacked, true) => {
            return Err(Error::Config("timm has no distilled model with SwiGLU".to_string()));
        }
        (Mlp::SwigluPacked, false) if registers => "vit_giant_patch14_reg4_dinov2",
        (Mlp::SwigluPacked, false) => "vit_giant_patch14_dinov2",
        (Mlp::Gelu, true) => "deit_base_distilled_patch16_224",
        (Mlp::Gelu, false) => published(&card.name).unwrap_or("vit_base_patch16_224"),
    };
    let pooling = match config.pooling {
        Pooling::ClassToken => "token",
        Pooling::GlobalPool => "avg",
        Pooling::Max => "max",
        Pooling::None => "",
        Pooling::ClassAverage => {
            return Err(Error::Config(
                "timm's head does not take class token and mean".to_string(),
            ));
        }
    };
    let mut arguments = json!({
        "img_size": [config.img_size.height, config.img_size.width],
        "patch_size": config.patch_size,
        "in_chans": config.in_chans,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": config.qkv_bias,
        "qk_norm": config.qk_norm,
        "init_values": config.init_values,
        "class_token": config.class_token,
        "reg_tokens": config.reg_tokens,
        "no_embed_class": config.no_embed_class,
        "pre_norm": config.pre_norm,
        "fc_norm": config.norm_after_pooling(),
        "global_pool": pooling,
        "dynamic_img_size": config.dynamic_img_size,
    });
    if let (true, Some(arguments)) = (config.distilled, arguments.as_object_mut()) {
        // Its constructor sets these itself.
        for own in ["class_token", "fc_norm", "global_pool"] {
            arguments.remove(own);
        }
    }
    let mut pretrained = Map::new();
    pretrained.insert("custom_load".to_string(), json!(false));
    pretrained.insert("num_classes".to_string(), json!(config.num_classes));
    pretrained.insert("fixed_input_size".to_string(), json!(!config.dynamic_img_size));
    pretrained.insert("first_conv".to_string(), json!("patch_embed.proj"));
    let head = if config.distilled { json!(["head", "head_dist"]) } else { json!("head") };
    pretrained.insert("classifier".to_string(), head);
    let size = config.img_size;
    pretrained.insert("input_size".to_string(), json!([config.in_chans, size.height, size.width]));
    if let Some(preprocessing) = &card.preprocessing {
        pretrained.insert("crop_pct".to_string(), json!(preprocessing.crop_pct));
        let mode = if preprocessing.crop_mode == CropMode::Squash { "squash" } else { "center" };
        pretrained.insert("crop_mode".to_string(), json!(mode));
        let filter = match preprocessing.interpolation {
            Interpolation::Nearest => "nearest",
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
            Interpolation::Lanczos => "lanczos",
        };
        pretrained.insert("interpolation".to_string(), json!(filter));
        pretrained.insert("mean".to_string(), json!(preprocessing.mean));
        pretrained.insert("std".to_string(), json!(preprocessing.std));
    }
    if let Some(licence) = &card.licence {
        pretrained.insert("license".to_string(), json!(licence));
    }
    let mut whole = json!({
        "architecture": architecture,
        "num_classes": config.num_classes,
        "num_features": config.embed_dim,
        "global_pool": pooling,
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    });
    if let (false, Some(whole)) = (card.labels.is_empty(), whole.as_object_mut()) {
        whole.insert("label_names".to_string(), json!(card.labels));
    }
    Ok(whole)
}

/// Models that timm has under this name, without the tag.
fn published(name: &str) -> Option<&str> {
    let plain = name.split_once('.').map_or(name, |(plain, _)| plain);
    const NAMES: [&str; 12] = [
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_small_patch32_224",
        "vit_base_patch8_224",
        "vit_base_patch16_224",
        "vit_base_patch32_224",
        "vit_large_patch16_224",
        "vit_large_patch32_224",
        "vit_huge_patch14_224",
        "vit_small_patch14_dinov2",
        "vit_base_patch14_dinov2",
        "vit_large_patch14_dinov2",
    ];
    NAMES.into_iter().find(|known| *known == plain)
}
