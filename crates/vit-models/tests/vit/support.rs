//! What several tests share.

use std::path::{Path, PathBuf};

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{ParamStore, Vit, VitConfig};

/// All values as f64, row-major.
pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

/// Largest absolute difference; NaN if there is one.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let worse = |worst: f64, d: f64| if d <= worst { worst } else { d };
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., worse)
}

/// A file of `crates/vit-models/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Two blocks of width 8 on pictures of 3 × 8 × 8 in four patches.
pub(crate) fn small() -> VitConfig {
    VitConfig { embed_dim: 8, depth: 2, num_heads: 2, ..VitConfig::vit_tiny(4, 8) }
}

/// A store of a configuration with first values of a seed.
pub(crate) fn store(config: &VitConfig, seed: u64) -> ParamStore {
    ParamStore::init(&Vit::specs(config).unwrap(), seed, DType::F32, &Device::Cpu).unwrap()
}

/// Pictures without a generator.
pub(crate) fn pictures(shape: [usize; 4]) -> Tensor {
    let n: usize = shape.iter().product();
    let wave = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin() as f32;
    Tensor::from_vec((0..n).map(wave).collect::<Vec<_>>(), &shape, &Device::Cpu).unwrap()
}
