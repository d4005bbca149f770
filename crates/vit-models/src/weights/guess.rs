//! What model a file is of, from the names and shapes of its tensors.

use serde::Serialize;

use super::sidecar::Sidecar;
use super::view::View;
use super::{Family, WeightFile};
use crate::presets::{size_name, usual_depth, usual_heads};
use crate::{
    DenseNetConfig, Error, ImageSize, InitScheme, Mlp, ModelConfig, Pooling, ResNetConfig,
    ResidualKind, Result, VitConfig,
};

/// A model a file is of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Architecture {
    /// timm's name, torchvision's, or what its blocks are where its size has no name.
    pub name: String,
    /// Its configuration; none for a convolutional network of no published size.
    pub config: Option<ModelConfig>,
}

impl Architecture {
    /// The configuration of a vision transformer.
    #[must_use]
    pub fn vit(&self) -> Option<&VitConfig> {
        match &self.config {
            Some(ModelConfig::Vit(config)) => Some(config),
            _ => None,
        }
    }
}

/// A guess and what must be known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guess {
    /// The model.
    pub architecture: Architecture,
    /// What was not in names and shapes, and where it was taken from.
    pub notes: Vec<String>,
    /// What makes it likely that a part of the model is missing from the file.
    pub suspicions: Vec<String>,
}

/// Register tokens that a file may have; published models have four.
const MAX_REGISTERS: usize = 1 << 16;

impl WeightFile {
    /// What model the file is of. `config.json` beside it, in timm's layout or Hugging Face's, says
    /// what shapes do not: heads, epsilon, the size of pictures that are no square.
    ///
    /// # Errors
    /// [`Error::File`] when it is no model that is known, when its shapes contradict each other or
    /// `config.json`, or when that cannot be read.
    pub fn guess(&self) -> Result<Guess> {
        self.guess_as(None)
    }

    /// [`WeightFile::guess`] of a file whose family is told.
    ///
    /// # Errors
    /// As [`WeightFile::guess`].
    pub fn guess_as(&self, family: Option<Family>) -> Result<Guess> {
        let view = View::of(self, family, |_| false);
        let sidecar = Sidecar::beside(self)?.unwrap_or_default();
        let fault = |reason: String| self.fault(reason);
        match view.naming.family {
            Family::Unknown => Err(fault("its names are of no model that is known".to_string())),
            Family::DenseNet | Family::ResNet | Family::SmpEncoder => {
                let (name, notes) = cnn(&view);
                let config = cnn_config(&view, &sidecar, &name).map_err(fault)?;
                let architecture = Architecture { name, config };
                Ok(Guess { architecture, notes, suspicions: Vec::new() })
            }
            family => {
                let mut clues = Clues { view: &view, sidecar: &sidecar, notes: Vec::new() };
                let config = clues.vit(family).map_err(fault)?;
                config.check().map_err(|e: Error| self.fault(e.to_string()))?;
                sidecar.agrees(&config).map_err(fault)?;
                let name = name(family, &config);
                let suspicions = cut_off(&config, &sidecar).into_iter().collect();
                let notes = clues.notes;
                let config = Some(ModelConfig::Vit(config));
                let architecture = Architecture { name, config };
                Ok(Guess { architecture, notes, suspicions })
            }
        }
    }
}

/// Names and shapes of a file that lost its last blocks are those of a smaller model; only that
/// nobody publishes one of this width tells.
fn cut_off(config: &VitConfig, sidecar: &Sidecar) -> Option<String> {
    let VitConfig { embed_dim, depth, .. } = *config;
    let usual = usual_depth(embed_dim)?;
    // `config.json` agrees with the shapes, or there would be no guess.
    (depth < usual && sidecar.depth.is_none()).then(|| {
        format!(
            "width {embed_dim} is known with {usual} blocks, the file has {depth}: the others may \
             be missing"
        )
    })
}

struct Clues<'a> {
    view: &'a View,
    sidecar: &'a Sidecar,
    notes: Vec<String>,
}

type Found<T> = std::result::Result<T, String>;

impl Clues<'_> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.view.places.get(name).map(|place| place.shape.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.view.places.contains_key(name)
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn vit(&mut self, family: Family) -> Found<VitConfig> {
        let mut config = VitConfig::vit_base(16, 224);
        self.stem(&mut config)?;
        self.blocks(&mut config)?;
        self.tokens(&mut config, family)?;
        self.head(&mut config)?;
        config.num_heads = self.heads(config.embed_dim)?;
        config.layer_norm_eps = self.eps(family);
        if matches!(family, Family::Mae | Family::Mrm | Family::HfVitMae) {
            config.init = InitScheme::Mae;
        }
        Ok(config)
    }

    fn stem(&self, config: &mut VitConfig) -> Found<()> {
        match self.shape("patch_embed.proj.weight") {
            Some([dim, channels, height, width]) if height == width => {
                (config.embed_dim, config.in_chans) = (*dim, *channels);
                config.patch_size = *height;
            }
            other => return Err(format!("a patch embedding of shape {other:?}")),
        }
        config.pre_norm = self.has("norm_pre.weight");
        Ok(())
    }

    fn blocks(&self, config: &mut VitConfig) -> Found<()> {
        let blocks = self.view.blocks("blocks.");
        config.depth = match blocks.last() {
            Some(last) => last.checked_add(1).ok_or_else(|| format!("a block {last}"))?,
            None => 0,
        };
        let absent = (0..config.depth).find(|block| !blocks.contains(block));
        if let Some(absent) = absent {
            return Err(format!("there are {} blocks without block {absent}", config.depth));
        }
        let first = |part: &str| self.shape(&format!("blocks.0.{part}"));
        let (Some([hidden, _]), Some([_, inner])) =
            (first("mlp.fc1.weight"), first("mlp.fc2.weight"))
        else {
            return Err("the first block has no MLP".to_string());
        };
        config.mlp = match (hidden, inner) {
            (hidden, inner) if hidden == inner => Mlp::Gelu,
            (hidden, inner) if inner.checked_mul(2) == Some(*hidden) => Mlp::SwigluPacked,
            _ => return Err(format!("an MLP of widths {hidden} and {inner}")),
        };
        config.mlp_ratio = *hidden as f64 / config.embed_dim as f64;
        if config.hidden_dim() != *hidden {
            // The product is cut to an integer.
            config.mlp_ratio = (*hidden as f64 + 0.5) / config.embed_dim as f64;
        }
        config.qkv_bias = first("attn.qkv.bias").is_some();
        config.qk_norm = first("attn.q_norm.weight").is_some();
        let scale = self.sidecar.init_values.unwrap_or(1e-5);
        config.init_values = first("ls1.gamma").map(|_| scale);
        Ok(())
    }

    fn tokens(&mut self, config: &mut VitConfig, family: Family) -> Found<()> {
        config.class_token = self.has("cls_token");
        config.distilled = self.has("dist_token");
        config.reg_tokens = self.shape("reg_token").and_then(|s| s.get(1)).copied().unwrap_or(0);
        if config.reg_tokens > MAX_REGISTERS {
            return Err(format!("{} registers", config.reg_tokens));
        }
        let rows = match self.shape("pos_embed") {
            Some([_, rows, _]) => *rows,
            other => return Err(format!("a position table of shape {other:?}")),
        };
        let class = usize::from(config.class_token) + usize::from(config.distilled);
        let candidates = [class, class + config.reg_tokens, 0];
        let grid = match self.sidecar.image_size {
            Some(size) => Some(size.grid(config.patch_size)),
            None => None,
        };
        let fits = |before: usize| -> Option<(usize, (usize, usize))> {
            let cells = rows.checked_sub(before)?;
            match grid {
                Some((a, b)) => (a.checked_mul(b)? == cells).then_some((before, (a, b))),
                None => {
                    let side = cells.isqrt();
                    (side > 0 && side * side == cells).then_some((before, (side, side)))
                }
            }
        };
        let Some((before, (a, b))) = candidates.into_iter().find_map(fits) else {
            let told = self.sidecar.image_size.map(|size| format!(" for {size} pixels"));
            return Err(format!(
                "a position table of {rows} rows is no grid{}; config.json must say image_size",
                told.unwrap_or_default()
            ));
        };
        let side = |patches: usize| {
            let pixels = patches.checked_mul(config.patch_size);
            pixels.ok_or_else(|| format!("{patches} patches of {} pixels", config.patch_size))
        };
        config.img_size = ImageSize { height: side(a)?, width: side(b)? };
        // DINOv2 adds positions before the registers come in. Ours has the class token's position in
        // the token; loading puts it there.
        let registers =
            matches!(family, Family::DinoV2 | Family::HfDinov2) && config.reg_tokens > 0;
        config.no_embed_class = registers || (before == 0 && config.prefix_tokens() > 0);
        if before == 0 && class > 0 && grid.is_none() {
            self.note(format!(
                "{rows} rows of positions: none for the class token (a square grid)"
            ));
        }
        Ok(())
    }

    fn head(&mut self, config: &mut VitConfig) -> Found<()> {
        let (norm, pooled) = (self.has("norm.weight"), self.has("fc_norm.weight"));
        config.pooling = match (config.class_token, pooled) {
            (true, false) => Pooling::ClassToken,
            (_, true) => Pooling::GlobalPool,
            (false, false) => {
                config.fc_norm = Some(false);
                Pooling::GlobalPool
            }
        };
        if norm && pooled {
            self.note("norm and fc_norm are both there; fc_norm is used".to_string());
        }
        match self.shape("head.weight").map(<[usize]>::to_vec).as_deref() {
            None => config.num_classes = 0,
            Some([classes, width]) => {
                config.num_classes = *classes;
                if config.embed_dim.checked_mul(2) == Some(*width) {
                    config.pooling = Pooling::ClassAverage;
                    self.note("the head takes class token and mean of patches".to_string());
                }
            }
            Some(other) => return Err(format!("a head of shape {other:?}")),
        }
        if let Some(pooling) = self.sidecar.pooling.filter(|_| !pooled) {
            config.pooling = pooling;
            if pooling == Pooling::GlobalPool {
                config.fc_norm = Some(false);
            }
        }
        Ok(())
    }

    fn heads(&mut self, dim: usize) -> Found<usize> {
        if let Some(heads) = self.sidecar.num_heads {
            return Ok(heads);
        }
        if let Some([width]) = self.shape("blocks.0.attn.q_norm.weight") {
            return dim.checked_div(*width).ok_or_else(|| "a norm of no values".to_string());
        }
        if let Some(heads) = usual_heads(dim) {
            return Ok(heads);
        }
        let heads = if dim.is_multiple_of(64) { dim / 64 } else { 1 };
        self.note(format!(
            "num_heads {heads} for a width of {dim}: a guess; the file does not say"
        ));
        Ok(heads)
    }

    fn eps(&mut self, family: Family) -> f64 {
        let usual = match family {
            Family::HfVit | Family::HfDeit => 1e-12,
            _ => 1e-6,
        };
        match self.sidecar.layer_norm_eps {
            // Its configuration says 1e-12; the weights were trained with MAE's own.
            Some(told) if family == Family::HfVitMae && told < 1e-9 => {
                self.note(format!("config.json says an epsilon of {told:e}; MAE trains with 1e-6"));
                usual
            }
            Some(told) => told,
            None => {
                self.note(format!("an epsilon of {usual:e}, the family's; the file does not say"));
                usual
            }
        }
    }
}

fn name(family: Family, config: &VitConfig) -> String {
    let VitConfig { embed_dim, depth, patch_size, img_size, .. } = config;
    let size = match size_name(*embed_dim, *depth) {
        Some(size) => size.to_string(),
        None => format!("d{embed_dim}_l{depth}"),
    };
    let registers = match config.reg_tokens {
        0 => String::new(),
        count => format!("_reg{count}"),
    };
    let side = match (img_size.height, img_size.width) {
        (height, width) if height == width => height.to_string(),
        (height, width) => format!("{height}x{width}"),
    };
    match family {
        Family::DinoV2 | Family::HfDinov2 => {
            format!("vit_{size}_patch{patch_size}{registers}_dinov2")
        }
        _ if config.distilled => format!("deit_{size}_distilled_patch{patch_size}_{side}"),
        Family::HfDeit => format!("deit_{size}_patch{patch_size}_{side}"),
        Family::Mae | Family::Mrm | Family::HfVitMae => {
            format!("vit_{size}_patch{patch_size}_{side}.mae")
        }
        _ => format!("vit_{size}_patch{patch_size}{registers}_{side}"),
    }
}

/// The name of a convolutional network by the number of its blocks.
fn cnn(view: &View) -> (String, Vec<String>) {
    let has = |name: &str| view.places.contains_key(name);
    if has("features.conv0.weight") {
        let layers: Vec<usize> = (1..=4)
            .map(|block| view.blocks(&format!("features.denseblock{block}.denselayer")).len())
            .collect();
        let known =
            DenseNetConfig::PRESETS.iter().find(|(_, preset)| preset().block_config == layers);
        return match known {
            Some((name, _)) => ((*name).to_string(), Vec::new()),
            None => (format!("densenet{layers:?}"), vec!["a DenseNet of no published size".into()]),
        };
    }
    let blocks: Vec<usize> =
        (1..=4).map(|layer| view.blocks(&format!("layer{layer}.")).len()).collect();
    let three = has("layer1.0.conv3.weight");
    let known = ResNetConfig::PRESETS.iter().find(|(_, preset)| {
        let preset = preset();
        preset.depths == blocks && (preset.block == ResidualKind::Bottleneck) == three
    });
    match known {
        Some((name, ..)) => ((*name).to_string(), Vec::new()),
        None => (format!("resnet{blocks:?}"), vec!["a ResNet of no published size".into()]),
    }
}

/// A published network with the channels and classes of the file. Its shapes are compared when it
/// is loaded.
fn cnn_config(view: &View, sidecar: &Sidecar, name: &str) -> Found<Option<ModelConfig>> {
    let Ok(mut config) = ModelConfig::by_name(name) else { return Ok(None) };
    let shape = |names: [&str; 2]| {
        let place = names.iter().find_map(|name| view.places.get(*name));
        place.map(|place| place.shape.as_slice())
    };
    let channels = match shape(["features.conv0.weight", "conv1.weight"]) {
        Some([_, channels, _, _]) => *channels,
        other => return Err(format!("a first convolution of shape {other:?}")),
    };
    let classes = match shape(["classifier.weight", "fc.weight"]) {
        None => 0,
        Some([classes, _]) => *classes,
        Some(other) => return Err(format!("a head of shape {other:?}")),
    };
    let size = sidecar.image_size.unwrap_or(config.img_size());
    config = config.for_pictures(size, channels);
    match &mut config {
        ModelConfig::Vit(_) => {}
        ModelConfig::DenseNet(config) => config.num_classes = classes,
        ModelConfig::ResNet(config) => config.num_classes = classes,
    }
    Ok(Some(config))
}
