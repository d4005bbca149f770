use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The fixed two-dimensional table of MAE: `(1 + rows · columns) × dim` values, row 0 (class
/// token) zero.
///
/// Token `1 + r·columns + c` holds `sin(c·ω), cos(c·ω), sin(r·ω), cos(r·ω)`, each a block of
/// `dim/4`, with `ω_k = 10000^(−k/(dim/4))`: the first half encodes the column, the second the row,
/// as every published checkpoint has it. Computed in f64.
///
/// # Errors
/// [`Error::Config`] when `dim` is not a positive multiple of 4.
pub fn sin_cos_table(dim: usize, (rows, columns): (usize, usize)) -> Result<Vec<f32>> {
    if dim == 0 || !dim.is_multiple_of(4) {
        return Err(Error::Config(format!(
            "a sin-cos table needs a width divisible by 4, not {dim}"
        )));
    }
    let quarter = dim / 4;
    let omega: Vec<f64> =
        (0..quarter).map(|k| 10_000f64.powf(-(k as f64) / quarter as f64)).collect();
    let mut table = vec![0f32; dim];
    table.reserve(rows * columns * dim);
    for row in 0..rows {
        for column in 0..columns {
            for position in [column as f64, row as f64] {
                table.extend(omega.iter().map(|w| (position * w).sin() as f32));
                table.extend(omega.iter().map(|w| (position * w).cos() as f32));
            }
        }
    }
    Ok(table)
}

/// Filter by which a position table is brought to another grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionFilter {
    /// PyTorch's `interpolate(mode="bicubic")`: kernel `a = −0.75`, half-pixel centres, borders
    /// repeated. What DINOv2, MAE and Hugging Face do.
    #[default]
    Bicubic,
    /// The same with `antialias=True`, which is another kernel (`a = −0.5`, as wide as the picture
    /// shrinks): what timm does when it loads a file.
    BicubicAntialias,
}

/// Brings a position table `[1, prefix + rows · columns, D]` from one grid of (rows, columns) to
/// another. The first `prefix` rows (class and register tokens) stay as they are. Gradients go
/// through.
///
/// # Errors
/// [`Error::Config`] when the table has another number of rows, or a grid is empty.
pub fn resize_position_table(
    table: &Tensor,
    prefix: usize,
    from: (usize, usize),
    to: (usize, usize),
    filter: PositionFilter,
) -> Result<Tensor> {
    let (_, tokens, dim) = table.dims3()?;
    let cells = |(rows, columns): (usize, usize)| rows.checked_mul(columns).unwrap_or(0);
    if cells(from) == 0 || cells(to) == 0 || Some(tokens) != cells(from).checked_add(prefix) {
        return Err(Error::Config(format!(
            "a position table of {tokens} rows, {prefix} of them extra, cannot be brought from a \
             grid of {from:?} to {to:?}"
        )));
    }
    if from == to {
        return Ok(table.clone());
    }
    // Two products with the filter's weights: along the rows of the grid, then along its columns.
    let weights = |from: usize, to: usize| -> Result<Tensor> {
        let weights = filter.weights(from, to);
        let weights = Tensor::from_vec(weights, (to, from), &Device::Cpu)?;
        Ok(weights.to_device(table.device())?.to_dtype(table.dtype())?)
    };
    let grid = table.narrow(1, prefix, cells(from))?.reshape((from.0, from.1, dim))?;
    let grid = weights(from.1, to.1)?.broadcast_matmul(&grid.contiguous()?)?;
    let grid = weights(from.0, to.0)?.matmul(&grid.reshape((from.0, to.1 * dim))?)?;
    let grid = grid.reshape((1, cells(to), dim))?;
    Ok(Tensor::cat(&[table.narrow(1, 0, prefix)?, grid], 1)?)
}

impl PositionFilter {
    /// `[to, from]`: what each input counts in each output. In f32, as PyTorch computes them.
    fn weights(self, from: usize, to: usize) -> Vec<f32> {
        let mut weights = vec![0f32; from * to];
        for (i, row) in weights.chunks_exact_mut(from.max(1)).enumerate() {
            match self {
                Self::Bicubic => {
                    for (place, weight) in cubic_taps(i, from, to) {
                        row[place] += weight;
                    }
                }
                Self::BicubicAntialias => antialiased(i, from, to, row),
            }
        }
        weights
    }
}

/// Keys' cubic kernel (1981) at distance `x`.
fn keys(a: f32, x: f32) -> f32 {
    let x = x.abs();
    if x < 1. {
        ((a + 2.) * x - (a + 3.)) * x * x + 1.
    } else if x < 2. {
        ((a * x - 5. * a) * x + 8. * a) * x - 4. * a
    } else {
        0.
    }
}

/// The four neighbours of output `i` with their weights; beyond a border its last cell is meant.
fn cubic_taps(i: usize, from: usize, to: usize) -> [(usize, f32); 4] {
    const A: f32 = -0.75;
    let centre = (i as f32 + 0.5) * (from as f32 / to as f32) - 0.5;
    let floor = centre.floor();
    let t = centre - floor;
    let weights = [t + 1., t, 1. - t, 2. - t].map(|x| keys(A, x));
    let last = from as i64 - 1;
    let place = |offset: usize| (floor as i64 + offset as i64 - 1).clamp(0, last) as usize;
    std::array::from_fn(|k| (place(k), weights[k]))
}

/// Weights of output `i` in PyTorch's antialiased resize: the kernel is stretched by the scale
/// where that is above 1, cut at the borders, and its weights add up to 1.
fn antialiased(i: usize, from: usize, to: usize, row: &mut [f32]) {
    const A: f32 = -0.5;
    let scale = from as f32 / to as f32;
    let stretch = scale.max(1.);
    let support = 2. * stretch;
    let centre = scale * (i as f32 + 0.5);
    let first = ((centre - support + 0.5) as i64).max(0) as usize;
    let end = ((centre + support + 0.5) as i64).clamp(0, from as i64) as usize;
    let cells = row.get_mut(first..end).unwrap_or_default();
    for (place, weight) in (first..).zip(cells.iter_mut()) {
        *weight = keys(A, (place as f32 - centre + 0.5) / stretch);
    }
    let sum: f32 = cells.iter().sum();
    for weight in cells {
        *weight /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_sum(dim: usize, grid: usize) -> f64 {
        sin_cos_table(dim, (grid, grid)).unwrap().iter().map(|v| f64::from(*v)).sum()
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
        let table = sin_cos_table(16, (4, 4)).unwrap();
        let token = &table[16 * (1 + 4 + 2)..][..16];
        let expected = [
            0.909297, 0.198669, 0.019999, 0.002, -0.416147, 0.980067, 0.9998, 0.999998, 0.841471,
            0.099833, 0.01, 0.001, 0.540302, 0.995004, 0.99995, 1.0,
        ];
        for (got, want) in token.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
        let table = sin_cos_table(384, (14, 14)).unwrap();
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
        assert!(sin_cos_table(18, (4, 4)).unwrap_err().to_string().contains("18"));
    }

    /// Golden values of `spec/mae.md` 2.9.
    #[test]
    fn bicubic_resize_matches_pytorch() {
        let resized = |from: usize, to: usize| -> Vec<f32> {
            let n = (from * from + 1) * 2;
            let values: Vec<f32> = (0..n).map(|i| (0.3 * i as f64).cos() as f32).collect();
            let table = Tensor::from_vec(values, (1, from * from + 1, 2), &Device::Cpu).unwrap();
            resize_position_table(&table, 1, (from, from), (to, to), PositionFilter::Bicubic)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
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
    fn a_table_of_another_length_is_refused() {
        let table = Tensor::zeros((1, 8, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        for (from, to) in [((3, 3), (4, 4)), ((7, 1), (0, 4)), ((0, 7), (2, 2))] {
            let filter = PositionFilter::Bicubic;
            assert!(resize_position_table(&table, 1, from, to, filter).is_err());
        }
    }
}
