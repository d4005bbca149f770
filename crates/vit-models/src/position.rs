use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// The fixed two-dimensional table of MAE: `(1 + grid²) × dim` values, row 0 (class token) zero.
///
/// Token `1 + r·grid + c` holds `sin(c·ω), cos(c·ω), sin(r·ω), cos(r·ω)`, each a block of `dim/4`,
/// with `ω_k = 10000^(−k/(dim/4))`: the first half encodes the column, the second the row, as every
/// published checkpoint has it. Computed in f64.
///
/// # Errors
/// [`Error::Config`] when `dim` is not a positive multiple of 4.
pub fn sin_cos_table(dim: usize, grid: usize) -> Result<Vec<f32>> {
    if dim == 0 || !dim.is_multiple_of(4) {
        return Err(Error::Config(format!(
            "a sin-cos table needs a width divisible by 4, not {dim}"
        )));
    }
    let quarter = dim / 4;
    let omega: Vec<f64> =
        (0..quarter).map(|k| 10_000f64.powf(-(k as f64) / quarter as f64)).collect();
    let mut table = vec![0f32; dim];
    table.reserve(grid * grid * dim);
    for row in 0..grid {
        for column in 0..grid {
            for position in [column as f64, row as f64] {
                table.extend(omega.iter().map(|w| (position * w).sin() as f32));
                table.extend(omega.iter().map(|w| (position * w).cos() as f32));
            }
        }
    }
    Ok(table)
}

/// Resizes a position table `[1, extra + from², D]` to `[1, extra + to², D]` as PyTorch's bicubic
/// `interpolate` does: kernel `a = −0.75`, half-pixel centres, borders repeated, no antialias.
/// The first `extra` rows (class and register tokens) are copied.
///
/// # Errors
/// [`Error::Config`] when the rows after `extra` do not form a square.
pub fn resize_position_table(table: &Tensor, extra: usize, to: usize) -> Result<Tensor> {
    let (_, tokens, dim) = table.dims3()?;
    let patches = tokens.saturating_sub(extra);
    let from = patches.isqrt();
    if from == 0 || from * from != patches || to == 0 {
        return Err(Error::Config(format!(
            "a position table of {tokens} rows, {extra} of them extra, is not a square grid"
        )));
    }
    if from == to {
        return Ok(table.clone());
    }
    let values = table
        .to_dtype(candle_core::DType::F32)?
        .to_device(&Device::Cpu)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let (head, grid) = values.split_at(extra * dim);
    let taps: Vec<[(usize, f32); 4]> = (0..to).map(|i| cubic_taps(i, from, to)).collect();
    let mut out = head.to_vec();
    out.reserve(to * to * dim);
    for rows in &taps {
        for columns in &taps {
            let start = out.len();
            out.resize(start + dim, 0.);
            let Some(cell) = out.get_mut(start..) else { continue };
            accumulate(cell, grid, rows, columns, from);
        }
    }
    let resized = Tensor::from_vec(out, (1, extra + to * to, dim), &Device::Cpu)?;
    Ok(resized.to_device(table.device())?.to_dtype(table.dtype())?)
}

/// Adds the 16 weighted neighbours of one output cell, the row sums first as PyTorch does.
fn accumulate(
    cell: &mut [f32],
    grid: &[f32],
    rows: &[(usize, f32); 4],
    columns: &[(usize, f32); 4],
    from: usize,
) {
    let dim = cell.len();
    for &(row, row_weight) in rows {
        for (d, out) in cell.iter_mut().enumerate() {
            let line: f32 = columns
                .iter()
                .map(|&(column, weight)| weight * grid[(row * from + column) * dim + d])
                .sum();
            *out += row_weight * line;
        }
    }
}

/// The four neighbours of output `i` with their weights (Keys 1981 with `a = −0.75`).
fn cubic_taps(i: usize, from: usize, to: usize) -> [(usize, f32); 4] {
    const A: f32 = -0.75;
    let centre = (i as f32 + 0.5) * (from as f32 / to as f32) - 0.5;
    let floor = centre.floor();
    let t = centre - floor;
    let near = |x: f32| ((A + 2.) * x - (A + 3.)) * x * x + 1.;
    let far = |x: f32| ((A * x - 5. * A) * x + 8. * A) * x - 4. * A;
    let weights = [far(t + 1.), near(t), near(1. - t), far(2. - t)];
    let last = from as i64 - 1;
    let place = |offset: usize| (floor as i64 + offset as i64 - 1).clamp(0, last) as usize;
    std::array::from_fn(|k| (place(k), weights[k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_sum(dim: usize, grid: usize) -> f64 {
        sin_cos_table(dim, grid).unwrap().iter().map(|v| f64::from(*v)).sum()
    }

    /// Sums and rows of `spec/mae.md` 2.2 and `spec/xray-lora.md` 12.
    #[test]
    fn sin_cos_table_has_the_published_values() {
        for (dim, grid, sum) in [
            (768, 14, 69594.493859),
            (1024, 14, 92849.197918),
            (1280, 16, 149578.405753),
            (512, 14, 46340.333103),
            (384, 14, 34713.823711),
        ] {
            let got = table_sum(dim, grid);
            assert!((got - sum).abs() < 2e-3, "{dim} {grid}: {got} instead of {sum}");
        }
        let table = sin_cos_table(16, 4).unwrap();
        let token = &table[16 * (1 + 4 + 2)..][..16];
        let expected = [
            0.909297, 0.198669, 0.019999, 0.002, -0.416147, 0.980067, 0.9998, 0.999998, 0.841471,
            0.099833, 0.01, 0.001, 0.540302, 0.995004, 0.99995, 1.0,
        ];
        for (got, want) in token.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
        let table = sin_cos_table(384, 14).unwrap();
        let at = |token: usize, i: usize| table[384 * (1 + token) + i];
        for (i, want) in [
            (0, 0.841471),
            (1, 0.788593),
            (48, 0.01),
            (95, 0.000110),
            (96, 0.540302),
            (192, 0.),
            (288, 1.),
        ] {
            assert!((at(1, i) - want).abs() < 1e-6, "index {i}");
        }
        for (i, want) in [(192, 0.841471), (193, 0.788593), (96, 1.)] {
            assert!((at(14, i) - want).abs() < 1e-6, "index {i}");
        }
    }

    #[test]
    fn a_width_that_is_no_multiple_of_four_is_refused() {
        assert!(sin_cos_table(18, 4).unwrap_err().to_string().contains("18"));
    }

    /// Golden values of `spec/mae.md` 2.9.
    #[test]
    fn bicubic_resize_matches_pytorch() {
        let resized = |from: usize, to: usize| -> Vec<f32> {
            let n = (from * from + 1) * 2;
            let values: Vec<f32> = (0..n).map(|i| (0.3 * i as f64).cos() as f32).collect();
            let table = Tensor::from_vec(values, (1, from * from + 1, 2), &Device::Cpu).unwrap();
            resize_position_table(&table, 1, to).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let close = |got: f32, want: f32| assert!((got - want).abs() < 2e-6, "{got} {want}");
        for (from, to, token1, last, sum) in [
            (4, 6, [1.027297, 0.8152288], [-1.127336, -0.9832127], -5.534103),
            (6, 4, [0.476346, 0.3877211], [-0.5132473, -0.5270233], 0.859703),
            (4, 2, [-0.3330441, -0.4248904], [-0.01486394, -0.1593099], 1.101938),
        ] {
            let out = resized(from, to);
            let n = out.len();
            close(out[0], 1.);
            close(out[1], 0.9553365);
            close(out[2], token1[0]);
            close(out[3], token1[1]);
            close(out[n - 2], last[0]);
            close(out[n - 1], last[1]);
            let total: f64 = out.iter().map(|v| f64::from(*v)).sum();
            assert!((total - sum).abs() < 1e-5, "{total} {sum}");
        }
        let out = resized(4, 6);
        close(out[4], 0.7906635);
        close(out[5], 0.5134276);
    }

    #[test]
    fn a_table_that_is_not_square_is_refused() {
        let table = Tensor::zeros((1, 8, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(resize_position_table(&table, 1, 4).is_err());
    }
}
