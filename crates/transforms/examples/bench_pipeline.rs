//! Speed of the way of a training picture on one core: decode, random resized crop to 224
//! (bicubic), flip, normalise, into a plane-by-plane buffer.
//!
//! ```text
//! cargo run --release -p vit-transforms --example bench_pipeline -- PICTURE...
//! ```
//!
//! Prints the median and the least time of 60 rounds of 10 pictures, and of the decoding alone.
//! The counterpart is `bench_torchvision.py` beside this file.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use vit_random::Streams;
use vit_transforms::{
    DecodeLimits, Error, IMAGENET_MEAN, IMAGENET_STD, Pipeline, Result, decode_bytes,
};

const ROUNDS: usize = 60;
const PICTURES: u64 = 10;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::mae_pretrain(224, 0.08, 3, &IMAGENET_MEAN, &IMAGENET_STD)?;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let decode = || decode_bytes(&path, &bytes, &DecodeLimits::default());
        let mut out = vec![0f32; 3 * 224 * 224];
        let mut index = 0;
        let whole = measure(|| {
            index += 1;
            let mut stream = Streams::new(1).stream("augment", 0, index);
            pipeline.apply_chw(decode()?, &mut stream, &mut out)
        })?;
        let alone = measure(|| decode().map(drop))?;
        println!(
            "{path}: {:.3} ms (least {:.3}), decoding {:.3} ms (least {:.3})",
            whole.0, whole.1, alone.0, alone.1
        );
    }
    Ok(())
}

/// Median and least milliseconds of one call.
fn measure(mut call: impl FnMut() -> Result<()>) -> std::result::Result<(f64, f64), Error> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..PICTURES {
            call()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e3 / PICTURES as f64);
    }
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    Ok((at(ROUNDS / 2), at(0)))
}
