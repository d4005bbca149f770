//! What a load report says, and that a refused file changes nothing.

use std::collections::BTreeMap;

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Error, LoadOptions, LoadReport, Outcome, Pooling, PositionFilter, VitConfig, WeightFile,
    resize_position_table,
};

use crate::support::{encoder, fixture, flat, saved, store, values};

fn load(
    tensors: &BTreeMap<String, Tensor>,
    into: &vit_models::ParamStore,
    options: &LoadOptions,
) -> vit_models::Result<LoadReport> {
    let (_folder, path) = saved(tensors);
    WeightFile::open(&path).unwrap().load_into(into, options)
}

fn outcome<'a>(report: &'a LoadReport, name: &str) -> Vec<&'a Outcome> {
    report.tensors.iter().filter(|t| t.name == name).map(|t| &t.outcome).collect()
}

#[test]
fn an_exact_file_matches_throughout() {
    let config = encoder();
    let (from, into) = (store(&config, 1), store(&config, 2));
    let report = load(&from.tensors(), &into, &LoadOptions::strict()).unwrap();
    assert!(report.tensors.iter().all(|t| t.outcome == Outcome::Matched));
    let names: Vec<_> = report.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, into.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!((report.loaded(), report.missing().len()), (into.len(), 0));
    assert_eq!(values(&into), values(&from));
}

#[test]
fn prefixes_of_wrappers_are_taken_off() {
    let config = encoder();
    for prefix in ["module.", "backbone.", "module.encoder."] {
        let (from, into) = (store(&config, 1), store(&config, 2));
        let mut tensors: BTreeMap<_, _> =
            from.tensors().into_iter().map(|(name, t)| (format!("{prefix}{name}"), t)).collect();
        let report = load(&tensors, &into, &LoadOptions::strict()).unwrap();
        for row in &report.tensors {
            let from = format!("{prefix}{}", row.name);
            assert_eq!(row.outcome, Outcome::Renamed { from });
        }
        assert_eq!(values(&into), values(&from));

        // The name as it stands wins over a prefixed one.
        let own = Tensor::full(7f32, 8, &Device::Cpu).unwrap();
        tensors.insert("norm.bias".to_string(), own);
        let report = load(&tensors, &into, &LoadOptions::strict()).unwrap();
        assert_eq!(outcome(&report, "norm.bias"), [&Outcome::Matched]);
        assert_eq!(report.unexpected(), [format!("{prefix}norm.bias")]);
        assert_eq!(values(&into)["norm.bias"], [7.; 8]);
    }
}

#[test]
fn a_position_table_of_another_grid_is_resized() {
    let (config, larger) = (encoder(), VitConfig { img_size: 24.into(), ..encoder() });
    let (from, into) = (store(&config, 1), store(&larger, 2));
    let report = load(&from.tensors(), &into, &LoadOptions::strict()).unwrap();
    let resized = Outcome::Resized { from: vec![1, 17, 8], to: vec![1, 37, 8] };
    assert_eq!(outcome(&report, "pos_embed"), [&resized]);
    assert_eq!(report.loaded(), into.len());
    let want = resize_position_table(
        from.get("pos_embed").unwrap().var(),
        1,
        (4, 4),
        (6, 6),
        PositionFilter::Bicubic,
    )
    .unwrap();
    assert_eq!(values(&into)["pos_embed"], flat(&want));
    let text = report.to_string();
    assert!(text.contains("resized") && text.contains("[1, 37, 8]"), "{text}");
}

/// A grid that is no square need not be told where the model's table is the file's.
#[test]
fn a_table_that_is_the_same_needs_no_grid() {
    let config = VitConfig { img_size: (56, 40).into(), ..encoder() };
    assert_eq!(config.grid(), (14, 10));
    let (from, into) = (store(&config, 1), store(&config, 2));
    let report = load(&from.tensors(), &into, &LoadOptions::strict()).unwrap();
    assert_eq!(outcome(&report, "pos_embed"), [&Outcome::Matched]);
    assert_eq!(values(&into), values(&from));
    // Told that rows and columns are the other way round, as many patches are another table.
    let options = LoadOptions { file_grid: Some((10, 14)), ..LoadOptions::strict() };
    let options = options.for_model(&config);
    let report = load(&from.tensors(), &into, &options).unwrap();
    assert!(matches!(outcome(&report, "pos_embed")[..], [Outcome::Resized { .. }]));
    assert_ne!(values(&into)["pos_embed"], values(&from)["pos_embed"]);
}

#[test]
fn a_position_table_that_cannot_be_resized_is_refused() {
    let config = encoder();
    let into = store(&VitConfig { img_size: 24.into(), ..config.clone() }, 2);
    let before = values(&into);
    // 17 patches are no square.
    let mut tensors = store(&config, 1).tensors();
    let table = Tensor::zeros((1, 18, 8), DType::F32, &Device::Cpu).unwrap();
    tensors.insert("pos_embed".to_string(), table);
    let error = load(&tensors, &into, &LoadOptions::strict()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("pos_embed"), "{error}");
    // A table of another width is another model's.
    let table = Tensor::zeros((1, 17, 4), DType::F32, &Device::Cpu).unwrap();
    tensors.insert("pos_embed".to_string(), table);
    let error = load(&tensors, &into, &LoadOptions::strict()).unwrap_err();
    assert!(matches!(error, Error::Missing { ref names, .. } if names == &["pos_embed"]));
    assert_eq!(values(&into), before);
}

#[test]
fn a_head_of_another_shape_is_dropped_and_missing() {
    let of = |classes| encoder().classifier(classes, Pooling::GlobalPool);
    let (from, into) = (store(&of(5), 1), store(&of(3), 2));
    let before = values(&into);
    let error = load(&from.tensors(), &into, &LoadOptions::strict()).unwrap_err();
    let Error::Missing { names, found, .. } = error else { panic!("{error:?}") };
    assert_eq!(names, ["head.bias", "head.weight"]);
    assert_eq!(found, into.len() - 2);
    assert_eq!(values(&into), before, "a refused file changed the store");

    let report = load(&from.tensors(), &into, &LoadOptions::new_head()).unwrap();
    let [dropped, missing] = outcome(&report, "head.weight")[..] else { panic!("{report}") };
    assert!(matches!(dropped, Outcome::Dropped { reason }
        if reason.contains("[5, 8]") && reason.contains("[3, 8]")));
    assert_eq!(*missing, Outcome::Missing);
    assert_eq!(report.missing(), ["head.bias", "head.weight"]);
    assert!(report.unexpected().is_empty());
    let after = values(&into);
    for name in ["head.bias", "head.weight"] {
        assert_eq!(after[name], before[name], "{name} keeps its first values");
    }
    assert_eq!(after["fc_norm.weight"], values(&from)["fc_norm.weight"]);
}

/// The usual start of a fine-tuning: the whole auto-encoder into a classifier.
#[test]
fn a_full_mae_file_gives_a_classifier_its_trunk() {
    let file = WeightFile::open(&fixture("mae_checkpoint.pth")).unwrap();
    for pooling in [Pooling::GlobalPool, Pooling::ClassToken] {
        let into = store(&encoder().classifier(3, pooling), 2);
        let report = file.load_into(&into, &LoadOptions::new_head()).unwrap();
        let global = pooling == Pooling::GlobalPool;
        let mut missing = vec!["head.bias", "head.weight"];
        if global {
            missing.splice(0..0, ["fc_norm.bias", "fc_norm.weight"]);
        }
        assert_eq!(report.missing(), missing);
        assert_eq!(report.unexpected(), ["half", "steps_seen"]);
        let dropped = report.dropped();
        let of = |word: &str| {
            let fits = dropped.iter().filter(|(reason, _)| reason.contains(word));
            fits.flat_map(|(_, names)| names).count()
        };
        assert_eq!((of("decoder"), of("hidden patches")), (19, 1));
        assert_eq!(of("norm before pooling"), if global { 2 } else { 0 });
        assert_eq!(report.loaded(), if global { 16 } else { 18 });
        // The fixed table of the auto-encoder becomes the first value of the trained one.
        let table = file.tensor("pos_embed", &Device::Cpu).unwrap();
        assert_eq!(values(&into)["pos_embed"], flat(&table));
        let text = report.to_string();
        assert!(text.contains("left at its first value"), "{text}");
        assert!(text.contains("decoder_blocks.0"), "{text}");
    }
}

#[test]
fn a_missing_tensor_is_an_error_and_changes_nothing() {
    let config = encoder();
    let into = store(&config, 2);
    let before = values(&into);
    let mut tensors = store(&config, 1).tensors();
    tensors.remove("blocks.0.attn.qkv.weight");
    for options in [LoadOptions::strict(), LoadOptions::new_head()] {
        let error = load(&tensors, &into, &options).unwrap_err();
        let text = error.to_string();
        let Error::Missing { names, found, .. } = error else { panic!("{text}") };
        assert_eq!(names, ["blocks.0.attn.qkv.weight"]);
        assert_eq!(found, into.len() - 1);
        assert!(text.contains("blocks.0.attn.qkv.weight"), "{text}");
        assert_eq!(values(&into), before);
    }
    let report = load(&tensors, &into, &LoadOptions::allow(&["blocks.0.attn."])).unwrap();
    assert_eq!(report.missing(), ["blocks.0.attn.qkv.weight"]);
}

/// However much may be missing: a file with nothing of the model is a wrong file.
#[test]
fn a_file_of_something_else_is_never_accepted() {
    let into = store(&encoder(), 2);
    let before = values(&into);
    let other = Tensor::zeros((3, 3), DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([("conv1.weight".to_string(), other)]);
    let error = load(&tensors, &into, &LoadOptions::allow(&[""])).unwrap_err();
    assert!(matches!(error, Error::Missing { found: 0, .. }), "{error:?}");
    assert_eq!(values(&into), before);
}

/// A convolution weight saved in `channels_last` order is neither row-major nor its reverse, which
/// candle's reader refuses. Either its values are right, or the file changes nothing.
#[test]
fn a_tensor_in_an_order_of_its_own_is_right_or_refused() {
    let name = "patch_embed.proj.weight";
    let file = WeightFile::open(&fixture("channels_last.pth")).unwrap();
    let (into, right) = (store(&encoder(), 2), store(&encoder(), 3));
    let before = values(&into);
    match file.load_into(&into, &LoadOptions::allow(&[""])) {
        Ok(_) => {
            let same = WeightFile::open(&fixture("ddp_encoder.pth")).unwrap();
            same.load_into(&right, &LoadOptions::strict()).unwrap();
            assert_eq!(values(&into)[name], values(&right)[name]);
        }
        Err(error) => {
            assert!(matches!(error, Error::File { .. }), "{error:?}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(values(&into), before);
        }
    }
}

#[test]
fn half_precision_files_become_single_precision_models() {
    let config = encoder();
    let (from, into) = (store(&config, 1), store(&config, 2));
    let half = |t: Tensor| t.to_dtype(DType::BF16).unwrap();
    let tensors: BTreeMap<_, _> = from.tensors().into_iter().map(|(n, t)| (n, half(t))).collect();
    load(&tensors, &into, &LoadOptions::strict()).unwrap();
    for (name, values) in values(&into) {
        assert_eq!(values, flat(&tensors[&name]), "{name}");
        assert_eq!(into.get(&name).unwrap().var().dtype(), DType::F32);
    }
}
