//! A small model with adapters, shared by the tests.

// Each test file uses its own part.
#![allow(dead_code)]

use vit_lora::vit_models::candle_core::{DType, Device, Tensor};
use vit_lora::vit_models::{InitScheme, ParamStore, Pooling, Vit, VitConfig};
use vit_lora::{LoraConfig, Target, attach, specs};

pub(crate) fn vit() -> VitConfig {
    let mut config = VitConfig::vit_tiny(4, 8).classifier(3, Pooling::GlobalPool);
    (config.embed_dim, config.depth, config.num_heads) = (12, 2, 2);
    config.init = InitScheme::Mae;
    config
}

pub(crate) fn lora() -> LoraConfig {
    LoraConfig { rank: 2, alpha: 4., dropout: 0.1, targets: vec![Target::Query, Target::Value] }
}

/// Base and fresh adapters.
pub(crate) fn store(vit: &VitConfig, lora: &LoraConfig, dtype: DType) -> ParamStore {
    let base = Vit::specs(vit).unwrap();
    let mut store = ParamStore::init(&base, 1, dtype, &Device::Cpu).unwrap();
    store.add(&specs(&base, lora).unwrap(), 2).unwrap();
    store
}

/// Gives every `B` values, as training would.
pub(crate) fn train_b(store: &ParamStore) {
    for (i, (name, param)) in store.iter().enumerate() {
        if name.contains("lora_B") {
            let value = pattern(param.var().dims(), i as f64, store.dtype());
            store.set(name, &(value * 0.3).unwrap()).unwrap();
        }
    }
}

/// Fixed values without structure, between −1 and 1.
pub(crate) fn pattern(shape: &[usize], phase: f64, dtype: DType) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 1.7 + phase).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

pub(crate) fn images(batch: usize, dtype: DType) -> Tensor {
    pattern(&[batch, 3, 8, 8], 0.3, dtype)
}

/// A model that trains, adapters attached.
pub(crate) fn adapted(vit: &VitConfig, lora: &LoraConfig, store: &ParamStore) -> Vit {
    let vb = store.var_builder();
    let mut model = Vit::new(vit, &vb).unwrap();
    attach(model.linears_mut(), lora, &vb).unwrap();
    model
}

/// Bytes of a tensor.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u64> {
    let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    values.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}
