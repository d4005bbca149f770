//! What is written under other names is the same model when it is read again. That timm and
//! transformers read it is checked by `scripts/interop.py` (docs/interop.md).

use vit_models::candle_core::{Device, Tensor};
use vit_models::{
    Backbone, Classifier, Context, CropMode, Interpolation, Layout, ModelCard, Outcome,
    Preprocessing, Vit, VitConfig, WeightFile, export_weights,
};

use crate::families::{assert_close, models, weights};
use crate::support::store;

fn outputs(config: &VitConfig, path: &std::path::Path, input: &Tensor) -> Vec<Tensor> {
    let (vit, report) = Vit::from_file(config, path, &Device::Cpu).unwrap();
    assert!(report.missing().is_empty() && report.unexpected().is_empty(), "{report}");
    let mut outputs = vec![vit.tokens(input, &Context::eval()).unwrap()];
    if config.num_classes > 0 {
        outputs.push(vit.logits(input, &Context::eval()).unwrap());
    }
    outputs
}

#[test]
fn a_converted_file_is_the_same_model() {
    let mut written = 0;
    for (name, model, config) in models() {
        let Some(config) = config else { continue };
        if name == "timm_qk_norm" {
            continue;
        }
        let file = WeightFile::open(&weights(&model.file)).unwrap();
        let expected = WeightFile::open(&weights(&format!("{name}.expected.safetensors"))).unwrap();
        let input = expected.tensor("input", &Device::Cpu).unwrap();
        let before = outputs(&config, &weights(&model.file), &input);
        for layout in [Layout::Timm, Layout::Mae, Layout::HuggingFace] {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            // Hugging Face has no norm after pooling, and no plain head on Dinov2.
            let none = layout == Layout::HuggingFace && config.norm_after_pooling();
            match file.convert(&out, layout, None) {
                Err(error) => assert!(none, "{name} {layout:?}: {error}"),
                Ok(report) => {
                    assert!(!none && report.missing().is_empty(), "{name}: {report}");
                    for (a, b) in before.iter().zip(outputs(&config, &out, &input)) {
                        assert_close(&b, a, &format!("{name} as {layout:?}"));
                    }
                    written += 1;
                }
            }
        }
    }
    assert!(written > 38, "{written}");
}

#[test]
fn the_decoder_goes_along_where_there_is_a_place_for_it() {
    let file = WeightFile::open(&weights("mae_pretrain.pth")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = |layout, name: &str| {
        let out = folder.path().join(name);
        let report = file.convert(&out, layout, None).unwrap();
        (WeightFile::open(&out).unwrap(), report)
    };
    let (hf, report) = into(Layout::HuggingFace, "hf");
    assert_eq!(hf.family(), vit_models::Family::HfVitMae);
    let split = report.names(|o| matches!(o, Outcome::Split { .. }));
    assert_eq!(split.len(), 6, "{split:?}");
    // And back: every number is where it was.
    let back = folder.path().join("back");
    hf.convert(&back, Layout::Mae, None).unwrap();
    let back = WeightFile::open(&back).unwrap();
    assert_eq!(back.shapes(), file.shapes());
    for name in file.shapes().keys() {
        let [a, b] =
            [&file, &back].map(|f| crate::support::flat(&f.tensor(name, &Device::Cpu).unwrap()));
        assert_eq!(a, b, "{name}");
    }
    let (timm, report) = into(Layout::Timm, "timm");
    assert_eq!(report.names(|o| matches!(o, Outcome::Dropped { .. })).len(), 20);
    assert!(!timm.shapes().keys().any(|name| name.starts_with("decoder")));
}

#[test]
fn the_card_travels_with_the_weights() {
    let config = VitConfig { num_classes: 2, ..crate::support::encoder() };
    let card = ModelCard {
        multi_label: false,
        name: "tiny".into(),
        config: config.clone(),
        preprocessing: Some(Preprocessing {
            input_size: [3, 16, 16],
            crop_pct: 0.875,
            crop_mode: CropMode::Center,
            interpolation: Interpolation::Bicubic,
            mean: vec![0.5, 0.4, 0.3],
            std: vec![0.2; 3],
        }),
        labels: vec!["normal".into(), "pneumonia".into()],
        licence: Some("CC-BY-NC-4.0".into()),
        sources: WeightFile::open(&weights("mae_encoder.pth")).unwrap().hashes().unwrap(),
    };
    assert_eq!(card.sources[0].sha256.len(), 64);
    let tensors = store(&config, 1).tensors();
    for layout in [Layout::Timm, Layout::HuggingFace, Layout::Mae] {
        let folder = tempfile::tempdir().unwrap();
        export_weights(folder.path(), &tensors, &card, layout).unwrap();
        let file = WeightFile::open(folder.path()).unwrap();
        assert_eq!(file.card().unwrap().as_ref(), Some(&card), "{layout:?}");
        assert_eq!(file.header()["format"], "pt");
        if layout != Layout::Mae {
            // What the other library reads says the same.
            assert_eq!(file.labels_beside().unwrap(), card.labels, "{layout:?}");
            let prepared = file.preprocessing_beside().unwrap().unwrap();
            assert_eq!(prepared.mean, [0.5, 0.4, 0.3]);
            assert!((prepared.crop_pct - 0.875).abs() < 0.02, "{prepared:?}");
        }
        // The same again is the same bytes.
        let first = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        export_weights(folder.path(), &tensors, &card, layout).unwrap();
        assert!(first == std::fs::read(folder.path().join("model.safetensors")).unwrap());
    }
    let mut fewer = tensors.clone();
    fewer.remove("norm.bias");
    let folder = tempfile::tempdir().unwrap();
    let error = export_weights(folder.path(), &fewer, &card, Layout::Timm).unwrap_err();
    assert!(error.to_string().contains("norm.bias"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_model_the_other_library_does_not_have_is_an_error() {
    let base = crate::support::encoder();
    for (config, word) in [
        (VitConfig { qk_norm: true, ..base.clone() }, "queries"),
        (VitConfig { pre_norm: true, ..base.clone() }, "before the blocks"),
        (VitConfig { fc_norm: Some(true), ..base.clone() }, "fc_norm"),
    ] {
        let card = ModelCard {
            multi_label: false,
            name: "none".into(),
            config: config.clone(),
            preprocessing: None,
            labels: Vec::new(),
            licence: None,
            sources: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let tensors = store(&config, 1).tensors();
        let error =
            export_weights(folder.path(), &tensors, &card, Layout::HuggingFace).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
