//! What does not fit is an error that says what, and never a panic.

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Backbone, Classifier, Context, Error, ParamStore, Pooling, PositionTable, Vit, VitConfig,
};

use crate::support::{distance, flat, pictures, small, store};

#[test]
fn contradictory_configurations_name_the_field() {
    let good = small();
    good.check().unwrap();
    for (config, field) in [
        (VitConfig { img_size: 0.into(), ..good.clone() }, "img_size"),
        (VitConfig { patch_size: 0, ..good.clone() }, "patch_size"),
        (VitConfig { in_chans: 0, ..good.clone() }, "in_chans"),
        (VitConfig { embed_dim: 0, ..good.clone() }, "embed_dim"),
        (VitConfig { depth: 0, ..good.clone() }, "depth"),
        (VitConfig { num_heads: 0, ..good.clone() }, "num_heads"),
        (VitConfig { img_size: 10.into(), ..good.clone() }, "patch_size 4"),
        (VitConfig { num_heads: 3, ..good.clone() }, "num_heads 3"),
        (VitConfig { embed_dim: 10, position_table: PositionTable::SinCos, ..good.clone() }, "10"),
        (VitConfig { drop_path: 1., ..good.clone() }, "drop_path"),
        (VitConfig { drop_path: -0.1, ..good.clone() }, "drop_path"),
        (VitConfig { drop_path: f64::NAN, ..good.clone() }, "drop_path"),
        (VitConfig { mlp_ratio: 0.01, ..good.clone() }, "mlp_ratio"),
        (VitConfig { mlp_ratio: f64::NAN, ..good.clone() }, "mlp_ratio"),
        (VitConfig { layer_norm_eps: 0., ..good.clone() }, "layer_norm_eps"),
        (VitConfig { layer_norm_eps: f64::INFINITY, ..good.clone() }, "layer_norm_eps"),
    ] {
        for error in [config.check().unwrap_err(), Vit::specs(&config).unwrap_err()] {
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
        let vb = store(&good, 0).frozen();
        assert!(matches!(Vit::new(&config, &vb), Err(Error::Config(_))), "{field}");
    }
}

#[test]
fn a_configuration_survives_json_and_a_misspelt_field_does_not() {
    let config = small().classifier(7, Pooling::GlobalPool);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<VitConfig>(&text).unwrap(), config);
    let misspelt = text.replace("drop_path", "droppath");
    assert!(serde_json::from_str::<VitConfig>(&misspelt).is_err());
}

#[test]
fn pictures_of_another_size_are_refused() {
    let config = small().classifier(3, Pooling::ClassToken);
    let model = Vit::new(&config, &store(&config, 0).frozen()).unwrap();
    let ctx = Context::eval();
    assert_eq!(model.logits(&pictures([2, 3, 8, 8]), &ctx).unwrap().dims(), [2, 3]);
    for shape in [[1, 3, 8, 12], [1, 3, 4, 8], [1, 1, 8, 8], [1, 3, 16, 16]] {
        let images = pictures(shape);
        for error in [
            model.logits(&images, &ctx).unwrap_err(),
            model.embed(&images, &ctx).unwrap_err(),
            model.tokens(&images, &ctx).unwrap_err(),
            model.intermediates(&images, &[0], &ctx).unwrap_err(),
        ] {
            let Error::Input { channels, height, width, ref got, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!((channels, height, width), (3, 8, 8));
            assert_eq!(*got, shape);
        }
    }
    let flat_image = Tensor::zeros((3, 8, 8), DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(model.embed(&flat_image, &ctx), Err(Error::Input { .. })));
}

#[test]
fn a_model_answers_only_what_it_has() {
    let config = small();
    let model = Vit::new(&config, &store(&config, 0).frozen()).unwrap();
    let (images, ctx) = (pictures([2, 3, 8, 8]), Context::eval());
    assert!(matches!(model.logits(&images, &ctx), Err(Error::Config(_))));
    assert!(matches!(model.intermediates(&images, &[1, 2], &ctx), Err(Error::Config(_))));
    let both = model.intermediates(&images, &[1, 0, 1], &ctx).unwrap();
    assert_eq!(flat(&both[0]), flat(&both[2]));
    assert_ne!(flat(&both[0]), flat(&both[1]));
    assert_eq!((model.num_classes(), model.embed_dim(), model.patch_grid()), (0, 8, (2, 2)));
    // The class token of the normed tokens is the embedding, which is computed without the rest.
    let tokens = model.tokens(&images, &ctx).unwrap();
    assert_eq!(tokens.dims(), [2, 5, 8]);
    let class = tokens.narrow(1, 0, 1).unwrap();
    let off = distance(&flat(&class), &flat(&model.embed(&images, &ctx).unwrap()));
    assert!(off < 1e-6, "off by {off:.1e}");
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    let config = small();
    let specs = Vit::specs(&config).unwrap();
    let missing: Vec<_> =
        specs.iter().filter(|s| s.name != "blocks.1.mlp.fc1.bias").cloned().collect();
    let short = ParamStore::init(&missing, 0, DType::F32, &Device::Cpu).unwrap();
    let error = Vit::new(&config, &short.frozen()).unwrap_err();
    assert!(error.to_string().contains("blocks.1.mlp.fc1.bias"), "{error}");

    let wide = VitConfig { mlp_ratio: 2., ..config.clone() };
    let error = Vit::new(&wide, &store(&config, 0).frozen()).unwrap_err();
    assert!(error.to_string().contains("blocks.0.mlp.fc1.weight"), "{error}");

    let store = store(&config, 0);
    let before = flat(store.get("norm.bias").unwrap().var());
    let value = Tensor::ones(9, DType::F32, &Device::Cpu).unwrap();
    for name in ["norm.bias", "norm.gain"] {
        let error = store.set(name, &value).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: ref n, .. } if n == name), "{error:?}");
    }
    assert_eq!(flat(store.get("norm.bias").unwrap().var()), before);
}
