//! Stochastic depth and dropout: rates, mean, and to whom the randomness belongs.

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Backbone, Block, Context, Error, ParamStore, Vit, VitConfig};
use vit_random::Streams;

use crate::support::{distance, flat, pictures, small, store};

#[test]
fn rates_rise_linearly() {
    let config = VitConfig { drop_path: 0.2, ..VitConfig::vit_base(16, 224) };
    let golden = [
        0., 0.018182, 0.036364, 0.054545, 0.072727, 0.090909, 0.109091, 0.127273, 0.145455,
        0.163636, 0.181818, 0.2,
    ];
    for (i, want) in golden.into_iter().enumerate() {
        assert!((config.drop_path_rate(i) - want).abs() < 5e-7, "block {i}");
        assert_eq!(config.block(i).drop_path, config.drop_path_rate(i));
    }
    assert_eq!(VitConfig { depth: 1, ..config }.drop_path_rate(0), 0.);
}

/// The factor of each sample of a batch.
fn factors(seed: u64, epoch: u64, samples: &[u64], rate: f64, purpose: &str) -> Vec<f64> {
    let x = Tensor::ones((samples.len(), 2, 3), DType::F32, &Device::Cpu).unwrap();
    let ctx = Context::train(Streams::new(seed), epoch, samples);
    let rows = flat(&ctx.drop_path(x, rate, purpose).unwrap());
    rows.chunks(6)
        .map(|row| {
            assert!(row.iter().all(|v| *v == row[0]), "a branch is dropped whole or not at all");
            row[0]
        })
        .collect()
}

#[test]
fn the_mean_is_preserved() {
    let samples: Vec<u64> = (0..20_000).collect();
    for rate in [0.1, 0.5, 0.9] {
        let got = factors(1, 0, &samples, rate, "drop_path/blocks.3.attn");
        let kept = f64::from((1. / (1. - rate)) as f32);
        assert!(got.iter().all(|v| *v == 0. || *v == kept), "{rate}");
        let mean = got.iter().sum::<f64>() / got.len() as f64;
        let spread = (rate / (1. - rate) / got.len() as f64).sqrt();
        assert!((mean - 1.).abs() < 4. * spread, "{rate}: mean {mean}");
    }
}

#[test]
fn a_factor_belongs_to_seed_epoch_sample_and_layer() {
    let samples: Vec<u64> = (0..256).collect();
    let base = factors(1, 2, &samples, 0.5, "a");
    assert_eq!(base, factors(1, 2, &samples, 0.5, "a"));
    let reversed: Vec<u64> = samples.iter().rev().copied().collect();
    let mut back = factors(1, 2, &reversed, 0.5, "a");
    back.reverse();
    assert_eq!(base, back);
    for sample in [0, 17, 255] {
        let place = usize::try_from(sample).unwrap();
        assert_eq!(factors(1, 2, &[sample], 0.5, "a"), [base[place]]);
    }
    for other in [
        factors(3, 2, &samples, 0.5, "a"),
        factors(1, 3, &samples, 0.5, "a"),
        factors(1, 2, &samples, 0.5, "b"),
        factors(1, 2, &(256..512).collect::<Vec<_>>(), 0.5, "a"),
    ] {
        // About half of the draws agree by chance; 256 of them leave the rest far apart.
        let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!((80..176).contains(&same), "{same} of 256");
    }
}

#[test]
fn dropout_zeroes_values_and_keeps_the_mean() {
    let x = Tensor::ones((4, 5_000), DType::F32, &Device::Cpu).unwrap();
    let streams = Streams::new(1);
    let dropped = |samples: &[u64]| {
        let x = x.narrow(0, 0, samples.len()).unwrap();
        let ctx = Context::train(streams, 0, samples);
        flat(&ctx.dropout(&x, 0.25, "dropout/head").unwrap())
    };
    let got = dropped(&[4, 9, 1, 7]);
    let mean = got.iter().sum::<f64>() / got.len() as f64;
    assert!((mean - 1.).abs() < 4. * (0.25f64 / 0.75 / 20_000.).sqrt(), "mean {mean}");
    assert_eq!(dropped(&[1]), got[10_000..15_000]);
    assert_ne!(got[..5_000], got[5_000..10_000]);
}

#[test]
fn impossible_rates_and_wrong_batches_are_refused() {
    let x = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
    let ctx = Context::train(Streams::new(1), 0, &[0, 1]);
    for rate in [1., 1.5, f64::NAN] {
        assert!(matches!(ctx.drop_path(x.clone(), rate, "a"), Err(Error::Config(_))), "{rate}");
        assert!(matches!(ctx.dropout(&x, rate, "a"), Err(Error::Config(_))), "{rate}");
    }
    let short = Context::train(Streams::new(1), 0, &[0]);
    assert!(matches!(short.drop_path(x.clone(), 0.5, "a"), Err(Error::Config(_))));
    // In evaluation and at rate 0 nothing happens.
    assert_eq!(flat(&Context::eval().drop_path(x.clone(), 0.5, "a").unwrap()), flat(&x));
    assert_eq!(flat(&ctx.drop_path(x.clone(), 0., "a").unwrap()), flat(&x));
}

#[test]
fn a_sample_is_trained_the_same_in_any_batch() {
    let config = VitConfig { drop_path: 0.6, depth: 4, ..small() };
    let model = Vit::new(&config, &store(&config, 1).frozen()).unwrap();
    let images = pictures([8, 3, 8, 8]);
    let embed = |epoch: u64, samples: &[u64]| -> Vec<Vec<f64>> {
        let picked: Vec<u32> = samples.iter().map(|s| u32::try_from(*s).unwrap()).collect();
        let picked = Tensor::new(picked, &Device::Cpu).unwrap();
        let batch = images.index_select(&picked, 0).unwrap();
        let ctx = Context::train(Streams::new(5), epoch, samples);
        flat(&model.embed(&batch, &ctx).unwrap()).chunks(8).map(<[f64]>::to_vec).collect()
    };
    let all = embed(1, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let shuffled = embed(1, &[6, 2, 5]);
    for (got, sample) in shuffled.iter().zip([6, 2, 5]) {
        // Only the blocking of a matrix product may differ.
        assert!(distance(got, &all[sample]) < 1e-5, "sample {sample}");
    }
    let evaluated = flat(&model.embed(&images, &Context::eval()).unwrap());
    assert!(distance(&all.concat(), &evaluated) > 1e-2, "nothing was dropped");
    assert!(distance(&all.concat(), &embed(2, &[0, 1, 2, 3, 4, 5, 6, 7]).concat()) > 1e-2);
}

/// Blocks of one model, equal in everything but their name, drop different samples.
#[test]
fn every_block_draws_for_itself() {
    let config = VitConfig { drop_path: 0.5, ..small() }.block(1);
    let specs = Block::specs("blocks.1", &config);
    let store = ParamStore::init(&specs, 1, DType::F32, &Device::Cpu).unwrap();
    let samples: Vec<u64> = (0..64).collect();
    let x = pictures([1, 1, 5, 8]).squeeze(0).unwrap().broadcast_as((64, 5, 8)).unwrap();
    let run = |name: &str| {
        let block = Block::new(name, &config, &store.frozen().pp("blocks.1")).unwrap();
        let ctx = Context::train(Streams::new(1), 0, &samples);
        flat(&block.forward(&x.contiguous().unwrap(), &ctx).unwrap())
    };
    let (first, second) = (run("blocks.1"), run("blocks.2"));
    assert_eq!(first, run("blocks.1"));
    // Two branches, each dropped or not: a quarter of the samples agrees by chance.
    let same = first.chunks(40).zip(second.chunks(40)).filter(|(a, b)| a == b).count();
    assert!((4..32).contains(&same), "{same} of 64");
    let mut kinds: Vec<Vec<u64>> =
        first.chunks(40).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 4, "the two branches are dropped independently");
}
