//! Presets, first values, configurations and input that do not fit.

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Backbone, Classifier, Context, DenseNet, DenseNetConfig, ParamSpec, ParamStore, ResNet,
    ResNetConfig,
};
use vit_random::Streams;

use crate::support::{channels, flat, networks};

fn trained(specs: &[ParamSpec]) -> usize {
    specs.iter().filter(|spec| spec.trainable).map(ParamSpec::elements).sum()
}

/// Numbers of parameters that torchvision states for its weights of 1000 classes.
#[test]
fn presets_have_the_published_sizes() {
    for (name, count) in [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ] {
        let config = ResNetConfig { num_classes: 1000, ..ResNetConfig::by_name(name).unwrap() };
        assert_eq!(trained(&ResNet::specs(&config).unwrap()), count, "{name}");
    }
    for (name, count) in [
        ("densenet121", 7_978_856),
        ("densenet161", 28_681_000),
        ("densenet169", 14_149_480),
        ("densenet201", 20_013_928),
    ] {
        let config = DenseNetConfig { num_classes: 1000, ..DenseNetConfig::by_name(name).unwrap() };
        assert_eq!(trained(&DenseNet::specs(&config).unwrap()), count, "{name}");
    }
    assert!(ResNetConfig::by_name("resnet51").is_err());
    assert!(DenseNetConfig::by_name("resnet50").is_err());
}

/// Standard deviations of torchvision's first values.
#[test]
fn first_values_are_torchvisions() {
    let spread = |store: &ParamStore, name: &str| {
        let values = flat(&store.get(name).unwrap().var().as_detached_tensor());
        (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
    };
    let close = |got: f64, want: f64| assert!((got / want - 1.).abs() < 0.03, "{got} {want}");
    let config = ResNetConfig { num_classes: 10, ..ResNetConfig::resnet18() };
    let specs = ResNet::specs(&config).unwrap();
    let store = ParamStore::init(&specs, 0, DType::F32, &Device::Cpu).unwrap();
    close(spread(&store, "conv1.weight"), (2f64 / (64. * 49.)).sqrt());
    close(spread(&store, "layer2.0.downsample.0.weight"), (2f64 / 128.).sqrt());
    close(spread(&store, "fc.weight"), (1f64 / 512. / 3.).sqrt());
    assert_eq!(spread(&store, "bn1.weight"), 1.);
    assert_eq!(spread(&store, "bn1.running_var"), 1.);
    assert_eq!(spread(&store, "bn1.running_mean"), 0.);
    let config = DenseNetConfig { num_classes: 10, ..DenseNetConfig::densenet121() };
    let specs = DenseNet::specs(&config).unwrap();
    let store = ParamStore::init(&specs, 0, DType::F32, &Device::Cpu).unwrap();
    close(spread(&store, "features.conv0.weight"), (2f64 / 147.).sqrt());
    close(spread(&store, "features.denseblock1.denselayer1.conv2.weight"), (2f64 / 1152.).sqrt());
    close(spread(&store, "classifier.weight"), (1f64 / 1024. / 3.).sqrt());
    assert_eq!(spread(&store, "classifier.bias"), 0.);
}

#[test]
fn stages_are_intermediate_layers() {
    for (name, config) in networks() {
        let store = config.store(0);
        let model = config.build(&store.frozen());
        let channels = channels(&config);
        // Another size than the configuration speaks of.
        let images = Tensor::ones((2, channels, 64, 96), DType::F32, &Device::Cpu).unwrap();
        let stages = model.intermediates(&images, &[1, 0], &Context::eval()).unwrap();
        let tokens: Vec<usize> = stages.iter().map(|stage| stage.dims()[1]).collect();
        assert_eq!(tokens, [8 * 12, 16 * 24], "{name}");
        assert!(model.intermediates(&images, &[9], &Context::eval()).is_err(), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let config = ResNetConfig::resnet18();
    for wrong in [
        ResNetConfig { depths: vec![], ..config.clone() },
        ResNetConfig { depths: vec![1, 0], ..config.clone() },
        ResNetConfig { in_chans: 0, ..config.clone() },
        ResNetConfig { drop_rate: 1., ..config.clone() },
        ResNetConfig { width: 0, ..config },
    ] {
        assert!(ResNet::specs(&wrong).is_err(), "{wrong:?}");
    }
    let config = DenseNetConfig::densenet121();
    for wrong in [
        DenseNetConfig { block_config: vec![], ..config.clone() },
        DenseNetConfig { growth_rate: 0, ..config.clone() },
        DenseNetConfig { drop_rate: -0.1, ..config },
    ] {
        assert!(DenseNet::specs(&wrong).is_err(), "{wrong:?}");
    }
    assert!(serde_json::from_str::<ResNetConfig>(r#"{"blocks": 3}"#).is_err());
    for (name, config) in networks() {
        let model = config.build(&config.store(0).frozen());
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let ctx = Context::eval();
        assert!(model.logits(&zeros(&[1, 4, 64, 64]), &ctx).is_err(), "{name}: channels");
        assert!(model.logits(&zeros(&[1, 64, 64]), &ctx).is_err(), "{name}: no batch");
        let channels = channels(&config);
        // One value per channel has no variance to train with.
        let train = Context::train(Streams::new(0), 0, &[0]);
        let tiny = zeros(&[1, channels, 16, 16]);
        assert!(model.logits(&tiny, &train).is_err(), "{name}: one value per channel");
    }
}

#[test]
fn a_network_without_a_head_has_no_scores() {
    let Some((_, crate::support::Config::Res(config))) = networks().into_iter().next() else {
        panic!("no residual network")
    };
    let config = ResNetConfig { num_classes: 0, ..config };
    let store =
        ParamStore::init(&ResNet::specs(&config).unwrap(), 0, DType::F32, &Device::Cpu).unwrap();
    let mut model = ResNet::new(&config, &store.frozen()).unwrap();
    let images = Tensor::zeros((1, 1, 66, 66), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(model.embed(&images, &Context::eval()).unwrap().dims(), [1, 64]);
    assert!(model.logits(&images, &Context::eval()).is_err());
    assert!(model.linears_mut().is_empty());
}
