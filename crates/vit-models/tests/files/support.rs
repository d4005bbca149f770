//! What several tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{ParamStore, Vit, VitConfig, save_weights};

/// All values as f64, row-major.
pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

/// A file of `crates/vit-models/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The encoder of the fixtures: width 8, one block, pictures of 16 in patches of 4.
pub(crate) fn encoder() -> VitConfig {
    VitConfig { embed_dim: 8, depth: 1, num_heads: 2, ..VitConfig::vit_tiny(4, 16) }
}

pub(crate) fn store(config: &VitConfig, seed: u64) -> ParamStore {
    ParamStore::init(&Vit::specs(config).unwrap(), seed, DType::F32, &Device::Cpu).unwrap()
}

/// Every value of a store.
pub(crate) fn values(store: &ParamStore) -> BTreeMap<String, Vec<f64>> {
    store.iter().map(|(name, param)| (name.to_string(), flat(param.var()))).collect()
}

/// A folder of the test's own, and tensors written to a file in it.
pub(crate) fn saved(tensors: &BTreeMap<String, Tensor>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save_weights(&path, tensors, &serde_json::Map::new()).unwrap();
    (folder, path)
}

/// A file with these bytes.
pub(crate) fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}
