//! Runs one case on given weights and writes loss, outputs and every gradient, for checking this
//! implementation against any other.
//!
//! `parity --tensors IN.safetensors --config CASE.json --out OUT.safetensors`. IN holds weights
//! under MAE's names, `image` `[B, C, H, W]`, and `noise` `[B, L]` (MAE) or `labels` `[B]`
//! (classifier). OUT gets `pred` or `logits`, `mask` and `ids_restore` (MAE), and `grad.<name>`.

#![allow(clippy::print_stdout)] // a program for a terminal

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use mae_pretrain::{Mae, MaeConfig, Masking};
use serde::Deserialize;
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Classifier, Context, LoadOptions, ParamSpec, ParamStore, Pooling, Vit, VitConfig, WeightFile,
    save_weights,
};
use vit_train::cross_entropy;

/// Loss, outputs and gradients of one case, for comparison with other implementations.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Weights and inputs.
    #[arg(long)]
    tensors: PathBuf,
    /// The case.
    #[arg(long)]
    config: PathBuf,
    /// Where to write outputs and gradients.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Case {
    Mae {
        #[serde(flatten)]
        trunk: Trunk,
        decoder_embed_dim: usize,
        decoder_depth: usize,
        decoder_num_heads: usize,
        norm_pix_loss: bool,
        mask_ratio: f64,
    },
    Classifier {
        #[serde(flatten)]
        trunk: Trunk,
        num_classes: usize,
        global_pool: bool,
    },
}

#[derive(Deserialize)]
struct Trunk {
    img_size: usize,
    patch_size: usize,
    in_chans: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    mlp_ratio: f64,
}

impl Trunk {
    fn config(&self) -> VitConfig {
        VitConfig {
            in_chans: self.in_chans,
            embed_dim: self.embed_dim,
            depth: self.depth,
            num_heads: self.num_heads,
            mlp_ratio: self.mlp_ratio,
            ..VitConfig::vit_base(self.patch_size, self.img_size)
        }
    }
}

fn store(file: &WeightFile, specs: &[ParamSpec]) -> Result<ParamStore> {
    let mut store = ParamStore::init(specs, 0, DType::F32, &Device::Cpu)?;
    // Fixed tables are often left out of exchange files; the formula gives them.
    let options = LoadOptions::allow(&["pos_embed", "decoder_pos_embed"]);
    let options =
        if specs.iter().any(|spec| !spec.trainable) { options } else { LoadOptions::strict() };
    file.load_into(&store, &options)?;
    // "Every parameter" includes tables that training would leave alone.
    store.set_trainable(|_, _| true);
    Ok(store)
}

/// Rows of a two-dimensional tensor.
fn rows(file: &WeightFile, name: &str) -> Result<Vec<Vec<f32>>> {
    Ok(file.tensor(name, &Device::Cpu)?.to_dtype(DType::F32)?.to_vec2()?)
}

fn run_mae(
    file: &WeightFile,
    config: &MaeConfig,
    image: &Tensor,
) -> Result<(ParamStore, Tensor, BTreeMap<String, Tensor>)> {
    let store = store(file, &Mae::specs(config)?)?;
    let model = Mae::new(config, &store.var_builder())?;
    let patches = config.encoder.num_patches();
    let masking = Masking::from_noise(&rows(file, "noise")?, patches, config.mask_ratio)?;
    let output = model.forward(image, &masking, &Context::eval())?;
    let ids: Vec<i64> = masking.ids_restore().concat().into_iter().map(i64::from).collect();
    let ids = Tensor::from_vec(ids, (masking.batch(), patches), &Device::Cpu)?;
    let outputs = BTreeMap::from([
        ("pred".to_string(), output.pred.detach()),
        ("mask".to_string(), masking.mask_tensor(&Device::Cpu)?),
        ("ids_restore".to_string(), ids),
    ]);
    Ok((store, output.loss, outputs))
}

fn run_classifier(
    file: &WeightFile,
    config: &VitConfig,
    image: &Tensor,
) -> Result<(ParamStore, Tensor, BTreeMap<String, Tensor>)> {
    let store = store(file, &Vit::specs(config)?)?;
    let logits = Vit::new(config, &store.var_builder())?.logits(image, &Context::eval())?;
    let labels: Vec<i64> =
        file.tensor("labels", &Device::Cpu)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?;
    let classes =
        |label: &i64| usize::try_from(*label).with_context(|| format!("label {label} is negative"));
    let labels = labels.iter().map(classes).collect::<Result<Vec<_>>>()?;
    let loss = cross_entropy(&logits, &labels, 0., None)?;
    Ok((store, loss, BTreeMap::from([("logits".to_string(), logits.detach())])))
}

fn read_case(path: &Path) -> Result<Case> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let case = read_case(&cli.config)?;
    let file = WeightFile::open(&cli.tensors)?;
    let image = file.tensor("image", &Device::Cpu)?.to_dtype(DType::F32)?;
    let (store, loss, mut outputs) = match case {
        Case::Mae {
            trunk,
            decoder_embed_dim,
            decoder_depth,
            decoder_num_heads,
            norm_pix_loss,
            mask_ratio,
        } => {
            let config = MaeConfig {
                decoder_embed_dim,
                decoder_depth,
                decoder_num_heads,
                norm_pix_loss,
                mask_ratio,
                ..MaeConfig::new(trunk.config())
            };
            run_mae(&file, &config, &image)?
        }
        Case::Classifier { trunk, num_classes, global_pool } => {
            let pooling = if global_pool { Pooling::GlobalPool } else { Pooling::ClassToken };
            run_classifier(&file, &trunk.config().classifier(num_classes, pooling), &image)?
        }
    };
    let grads = loss.backward()?;
    for (name, var) in store.trainable() {
        let Some(grad) = grads.get(var) else { bail!("no gradient reaches '{name}'") };
        outputs.insert(format!("grad.{name}"), grad.contiguous()?);
    }
    for tensor in outputs.values_mut() {
        *tensor = tensor.contiguous()?;
    }
    save_weights(&cli.out, &outputs, &serde_json::Map::new())?;
    println!("loss {:.8e}", loss.to_scalar::<f32>()?);
    Ok(())
}
