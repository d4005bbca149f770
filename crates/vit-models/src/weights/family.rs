//! Whose names a file has, and how they become ours.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::{fits, rename};
use super::tables::{
    DENSE_NET, DINO_V2, HF_BLOCKS, HF_DEIT_HEADS, HF_DINO_BLOCKS, HF_HEADS, HF_MAE_DECODER,
    HF_STEM, Ours, Rule, SAME,
};
use super::{Container, WeightFile};

/// Who made a file: whose names its tensors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// timm's vision transformers, and DeiT's own files.
    Timm,
    /// MAE and its descendants: medical_mae, CXR_MAE, RETFound, the endoscopy MAE. The encoder's
    /// names are timm's; a decoder may be there.
    Mae,
    /// MRM: MAE and a decoder of reports.
    Mrm,
    /// facebookresearch/dinov2.
    DinoV2,
    /// Hugging Face's ViT.
    HfVit,
    /// Hugging Face's ViTMAE.
    HfVitMae,
    /// Hugging Face's Dinov2, with registers or without.
    HfDinov2,
    /// Hugging Face's DeiT.
    HfDeit,
    /// torchvision's DenseNet.
    #[serde(rename = "torchvision_densenet")]
    DenseNet,
    /// torchvision's ResNet.
    #[serde(rename = "torchvision_resnet")]
    ResNet,
    /// The encoder of a U-Net of segmentation-models, as medical_mae pre-trains it.
    SmpEncoder,
    /// None that is known: names are taken as they stand.
    Unknown,
}

impl Family {
    /// Every family that can be asked for.
    pub const ALL: [Self; 11] = [
        Self::Timm,
        Self::Mae,
        Self::Mrm,
        Self::DinoV2,
        Self::HfVit,
        Self::HfVitMae,
        Self::HfDinov2,
        Self::HfDeit,
        Self::DenseNet,
        Self::ResNet,
        Self::SmpEncoder,
    ];

    /// Its name as text, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timm => "timm",
            Self::Mae => "mae",
            Self::Mrm => "mrm",
            Self::DinoV2 => "dino_v2",
            Self::HfVit => "hf_vit",
            Self::HfVitMae => "hf_vit_mae",
            Self::HfDinov2 => "hf_dinov2",
            Self::HfDeit => "hf_deit",
            Self::DenseNet => "torchvision_densenet",
            Self::ResNet => "torchvision_resnet",
            Self::SmpEncoder => "smp_encoder",
            Self::Unknown => "unknown",
        }
    }

    /// The family of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Whether it is a vision transformer.
    #[must_use]
    pub fn is_vit(self) -> bool {
        !matches!(self, Self::DenseNet | Self::ResNet | Self::SmpEncoder | Self::Unknown)
    }

    fn is_hf(self) -> bool {
        matches!(self, Self::HfVit | Self::HfVitMae | Self::HfDinov2 | Self::HfDeit)
    }

    /// A name that every file of the family has.
    fn anchors(self) -> &'static [&'static str] {
        match self {
            Self::DenseNet => &["features.conv0.weight"],
            Self::ResNet => &["layer1.0.conv1.weight"],
            Self::SmpEncoder => &["features.conv0.weight", "layer1.0.conv1.weight"],
            Self::Unknown => &[],
            family if family.is_hf() => &["embeddings.patch_embeddings.projection.weight"],
            _ => &["patch_embed.proj.weight"],
        }
    }

    /// Rules for names inside the encoder.
    fn inner(self) -> Vec<&'static [Rule]> {
        match self {
            Self::DinoV2 => vec![DINO_V2],
            Self::DenseNet | Self::SmpEncoder => vec![DENSE_NET],
            Self::HfDinov2 => vec![HF_STEM, HF_DINO_BLOCKS],
            family if family.is_hf() => [&[HF_STEM], HF_BLOCKS].concat(),
            _ => vec![SAME],
        }
    }

    /// Rules for names beside the encoder.
    fn outer(self) -> Vec<&'static [Rule]> {
        match self {
            Self::HfVitMae => [&[HF_HEADS], HF_MAE_DECODER].concat(),
            Self::HfDeit => vec![HF_DEIT_HEADS],
            family if family.is_hf() => vec![HF_HEADS],
            _ => Vec::new(),
        }
    }

    /// The name this family has for a tensor of ours, without the encoder's prefix, and whether it
    /// stands inside of the encoder. Several where it keeps the parts of ours apart.
    pub(super) fn theirs(self, ours: &str) -> Option<Theirs> {
        let named = |rules: Vec<&'static [Rule]>| {
            let mut parts = BTreeMap::new();
            for (theirs, rule) in rules.into_iter().flatten() {
                match rule {
                    Ours::Whole(pattern) if parts.is_empty() => {
                        if let Some(name) = rename(ours, pattern, theirs) {
                            return Some(vec![name]);
                        }
                    }
                    Ours::Part(pattern, part, of) => {
                        if let Some(name) = rename(ours, pattern, theirs) {
                            parts.entry(*part).or_insert(name);
                        }
                        if parts.len() == *of {
                            break;
                        }
                    }
                    Ours::Whole(_) | Ours::Dropped(_) => {}
                }
            }
            (!parts.is_empty()).then(|| parts.into_values().collect())
        };
        let inner = named(self.inner()).map(|names| Theirs { names, inside: true });
        inner.or_else(|| named(self.outer()).map(|names| Theirs { names, inside: false }))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl WeightFile {
    /// Whose names the file has.
    #[must_use]
    pub fn family(&self) -> Family {
        Naming::of(self, None).family
    }
}

/// Names of a tensor of ours in another family.
pub(super) struct Theirs {
    pub(super) names: Vec<String>,
    pub(super) inside: bool,
}

/// What a name in a file is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Whole(String),
    Part(String, usize, usize),
    Dropped(&'static str),
}

/// A family and where in the names it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naming {
    pub(super) family: Family,
    /// Before every name of the encoder, such as `module.vit.`.
    pub(super) prefix: String,
    /// Before names beside the encoder, such as `module.`.
    outer: String,
}

/// What Hugging Face calls encoders inside of larger models.
const HF_ENCODERS: [&str; 4] = ["vit.", "deit.", "dinov2.", "dinov2_with_registers."];

impl Naming {
    /// Of a file, or as told.
    pub(super) fn of(file: &WeightFile, told: Option<Family>) -> Self {
        let names: Vec<&str> = file.shapes().keys().map(String::as_str).collect();
        let order = [Family::HfVit, Family::Timm, Family::DenseNet, Family::ResNet];
        let families = told.map_or_else(|| order.to_vec(), |family| vec![family]);
        for family in families {
            for anchor in family.anchors() {
                let Some(prefix) = prefix(&names, anchor) else { continue };
                let outer = HF_ENCODERS.iter().find_map(|e| prefix.strip_suffix(e));
                let naming = Self {
                    family,
                    outer: outer.filter(|_| family.is_hf()).unwrap_or(prefix).to_string(),
                    prefix: prefix.to_string(),
                };
                return if told.is_some() { naming } else { naming.refined(file, &names) };
            }
        }
        let family = told.unwrap_or(Family::Unknown);
        Self { family, prefix: String::new(), outer: String::new() }
    }

    /// Which of the families with this anchor it is.
    fn refined(mut self, file: &WeightFile, names: &[&str]) -> Self {
        let inside = |name: &str| file.shapes().get(&format!("{}{name}", self.prefix));
        let has = |name: &str| inside(name).is_some();
        let outside = |name: &str| file.shapes().contains_key(&format!("{}{name}", self.outer));
        let any = |pattern: &str| {
            names.iter().any(|name| {
                name.strip_prefix(self.prefix.as_str()).is_some_and(|name| fits(name, pattern))
            })
        };
        self.family = match self.family {
            Family::HfVit if outside("decoder.decoder_embed.weight") => Family::HfVitMae,
            Family::HfVit if has("embeddings.distillation_token") => Family::HfDeit,
            Family::HfVit if self.prefix.ends_with("deit.") => Family::HfDeit,
            Family::HfVit if any("encoder.layer.#.norm1.weight") => Family::HfDinov2,
            Family::Timm if names.iter().any(|name| name.contains("bert_")) => Family::Mrm,
            Family::Timm if has("decoder_embed.weight") => Family::Mae,
            Family::Timm
                if has("register_tokens")
                    || any("blocks.#.#.*")
                    || any("blocks.#.mlp.w12.weight")
                    || inside("mask_token").is_some_and(|shape| shape.len() == 2) =>
            {
                Family::DinoV2
            }
            // The programs of MAE save under `model`; so does DeiT, which has its own token.
            Family::Timm
                if file.container() != Container::Safetensors
                    && file.section() == "model"
                    && !has("dist_token") =>
            {
                Family::Mae
            }
            Family::DenseNet | Family::ResNet if self.prefix.ends_with("encoder.") => {
                Family::SmpEncoder
            }
            family => family,
        };
        self
    }

    /// What a name in the file is to us; nothing when the family does not know it.
    pub(super) fn meaning(&self, name: &str) -> Option<Meaning> {
        let inner = name.strip_prefix(self.prefix.as_str());
        inner
            .and_then(|name| meaning(name, self.family.inner()))
            .or_else(|| meaning(name.strip_prefix(self.outer.as_str())?, self.family.outer()))
    }
}

fn meaning(name: &str, rules: Vec<&'static [Rule]>) -> Option<Meaning> {
    rules.into_iter().flatten().find_map(|(theirs, ours)| match ours {
        Ours::Whole(pattern) => rename(name, theirs, pattern).map(Meaning::Whole),
        Ours::Part(pattern, part, of) => {
            rename(name, theirs, pattern).map(|name| Meaning::Part(name, *part, *of))
        }
        Ours::Dropped(reason) => fits(name, theirs).then_some(Meaning::Dropped(reason)),
    })
}

/// What stands before the anchor. Of several encoders in one file a teacher's is the one to use,
/// and a student's the last.
fn prefix<'a>(names: &[&'a str], anchor: &str) -> Option<&'a str> {
    let whole = |prefix: &&str| prefix.is_empty() || prefix.ends_with('.');
    let prefixes = names.iter().filter_map(|name| name.strip_suffix(anchor)).filter(whole);
    prefixes.min_by_key(|prefix| {
        (!prefix.contains("teacher"), prefix.contains("student"), prefix.len())
    })
}
