//! A real file of another family: DINOv2's small model under Hugging Face's names.

use std::path::{Path, PathBuf};

use vit_models::candle_core::Device;
use vit_models::{
    Backbone, Context, Error, Family, LoadOptions, Outcome, Vit, VitConfig, WeightFile,
};

use crate::support::{flat, store, values};

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

/// `spec/formats.md`: blocks 0, 5 and 11 and the final tokens at 224 px, from another runtime. The
/// file's table is for 518 px.
#[test]
fn the_real_model_gives_the_golden_tokens() {
    let Some(path) = dinov2() else { return };
    let cpu = Device::Cpu;
    let config = VitConfig { init_values: Some(1.), ..VitConfig::vit_small(14, 224) };
    let (model, report) = Vit::from_file(&config, &path, &cpu).unwrap();
    assert_eq!(report.names(|o| matches!(o, Outcome::Resized { .. })), ["pos_embed"]);
    // Every tensor of the file is used.
    let used = report.loaded() + 2 * report.names(|o| matches!(o, Outcome::Fused { .. })).len();
    assert_eq!(used, WeightFile::open(&path).unwrap().shapes().len());

    let golden = WeightFile::open(&path.with_file_name("dinov2_small_golden.safetensors")).unwrap();
    let get = |name: &str| golden.tensor(name, &cpu).unwrap();
    let (input, ctx) = (get("input"), Context::eval());
    let mut got = model.intermediates(&input, &[0, 5, 11], &ctx).unwrap();
    got.push(model.tokens(&input, &ctx).unwrap());
    for (got, name) in got.iter().zip(["block0", "block5", "block11", "tokens_norm"]) {
        let want = flat(&get(name));
        let got = flat(got);
        let largest = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
        eprintln!("{name}: {largest:e}");
        // The golden values are another runtime's, in single precision: computed in double
        // precision the tokens differ from them by 2.05e-5 (blocks: 1.1e-6, 1.3e-6, 2.7e-5), by
        // PyTorch in single precision by 2.34e-5. Tokens go up to 8.5, block 11 much higher.
        let bound = 3.2e-5;
        assert!(largest <= bound, "{name}: {largest:e}");
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let (a, b) = (&got[..384], &want[..384]);
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine >= 0.999_999, "{name}: {cosine}");
    }
}

#[test]
fn a_told_family_that_is_wrong_gives_missing_tensors_not_garbage() {
    let Some(path) = dinov2() else { return };
    let file = WeightFile::open(&path).unwrap();
    let config = VitConfig { depth: 1, init_values: Some(1.), ..VitConfig::vit_small(14, 518) };
    let into = store(&config, 1);
    let before = values(&into);
    // Not even when everything may be missing.
    for options in [LoadOptions::new_head(), LoadOptions::allow(&[""])] {
        let error = file.load_into(&into, &options.with_family(Family::Timm)).unwrap_err();
        assert!(matches!(error, Error::Missing { found: 0, .. }), "{error:?}");
        assert!(error.to_string().contains("dinov2_small_hf.safetensors"), "{error}");
        assert_eq!(values(&into), before);
    }
}
