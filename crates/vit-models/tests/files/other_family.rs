//! A real file of another family: DINOv2's small model under Hugging Face's names.

use std::path::{Path, PathBuf};

use vit_models::candle_core::Device;
use vit_models::{Error, LoadOptions, Vit, VitConfig, WeightFile};

use crate::support::{store, values};

/// `$VITALIGHT_DATA`, else `shared/data` beside the workspace; nothing, with a message, where the
/// file is absent. With `VITALIGHT_REQUIRE_DATA=1` that is a failure.
fn dinov2() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("VITALIGHT_DATA").map_or_else(beside, PathBuf::from);
    let path = root.join("weights/dinov2_small_hf.safetensors");
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("VITALIGHT_REQUIRE_DATA").is_some_and(|v| v == "1");
    assert!(!required, "{} is absent", path.display());
    eprintln!("skipped: {} is absent; set VITALIGHT_DATA to its folder", path.display());
    None
}

#[test]
fn names_of_another_family_are_missing_tensors_not_garbage() {
    let Some(path) = dinov2() else { return };
    let file = WeightFile::open(&path).unwrap();
    assert!(file.shapes().len() > 150, "{} tensors", file.shapes().len());
    let config = VitConfig::vit_small(14, 518);
    let error = Vit::from_file(&config, &path, &Device::Cpu).err().unwrap();
    let text = error.to_string();
    let Error::Missing { names, found, .. } = error else { panic!("{text}") };
    assert_eq!((names.len(), found), (Vit::specs(&config).unwrap().len(), 0));
    assert!(text.contains("dinov2_small_hf.safetensors"), "{text}");

    // Not even when everything may be missing.
    let into = store(&VitConfig { depth: 1, ..config }, 1);
    let before = values(&into);
    for options in [LoadOptions::new_head(), LoadOptions::allow(&[""])] {
        let error = file.load_into(&into, &options).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert_eq!(values(&into), before);
    }
}
