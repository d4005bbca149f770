//! The tiny models of the golden cases (`spec/mae.md` 13): weights, picture and noise are formulas.

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use vit_models::{ParamSpec, ParamStore, VitConfig};

/// The reference's numbers, where they are there.
#[must_use]
pub fn golden() -> Option<Value> {
    let path = crate::shared_file("VITALIGHT_GOLDEN", "golden", "mae_tiny.json")?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// The encoder: 32 pixels, patches of 8, width 16, two blocks of two heads.
#[must_use]
pub fn trunk() -> VitConfig {
    VitConfig { embed_dim: 16, depth: 2, num_heads: 2, ..VitConfig::vit_tiny(8, 32) }
}

/// Element `i` of the `j`-th parameter in sorted order: `0.2·cos(0.7(i+1) + 1.3j)`; norm weights
/// `1 + 0.1·cos(…)`. Fixed tables stay as they are.
#[must_use]
pub fn fill(specs: &[ParamSpec]) -> ParamStore {
    let store = ParamStore::init(specs, 0, DType::F32, &Device::Cpu).unwrap();
    for (j, (name, param)) in store.iter().enumerate().filter(|(_, (_, p))| p.trainable()) {
        let norm = name.contains("norm") && name.ends_with("weight");
        let value = |i: usize| {
            let wave = (0.7 * (i as f64 + 1.) + 1.3 * j as f64).cos();
            (if norm { 1. + 0.1 * wave } else { 0.2 * wave }) as f32
        };
        let values: Vec<f32> = (0..param.var().elem_count()).map(value).collect();
        let tensor = Tensor::from_vec(values, param.var().shape(), &Device::Cpu).unwrap();
        store.set(name, &tensor).unwrap();
    }
    store
}

/// The two pictures, `[2, 3, 32, 32]`.
#[must_use]
pub fn images() -> Tensor {
    let value = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin() as f32;
    let values: Vec<f32> = (0..2 * 3 * 32 * 32).map(value).collect();
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    assert!((sum - 90.247312).abs() < 1e-3, "{sum}");
    Tensor::from_vec(values, (2, 3, 32, 32), &Device::Cpu).unwrap()
}

/// The noise that masks are made from, one row of 16 per picture.
#[must_use]
pub fn noise() -> Vec<Vec<f32>> {
    let ratio = (5f64.sqrt() - 1.) / 2.;
    let value = |i: usize| (ratio * (i as f64 + 1.)).fract() as f32;
    vec![(0..16).map(value).collect(), (16..32).map(value).collect()]
}

/// The L2 norm of a tensor.
#[must_use]
pub fn l2(tensor: &Tensor) -> f64 {
    let squares = tensor.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap();
    squares.to_scalar::<f64>().unwrap().sqrt()
}
