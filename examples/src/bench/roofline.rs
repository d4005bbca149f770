//! What this machine could do at best, measured in the process that is measured.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use rayon::prelude::*;
use vit_models::candle_core::{Device, Tensor};

use super::flops::{Product, Products};
use super::median;

/// Passes over all shapes; the median counts, as for the job.
const PASSES: usize = 3;
/// A product is repeated until this much time has gone by.
const LEAST_SECONDS: f64 = 0.02;

/// GFLOP/s of candle's matrix product over a job's own shapes and layouts, each weighted by its
/// share of the operations: all operations over the time that the products alone would take.
pub(crate) fn matrix_products(products: &Products) -> Result<f64> {
    let gflop = products.flops() / 1e9;
    let mut rates = Vec::with_capacity(PASSES);
    for _ in 0..PASSES {
        let mut seconds = 0.;
        for (product, count) in products.iter() {
            seconds += time(product)? * count as f64;
        }
        rates.push(gflop / seconds);
    }
    Ok(median(&rates))
}

/// Seconds of one product.
fn time(product: &Product) -> Result<f64> {
    let Product { batch, m, k, n, left_transposed, right_transposed } = *product;
    let left = operand(batch, (m, k), left_transposed)?;
    let right = operand(batch, (k, n), right_transposed)?;
    let run = || -> Result<()> {
        black_box(black_box(&left).matmul(black_box(&right))?);
        Ok(())
    };
    run()?;
    let start = Instant::now();
    let mut repeats = 0;
    while repeats == 0 || start.elapsed().as_secs_f64() < LEAST_SECONDS {
        run()?;
        repeats += 1;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(repeats))
}

/// `[batch, rows, columns]`, or without the first where there is one matrix only.
fn operand(batch: usize, (rows, columns): (usize, usize), transposed: bool) -> Result<Tensor> {
    let (outer, inner) = if transposed { (columns, rows) } else { (rows, columns) };
    // Values of everyday size: zeros and subnormal numbers have speeds of their own.
    let values = (0..batch * outer * inner).map(|i| ((i % 251) as f32 - 125.) / 125.).collect();
    let tensor = Tensor::from_vec::<_, f32>(values, (batch, outer, inner), &Device::Cpu)?;
    let tensor = if batch == 1 { tensor.squeeze(0)? } else { tensor };
    Ok(if transposed { tensor.t()? } else { tensor })
}

/// Bytes an update of one parameter moves at least: parameter and two moments read and written,
/// gradient read, four bytes each.
pub(crate) const UPDATE_BYTES: usize = 28;

/// Gigabytes per second of the plainest loop that moves as many bytes as an update of `parameters`
/// values does: three arrays read and written, one read, all threads; the best pass. It is a
/// yardstick, not a limit: wider vectors than the compiler takes by default can be faster.
pub(crate) fn memory(parameters: usize) -> f64 {
    const CHUNK: usize = 1 << 16;
    let array = || vec![1f32; parameters];
    let (mut p, mut m, mut v, g) = (array(), array(), array(), array());
    let mut best = 0f64;
    // The first pass takes the page faults.
    for _ in 0..2 * PASSES {
        let start = Instant::now();
        p.par_chunks_mut(CHUNK)
            .zip(m.par_chunks_mut(CHUNK))
            .zip(v.par_chunks_mut(CHUNK))
            .zip(g.par_chunks(CHUNK))
            .for_each(|(((p, m), v), g)| {
                for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                    *m += g;
                    *v += g;
                    *p += *m + *v;
                }
            });
        let seconds = start.elapsed().as_secs_f64();
        best = best.max((parameters * UPDATE_BYTES) as f64 / 1e9 / seconds);
    }
    black_box((p, m, v));
    best
}
