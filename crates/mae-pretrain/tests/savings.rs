//! The loss for training leaves out what the reference computes for nothing: same loss, same
//! gradients.
#![allow(clippy::unwrap_used, reason = "a failing test stops by panicking")]

use mae_pretrain::{Mae, MaeConfig, Masking};
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Context, ParamStore, VitConfig};
use vit_random::Streams;

fn config(norm_pix_loss: bool) -> MaeConfig {
    let mut encoder = VitConfig::vit_tiny(4, 16);
    (encoder.embed_dim, encoder.depth, encoder.num_heads) = (24, 2, 3);
    let mut config = MaeConfig::new(encoder);
    (config.decoder_embed_dim, config.decoder_depth, config.decoder_num_heads) = (16, 2, 2);
    MaeConfig { norm_pix_loss, ..config }
}

fn images(batch: usize, dtype: DType) -> Tensor {
    let values: Vec<f64> = (0..batch * 3 * 256).map(|i| (1.7 * i as f64).sin()).collect();
    let images = Tensor::from_vec(values, (batch, 3, 16, 16), &Device::Cpu).unwrap();
    images.to_dtype(dtype).unwrap()
}

fn masking(batch: u64, ratio: f64) -> Masking {
    let streams = Streams::new(7);
    let mut streams: Vec<_> = (0..batch).map(|i| streams.stream("mask", 0, i)).collect();
    Masking::random(&mut streams, 16, ratio).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_loss_for_training_is_the_loss() {
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
        for (norm_pix, ratio) in [(false, 0.75), (true, 0.75), (true, 0.1)] {
            let config = config(norm_pix);
            let specs = Mae::specs(&config).unwrap();
            let store = ParamStore::init(&specs, 3, dtype, &Device::Cpu).unwrap();
            let model = Mae::new(&config, &store.var_builder()).unwrap();
            let (images, masking) = (images(3, dtype), masking(3, ratio));
            let ctx = Context::eval();
            let full = model.forward(&images, &masking, &ctx).unwrap();
            assert_eq!(full.pred.dims(), [3, 16, 48]);
            let lean = model.loss(&images, &masking, &ctx).unwrap();
            let (want, got) = (values(&full.loss)[0], values(&lean)[0]);
            assert!((want - got).abs() < tolerance, "{want} {got}");
            let (want, got) = (full.loss.backward().unwrap(), lean.backward().unwrap());
            for (name, var) in store.trainable() {
                let (want, got) = (want.get(var).unwrap(), got.get(var).unwrap());
                let (want, got) = (values(want), values(got));
                let scale = want.iter().fold(1e-3f64, |max, v| max.max(v.abs()));
                for (want, got) in want.iter().zip(&got) {
                    assert!((want - got).abs() <= tolerance * scale, "{name}: {want} {got}");
                }
            }
        }
    }
}

#[test]
fn a_mask_of_another_batch_is_refused() {
    let config = config(false);
    let specs = Mae::specs(&config).unwrap();
    let store = ParamStore::init(&specs, 3, DType::F32, &Device::Cpu).unwrap();
    let model = Mae::new(&config, &store.frozen()).unwrap();
    let error = model.loss(&images(2, DType::F32), &masking(3, 0.75), &Context::eval());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("a mask of 3 pictures"), "{error}");
}
