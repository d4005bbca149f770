//! What several tests share.

use std::path::{Path, PathBuf};

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Classifier, DenseNet, DenseNetConfig, ParamSpec, ParamStore, ResNet, ResNetConfig,
    ResidualKind, candle_nn::VarBuilder,
};

/// All values as f64, row-major.
pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

/// Largest absolute difference over the largest value of `want`, or 1 if that is less; NaN if
/// there is one.
pub(crate) fn distance(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let scale = want.iter().fold(1f64, |scale, w| scale.max(w.abs()));
    let worse = |worst: f64, d: f64| if d <= worst { worst } else { d };
    got.iter().zip(&want).map(|(a, b)| (a - b).abs() / scale).fold(0., worse)
}

/// A file of `crates/vit-models/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A network of either kind.
#[derive(Debug, Clone)]
pub(crate) enum Config {
    Res(ResNetConfig),
    Dense(DenseNetConfig),
}

impl Config {
    pub(crate) fn specs(&self) -> Vec<ParamSpec> {
        match self {
            Self::Res(config) => ResNet::specs(config).unwrap(),
            Self::Dense(config) => DenseNet::specs(config).unwrap(),
        }
    }

    pub(crate) fn build(&self, vb: &VarBuilder) -> Box<dyn Classifier> {
        match self {
            Self::Res(config) => Box::new(ResNet::new(config, vb).unwrap()),
            Self::Dense(config) => Box::new(DenseNet::new(config, vb).unwrap()),
        }
    }

    pub(crate) fn store(&self, seed: u64) -> ParamStore {
        ParamStore::init(&self.specs(), seed, DType::F32, &Device::Cpu).unwrap()
    }
}

/// Channels of a network's pictures.
pub(crate) fn channels(config: &Config) -> usize {
    match config {
        Config::Res(config) => config.in_chans,
        Config::Dense(config) => config.in_chans,
    }
}

/// The networks of `make_cnn.py`, by the name of their file.
pub(crate) fn networks() -> Vec<(&'static str, Config)> {
    let res = |block, depths: [usize; 4], in_chans, img_size| {
        Config::Res(ResNetConfig {
            img_size,
            in_chans,
            block,
            depths: depths.to_vec(),
            stem_width: 6,
            width: 2,
            num_classes: 5,
            ..ResNetConfig::resnet50()
        })
    };
    let dense = |blocks: &[usize], in_chans, img_size| {
        Config::Dense(DenseNetConfig {
            img_size,
            in_chans,
            growth_rate: 3,
            block_config: blocks.to_vec(),
            num_init_features: 6,
            bn_size: 2,
            num_classes: 5,
            ..DenseNetConfig::densenet121()
        })
    };
    vec![
        ("cnn_resnet_bottleneck", res(ResidualKind::Bottleneck, [1, 2, 1, 1], 1, [66, 66])),
        ("cnn_resnet_basic_gray", res(ResidualKind::Basic, [2, 1, 1, 1], 1, [75, 61])),
        ("cnn_densenet", dense(&[2, 3, 2], 3, [48, 48])),
        ("cnn_densenet_gray", dense(&[1, 2, 3], 1, [61, 94])),
    ]
}
