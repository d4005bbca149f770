//! Small models and pictures.

use std::path::{Path, PathBuf};

use vit_datasets::Task;
use vit_models::candle_core::{DType, Device};
use vit_models::{ModelConfig, ParamStore, Pooling, Vit, VitConfig, save_weights};
use vit_random::Streams;
use vit_random::rand::Rng as _;
use vit_transforms::{
    CenterCrop, Filter, Image, Normalize, Pipeline, Pixels, Resize, ResizeSize, Step, ToGrey,
    encode_png,
};
use vitalight_examples::{Card, Kind};

/// Side of the pictures that the models take.
pub(crate) const SIDE: usize = 32;

/// A classifier of three classes with random weights; without classes it has no head.
pub(crate) fn model_file(folder: &Path, classes: &[&str]) -> PathBuf {
    let mut config = VitConfig::vit_tiny(8, SIDE);
    (config.in_chans, config.depth) = (1, 2);
    config.num_classes = classes.len();
    config.pooling = Pooling::ClassToken;
    let store =
        ParamStore::init(&Vit::specs(&config).unwrap(), 3, DType::F32, &Device::Cpu).unwrap();
    let pipeline = Pipeline::new(vec![
        Step::ToGrey(ToGrey),
        Step::Resize(Resize { size: ResizeSize::ShorterSide(SIDE), filter: Filter::Bicubic }),
        Step::CenterCrop(CenterCrop { size: SIDE }),
        Step::Normalize(Normalize { mean: vec![0.4], std: vec![0.2] }),
    ]);
    let labels = match classes {
        [] => Task::Unlabelled,
        names => Task::SingleLabel { classes: names.iter().map(ToString::to_string).collect() },
    };
    let config = ModelConfig::Vit(config);
    let model = Kind::Classifier { config, labels, lora: None };
    let card = Card::new(model, pipeline, vec![0.4], vec![0.2]);
    let path = folder.join("model.safetensors");
    save_weights(&path, &store.tensors(), &card.metadata().unwrap()).unwrap();
    path
}

/// A picture of noise; every number gives another.
pub(crate) fn picture(number: u64) -> Image {
    let mut stream = Streams::new(number).stream("picture", 0, 0);
    let (width, height) = (40, 48);
    let pixels = (0..width * height).map(|_| stream.random::<u8>()).collect();
    Image::new(width, height, 1, Pixels::U8(pixels)).unwrap()
}

pub(crate) fn png(number: u64) -> Vec<u8> {
    encode_png(&picture(number)).unwrap()
}
