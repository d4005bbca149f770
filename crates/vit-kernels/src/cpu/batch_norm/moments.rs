//! Statistics of channels.

use rayon::prelude::*;

use super::PART;
use crate::cpu::mat::MatMut;
use crate::cpu::simd::simd_fn;

/// Mean and sum of squared distances from it, of each column of some rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    pub(super) count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Of the columns of a tile, in two passes, so that a large mean costs no digits.
    pub(crate) fn of(rows: MatMut<'_>) -> Self {
        let (count, width) = (rows.height(), rows.width());
        let (mut mean, mut squares) = (vec![0f32; width], vec![0f32; width]);
        column_moments(rows, &mut mean, &mut squares);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { count: count as f64, mean: wide(mean), squares: wide(squares) }
    }

    /// Adds other rows of the columns from `first` on (Chan, Golub and LeVeque 1983).
    fn add(&mut self, first: usize, other: &Self, count: f64) {
        let total = count + other.count;
        let columns = self.mean[first..].iter_mut().zip(&mut self.squares[first..]);
        for ((mean, squares), (m, s)) in columns.zip(other.mean.iter().zip(&other.squares)) {
            let distance = m - *mean;
            *mean += distance * other.count / total;
            *squares += s + distance * distance * count * other.count / total;
        }
    }

    /// Of all rows, from those of tiles in order, each with its first column.
    pub(crate) fn join(width: usize, parts: &[(usize, Self)]) -> Self {
        let mut sum = Self { count: 0., mean: vec![0.; width], squares: vec![0.; width] };
        let mut counts = vec![0.; width];
        for (first, part) in parts {
            let Some(count) = counts.get_mut(*first) else { continue };
            sum.add(*first, part, *count);
            *count += part.count;
        }
        sum.count = counts.first().copied().unwrap_or(0.);
        sum
    }

    /// Of columns `0..width` of rows `stride` apart.
    pub(crate) fn of_rows(values: &[f32], stride: usize, width: usize) -> Self {
        let parts: Vec<(usize, Self)> = values
            .par_chunks(PART * stride)
            .map(|rows| {
                let (mut mean, mut squares) = (vec![0f32; width], vec![0f32; width]);
                slice_moments(rows, stride, &mut mean, &mut squares);
                let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
                let count = (rows.len() / stride) as f64;
                (0, Self { count, mean: wide(mean), squares: wide(squares) })
            })
            .collect();
        Self::join(width, &parts)
    }

    /// Further columns of the same rows.
    pub(crate) fn extend(&mut self, other: Self) {
        self.count = other.count;
        self.mean.extend(other.mean);
        self.squares.extend(other.squares);
    }

    pub(crate) fn mean(&self) -> impl Iterator<Item = f32> {
        self.mean.iter().map(|mean| *mean as f32)
    }

    /// Whether running statistics can take all of them up, as `f32`.
    pub(crate) fn are_finite(&self) -> bool {
        self.mean().chain(self.unbiased()).all(f32::is_finite)
    }

    /// Mean squared distance from the mean.
    pub(super) fn biased(&self) -> impl Iterator<Item = f32> {
        self.squares.iter().map(|squares| (squares / self.count) as f32)
    }

    /// An estimate of the variance of what the rows were drawn from.
    pub(crate) fn unbiased(&self) -> impl Iterator<Item = f32> {
        self.squares.iter().map(|squares| (squares / (self.count - 1.)) as f32)
    }
}

simd_fn! {
    fn column_moments<'a, S>(
        rows: MatMut<'a>,
        mean: &'a mut [f32],
        squares: &'a mut [f32],
    ) -> () {
        let mut rows = rows;
        let count = rows.height();
        for i in 0..count {
            mean.iter_mut().zip(rows.row_mut(i)).for_each(|(mean, x)| *mean += *x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count as f32);
        for i in 0..count {
            for ((squares, x), mean) in squares.iter_mut().zip(rows.row_mut(i)).zip(mean.iter()) {
                *squares += (*x - mean) * (*x - mean);
            }
        }
    }
}

simd_fn! {
    fn slice_moments<'a, S>(
        rows: &'a [f32],
        stride: usize,
        mean: &'a mut [f32],
        squares: &'a mut [f32],
    ) -> () {
        let count = (rows.len() / stride) as f32;
        for row in rows.chunks_exact(stride) {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        for row in rows.chunks_exact(stride) {
            for ((squares, x), mean) in squares.iter_mut().zip(row).zip(mean.iter()) {
                *squares += (x - mean) * (x - mean);
            }
        }
    }
}
