//! Strided views of matrices, and their product. The only place, with [`crate::cpu::values`],
//! that touches raw memory.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

/// A matrix seen in a slice, row `i`, column `j` at `i · row_stride + j · col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix that fills the slice.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows}x{cols} matrix");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    pub(crate) fn height(&self) -> usize {
        self.rows
    }

    pub(crate) fn width(&self) -> usize {
        self.cols
    }

    pub(crate) fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?}");
        let data = self.data.get(range.start * self.row_stride..).unwrap_or(&[]);
        Self { data, rows: range.len(), ..self }
    }

    pub(crate) fn cols(self, range: Range<usize>) -> Self {
        self.t().rows(range).t()
    }

    /// Whether every element lies in the slice.
    fn in_bounds(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride
                < self.data.len()
    }
}

/// A matrix with columns side by side that may be written. Several may interleave in one slice as
/// long as they share no element, which the ways to split one take care of.
pub(crate) struct MatMut<'a> {
    data: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: like a `&mut [f32]` to elements nobody else can reach.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// A row-major matrix that fills the slice.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows}x{cols} matrix");
        Self { data: data.as_mut_ptr(), rows, cols, row_stride: cols, slice: PhantomData }
    }

    /// Blocks of `count` rows, the last one shorter.
    pub(crate) fn split_rows(self, count: usize) -> Vec<Self> {
        let starts = (0..self.rows).step_by(count.max(1));
        starts
            .map(|start| Self {
                // SAFETY: `start < rows`, so the element exists; blocks share no row.
                data: unsafe { self.data.add(start * self.row_stride) },
                rows: count.min(self.rows - start),
                ..self
            })
            .collect()
    }

    /// The first `col` columns, and the others.
    pub(crate) fn split_at_col(self, col: usize) -> (Self, Self) {
        assert!(col <= self.cols, "column {col} of {}", self.cols);
        // The two share no element. Where there is none behind `col`, the address is never used.
        let rest = Self { data: self.data.wrapping_add(col), cols: self.cols - col, ..self };
        (Self { cols: col, ..self }, rest)
    }

    /// Blocks of `count` columns, the last one narrower.
    pub(crate) fn split_cols(mut self, count: usize) -> Vec<Self> {
        let mut blocks = Vec::with_capacity(self.cols.div_ceil(count.max(1)));
        while self.cols > 0 {
            let (block, rest) = {
                let col = count.clamp(1, self.cols);
                self.split_at_col(col)
            };
            blocks.push(block);
            self = rest;
        }
        blocks
    }

    /// Blocks of as many rows as each of `counts` says; the rest is left out.
    pub(crate) fn split_rows_by(self, counts: &[usize]) -> Vec<Self> {
        assert!(counts.iter().sum::<usize>() <= self.rows, "{counts:?} of {} rows", self.rows);
        let mut start = 0;
        counts
            .iter()
            .map(|&rows| {
                // Blocks share no row. Where there is none behind the last, the address is never
                // used.
                let data = self.data.wrapping_add(start * self.row_stride);
                start += rows;
                Self { data, rows, ..self }
            })
            .collect()
    }

    #[inline(always)]
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the row exists, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.row_stride), self.cols) }
    }

    pub(crate) fn height(&self) -> usize {
        self.rows
    }

    pub(crate) fn width(&self) -> usize {
        self.cols
    }
}

/// What a product does with what stood in its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Overwrite,
    Add,
}

/// Whether one product may use several threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// `dst ← factor · a · b`, or `dst ← dst + factor · a · b`.
pub(crate) fn matmul(
    dst: &mut MatMut<'_>,
    into: Into,
    factor: f32,
    a: Mat<'_>,
    b: Mat<'_>,
    threads: Threads,
) {
    assert!(
        dst.rows == a.rows && dst.cols == b.cols && a.cols == b.rows,
        "product of {}x{} and {}x{} into {}x{}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        dst.rows,
        dst.cols
    );
    assert!(a.in_bounds() && b.in_bounds(), "a view leaves its slice");
    // SAFETY: the shapes fit, both inputs lie in their slices, the destination is a valid view by
    // construction and can overlap no input, because it is borrowed mutably.
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.cols,
            a.cols,
            dst.data,
            1,
            dst.row_stride as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.,
            factor,
            false,
            false,
            false,
            match threads {
                Threads::One => Parallelism::None,
                Threads::All => Parallelism::Rayon(rayon::current_num_threads()),
            },
        );
    }
}

/// The rows of `a · b` in a new vector that is not cleared first.
pub(crate) fn product(a: Mat<'_>, b: Mat<'_>) -> Vec<f32> {
    let (rows, cols) = (a.rows, b.cols);
    if a.cols == 0 {
        return vec![0.; rows * cols];
    }
    let mut out = Vec::with_capacity(rows * cols);
    let mut dst =
        MatMut { data: out.as_mut_ptr(), rows, cols, row_stride: cols, slice: PhantomData };
    matmul(&mut dst, Into::Overwrite, 1., a, b, Threads::All);
    // SAFETY: the capacity suffices, and the product wrote every element: `Into::Overwrite` reads
    // none, and writes all as the inner dimension is not 0.
    unsafe { out.set_len(rows * cols) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(a: Mat<'_>, b: Mat<'_>) -> Vec<f32> {
        let at = |m: &Mat<'_>, i: usize, j: usize| m.data[i * m.row_stride + j * m.col_stride];
        let mut out = Vec::new();
        for i in 0..a.rows {
            for j in 0..b.cols {
                out.push((0..a.cols).map(|k| at(&a, i, k) * at(&b, k, j)).sum());
            }
        }
        out
    }

    #[test]
    fn products_of_views_equal_the_definition() {
        let x: Vec<f32> = (0..60).map(|v| (v % 7) as f32 - 3.).collect();
        let y: Vec<f32> = (0..60).map(|v| (v % 5) as f32 - 2.).collect();
        let (a, b) = (Mat::new(&x, 6, 10), Mat::new(&y, 10, 6));
        for (a, b) in [
            (a, b),
            (b.t(), a.t()),
            (a.rows(1..4).cols(2..7), b.rows(3..8).cols(1..5)),
            (a.rows(2..2), b),
            (a.cols(4..4), b.rows(0..0)),
        ] {
            assert_eq!(product(a, b), naive(a, b));
        }
    }

    #[test]
    fn blocks_of_columns_are_written_apart() {
        let ones = [1f32; 4];
        let mut out = vec![5f32; 12];
        for (i, block) in MatMut::new(&mut out, 2, 6).split_cols(2).iter_mut().enumerate() {
            let a = Mat::new(&ones, 2, 2);
            let into = if i == 1 { Into::Add } else { Into::Overwrite };
            matmul(block, into, i as f32, a, a, Threads::One);
        }
        assert_eq!(out, [0., 0., 7., 7., 4., 4., 0., 0., 7., 7., 4., 4.]);
    }

    #[test]
    #[should_panic(expected = "leaves its slice")]
    fn a_view_outside_its_slice_is_refused() {
        let data = [0f32; 6];
        let wide = Mat { data: &data, rows: 2, cols: 4, row_stride: 4, col_stride: 1 };
        product(wide, Mat::new(&[0.; 4], 4, 1));
    }
}
