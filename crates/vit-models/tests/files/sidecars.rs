//! How pictures are prepared, as configurations beside the weights say it.

use vit_models::{CropMode, Error, Interpolation, Preprocessing, WeightFile};

use crate::support::{encoder, saved, store};

/// What is read of these texts beside a weight file.
fn beside(config: &str, preprocessor: Option<&str>) -> vit_models::Result<Option<Preprocessing>> {
    let (folder, path) = saved(&store(&encoder(), 1).tensors());
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    if let Some(text) = preprocessor {
        std::fs::write(folder.path().join("preprocessor_config.json"), text).unwrap();
    }
    WeightFile::open(&path).unwrap().preprocessing_beside()
}

const HF: &str = r#"{"model_type": "vit"}"#;
const MEANS: &str = r#""image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]"#;

#[test]
fn hugging_faces_processors_are_understood() {
    for (text, size, crop_pct, mode, filter) in [
        (
            r#""size": {"height": 224, "width": 192}, "resample": 2"#,
            [224, 192],
            1.,
            "squash",
            "bilinear",
        ),
        // As it was written before 2023.
        (r#""size": 224, "do_resize": true, "resample": 3"#, [224, 224], 1., "squash", "bicubic"),
        (
            r#""size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3"#,
            [224, 224],
            0.875,
            "center",
            "bicubic",
        ),
        (
            r#""size": 256, "crop_size": 224, "do_center_crop": true, "resample": 1"#,
            [224, 224],
            0.875,
            "center",
            "lanczos",
        ),
        (
            r#""size": 256, "crop_size": 224, "do_center_crop": false"#,
            [256, 256],
            1.,
            "squash",
            "bilinear",
        ),
    ] {
        let found = beside(HF, Some(&format!("{{{text}, {MEANS}}}"))).unwrap().unwrap();
        let crop_mode = if mode == "center" { CropMode::Center } else { CropMode::Squash };
        let interpolation = match filter {
            "bicubic" => Interpolation::Bicubic,
            "lanczos" => Interpolation::Lanczos,
            _ => Interpolation::Bilinear,
        };
        let want = Preprocessing {
            input_size: [3, size[0], size[1]],
            crop_pct,
            crop_mode,
            interpolation,
            mean: vec![0.1, 0.2, 0.3],
            std: vec![0.4, 0.5, 0.6],
        };
        assert_eq!(found, want, "{text}");
    }
    assert_eq!(beside(HF, None).unwrap(), None);
}

/// A default in the place of what is not understood would be wrong without a word.
#[test]
fn what_is_not_understood_is_refused() {
    for (text, word) in [
        (format!(r#"{{"size": 224, "do_normalize": false, {MEANS}}}"#), "do_normalize"),
        (format!(r#"{{"size": 224, "resample": 5, {MEANS}}}"#), "resample"),
        (format!(r#"{{"size": {{"longest_edge": 224}}, {MEANS}}}"#), "size"),
        (format!(r#"{{"size": 192, "crop_size": 224, {MEANS}}}"#), "crop of 224"),
        (r#"{"size": 224}"#.to_string(), "image_mean"),
        (r#"{"size": 224, "image_mean": [0.5], "image_std": [0.5]}"#.to_string(), "mean"),
    ] {
        let error = beside(HF, Some(&text)).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
        let named = error.to_string().contains("preprocessor_config.json");
        assert!(named || matches!(error, Error::Config(_)), "{error}");
    }
    let timm = r#"{"architecture": "x", "pretrained_cfg": {"input_size": [3, 224, 224],
        "crop_mode": "border", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
    let error = beside(timm, None).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("border"), "{error}");
    let found = beside(&timm.replace("border", "center"), None).unwrap().unwrap();
    assert_eq!((found.crop_pct, found.interpolation), (0.875, Interpolation::Bicubic));
}
