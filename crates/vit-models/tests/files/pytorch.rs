//! Files written by PyTorch 2.15 (`fixtures/gen/make_fixtures.py`).

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Backbone, Container, Context, Error, LoadOptions, Outcome, ParamSpec, Vit, VitConfig,
    WeightFile,
};

use crate::support::{encoder, fixture, flat, store};

/// Names of the auto-encoder in the fixture, sorted: their place is part of their values.
fn mae_names() -> Vec<(String, Vec<usize>)> {
    let decoder = VitConfig { embed_dim: 12, ..encoder() };
    let own = |spec: ParamSpec| (spec.name, spec.shape);
    let mut names: Vec<_> = Vit::specs(&encoder()).unwrap().into_iter().map(own).collect();
    let blocks = Vit::specs(&decoder).unwrap().into_iter().map(own);
    names.extend(
        blocks
            .filter(|(name, _)| name.starts_with("blocks.") || name.starts_with("norm"))
            .map(|(name, shape)| (format!("decoder_{name}"), shape)),
    );
    for (name, shape) in [
        ("mask_token", &[1, 1, 12][..]),
        ("decoder_pos_embed", &[1, 17, 12]),
        ("decoder_embed.weight", &[12, 8]),
        ("decoder_embed.bias", &[12]),
        ("decoder_pred.weight", &[48, 12]),
        ("decoder_pred.bias", &[48]),
    ] {
        names.push((name.to_string(), shape.to_vec()));
    }
    names.sort();
    names
}

/// Element i of parameter j is `0.2·cos(0.7(i+1) + 1.3j)`, a norm's weight `1 + half of that`.
fn assert_filled(name: &str, j: usize, got: &Tensor) {
    assert_eq!(got.dtype(), DType::F32);
    for (i, got) in flat(got).into_iter().enumerate() {
        let cos = 0.2 * (0.7 * (i + 1) as f64 + 1.3 * j as f64).cos();
        let norm = name.contains("norm") && name.ends_with("weight");
        let want = if norm { 1. + 0.5 * cos } else { cos };
        assert!((got - want).abs() < 1e-7, "{name}[{i}]: {got} instead of {want}");
    }
}

/// Beside optimiser, epoch, scaler and a pickled `argparse.Namespace` with a path in it; one
/// tensor stored column by column, one starting inside its storage.
#[test]
fn a_training_checkpoint_gives_its_model() {
    let file = WeightFile::open(&fixture("mae_checkpoint.pth")).unwrap();
    let names = mae_names();
    assert_eq!(names.len(), 38);
    let mut shapes = file.shapes().clone();
    assert_eq!(shapes.remove("half").unwrap(), [2, 2]);
    assert_eq!(shapes.remove("steps_seen").unwrap(), [0; 0]);
    assert_eq!(shapes.into_iter().collect::<Vec<_>>(), names);
    for (j, (name, _)) in names.iter().enumerate() {
        assert_filled(name, j, &file.tensor(name, &Device::Cpu).unwrap());
    }
    assert!(file.metadata().is_empty());
}

#[test]
fn scalars_and_half_precision_are_read() {
    let file = WeightFile::open(&fixture("mae_checkpoint.pth")).unwrap();
    let steps = file.tensor("steps_seen", &Device::Cpu).unwrap();
    assert_eq!(steps.to_scalar::<i64>().unwrap(), 1_234_567_890_123);
    let half = file.tensor("half", &Device::Cpu).unwrap();
    assert_eq!(half.dtype(), DType::BF16);
    assert_eq!(flat(&half), [1.5, -2.25, 3.140625, 65536.]);
    for absent in ["optimizer", "epoch", "model.cls_token", "state"] {
        assert!(matches!(file.tensor(absent, &Device::Cpu), Err(Error::File { .. })), "{absent}");
    }
}

#[test]
fn an_encoder_is_built_from_a_checkpoint() {
    let path = fixture("mae_checkpoint.pth");
    let (model, report) = Vit::from_file(&encoder(), &path, &Device::Cpu).unwrap();
    assert!(report.missing().is_empty());
    let images = Tensor::ones((1, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
    let embedding = flat(&model.embed(&images, &Context::eval()).unwrap());
    assert!(embedding.iter().all(|v| v.is_finite()));

    let into = store(&encoder(), 3);
    WeightFile::open(&path).unwrap().load_into(&into, &LoadOptions::strict()).unwrap();
    let same = Vit::new(&encoder(), &into.frozen()).unwrap();
    assert_eq!(flat(&same.embed(&images, &Context::eval()).unwrap()), embedding);
}

/// A bare state dictionary with the names `DistributedDataParallel` gives.
#[test]
fn a_state_dictionary_of_a_wrapped_model_is_read() {
    let file = WeightFile::open(&fixture("ddp_encoder.pth")).unwrap();
    let into = store(&encoder(), 3);
    let report = file.load_into(&into, &LoadOptions::strict()).unwrap();
    let renamed = |outcome: &Outcome| matches!(outcome, Outcome::Renamed { .. });
    assert_eq!(report.names(renamed).len(), 18);
    for (j, (name, param)) in into.iter().enumerate() {
        assert_filled(name, j, param.var());
    }
}

#[test]
fn the_format_before_1_6_is_read() {
    let file = WeightFile::open(&fixture("legacy.pth")).unwrap();
    assert_eq!((file.container(), file.section()), (Container::TorchLegacy, "model"));
    let names: Vec<_> = file.shapes().keys().collect();
    assert_eq!(names, ["cls_token"]);
    // The first of the encoder's names, which are filled in their sorted order.
    let mut all: Vec<_> = Vit::specs(&encoder()).unwrap().into_iter().map(|s| s.name).collect();
    all.sort();
    let place = all.iter().position(|name| name == "cls_token").unwrap();
    assert_filled("cls_token", place, &file.tensor("cls_token", &Device::Cpu).unwrap());
}
