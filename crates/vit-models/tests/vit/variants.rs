//! Every variant of the architecture against real timm: fixtures of
//! `fixtures/gen/make_variants.py`.

use std::collections::BTreeMap;

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Backbone, Classifier, Context, ParamInit, ParamSpec, ParamStore, Vit, VitConfig};

use crate::support::{distance, fixture, flat};

struct Variant {
    name: String,
    config: VitConfig,
    tensors: BTreeMap<String, Tensor>,
}

fn variants() -> Vec<Variant> {
    let mut files: Vec<_> = std::fs::read_dir(fixture("variants"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 15);
    let open = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let config = header.metadata().as_ref().unwrap().get("config").unwrap();
        let tensors = vit_models::candle_core::safetensors::load_buffer(&bytes, &Device::Cpu);
        Variant {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            config: serde_json::from_str(config).unwrap(),
            tensors: tensors.unwrap().into_iter().collect(),
        }
    };
    files.into_iter().map(open).collect()
}

impl Variant {
    fn with_prefix(&self, prefix: &str) -> BTreeMap<String, &Tensor> {
        let named = |(name, tensor)| Some((str::strip_prefix(name, prefix)?.to_string(), tensor));
        self.tensors.iter().map(|(name, t)| (name.as_str(), t)).filter_map(named).collect()
    }

    fn store(&self, dtype: DType) -> ParamStore {
        let specs: Vec<ParamSpec> = Vit::specs(&self.config)
            .unwrap()
            .into_iter()
            .map(|spec| {
                let value = self.tensors.get(&format!("param.{}", spec.name));
                let value = value.unwrap_or_else(|| panic!("{}: {}", self.name, spec.name));
                assert_eq!(value.dims(), spec.shape, "{}: {}", self.name, spec.name);
                let values = value.flatten_all().unwrap().to_vec1().unwrap();
                ParamSpec { init: ParamInit::Values(std::sync::Arc::new(values)), ..spec }
            })
            .collect();
        // Nothing of timm's is left over.
        assert_eq!(specs.len(), self.with_prefix("param.").len(), "{}", self.name);
        ParamStore::init(&specs, 0, dtype, &Device::Cpu).unwrap()
    }

    fn images(&self, dtype: DType) -> Tensor {
        self.tensors["images"].to_dtype(dtype).unwrap()
    }

    /// Largest difference over the largest value of the reference, 1 at least.
    fn compare(&self, what: &str, got: &Tensor, tolerance: f64) {
        let want = &self.tensors[what];
        assert_eq!(got.dims(), want.dims(), "{} {what}", self.name);
        let want = flat(want);
        let scale = want.iter().fold(1f64, |scale, value| scale.max(value.abs()));
        let off = distance(&flat(got), &want) / scale;
        assert!(off < tolerance, "{} {what}: off by {off:.1e}", self.name);
    }
}

#[test]
fn features_and_logits_are_timms() {
    for variant in variants() {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 5e-6)] {
            let model = Vit::new(&variant.config, &variant.store(dtype).frozen()).unwrap();
            let folded = model.clone().for_inference().unwrap();
            let (images, ctx) = (variant.images(dtype), Context::eval());
            for model in [&model, &folded] {
                variant.compare("tokens", &model.tokens(&images, &ctx).unwrap(), tolerance);
                let blocks = model.intermediates(&images, &[1, 0], &ctx).unwrap();
                let maps = model.attention_maps(&images, &[1, 0], &ctx).unwrap();
                for (i, (block, map)) in [1, 0].into_iter().zip(blocks.iter().zip(&maps)) {
                    variant.compare(&format!("block.{i}"), block, tolerance);
                    variant.compare(&format!("attention.{i}"), map, tolerance);
                }
                if variant.config.num_classes > 0 {
                    variant.compare("logits", &model.logits(&images, &ctx).unwrap(), tolerance);
                }
            }
        }
    }
}

#[test]
fn gradients_are_timms() {
    for variant in variants() {
        for recompute in [false, true] {
            let store = variant.store(DType::F32);
            let model = Vit::new(&variant.config, &store.var_builder()).unwrap();
            let ctx = Context::eval().with_grad_checkpointing(recompute);
            let images = variant.images(DType::F32);
            let answer = match variant.config.num_classes {
                0 => model.tokens(&images, &ctx).unwrap(),
                _ => model.logits(&images, &ctx).unwrap(),
            };
            let loss = (answer.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
            let grads = loss.backward().unwrap();
            for (name, param) in store.trainable() {
                let grad = grads.get(param).unwrap_or_else(|| panic!("{}: {name}", variant.name));
                variant.compare(&format!("grad.{name}"), grad, 1e-5);
            }
        }
    }
}

/// Dropout, drop path and left-out patches change what training computes, and nothing else: the
/// same sample in the same epoch meets the same draws in any batch.
#[test]
fn drops_belong_to_samples() {
    for variant in variants() {
        let config = VitConfig {
            drop_rate: 0.3,
            pos_drop_rate: 0.2,
            patch_drop_rate: 0.4,
            proj_drop_rate: 0.2,
            attn_drop_rate: 0.2,
            drop_path: 0.2,
            ..variant.config.clone()
        };
        let model = Vit::new(&config, &variant.store(DType::F32).frozen()).unwrap();
        let (images, eval) = (variant.images(DType::F32), Context::eval());
        let streams = vit_random::Streams::new(3);
        let plain = model.tokens(&images, &eval).unwrap();
        variant.compare("tokens", &plain, 1e-5);
        let both = model.tokens(&images, &Context::train(streams, 1, &[7, 9])).unwrap();
        let patches = plain.dim(1).unwrap() - model.prefix_tokens();
        let kept = ((patches as f64 * (1. - 0.4)) as usize).max(1);
        assert_eq!(both.dim(1).unwrap(), model.prefix_tokens() + kept, "{}", variant.name);
        let second = images.narrow(0, 1, 1).unwrap();
        let alone = model.tokens(&second, &Context::train(streams, 1, &[9])).unwrap();
        let off = distance(&flat(&both.narrow(0, 1, 1).unwrap()), &flat(&alone));
        assert!(off < 1e-5, "{}: off by {off:.1e}", variant.name);
        let other = model.tokens(&second, &Context::train(streams, 2, &[9])).unwrap();
        assert!(distance(&flat(&other), &flat(&alone)) > 1e-3, "{}", variant.name);
    }
}
