//! The two inner loops of convolutions: products of gathered pixels with packed weights, and of
//! gathered pixels with gradients. Reads addresses that were checked once for a whole tile.
#![allow(unsafe_code)]

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::mat::MatMut;

/// Output channels that are computed together; packed weights come in blocks of as many columns.
pub(crate) const PANEL: usize = 32;

/// Pixels that are computed together, where there are 32 vector registers; half as many where
/// there are 16.
const PIXELS: usize = 14;

/// Values of a gathered pixel that meet a gradient at once, in [`accumulate`].
pub(crate) const STRIP: usize = 8;

/// A stretch of values that is read from each pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Of its first value, from the pixel's first.
    pub(crate) offset: usize,
    /// Number of values.
    pub(crate) len: usize,
}

/// Where the pixels of a product are read: pixel `i` begins at `pixels[i]`, its values are those of
/// the runs, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) pixels: &'a [usize],
    pub(crate) runs: &'a [Run],
}

impl Gather<'_> {
    /// Values of one pixel.
    fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// Whether every value, and `more` behind each run, lies in the slice.
    fn in_bounds(&self, more: usize) -> bool {
        let far = self.pixels.iter().max().copied().unwrap_or(0);
        let end = self.runs.iter().map(|run| run.offset + run.len).max().unwrap_or(0);
        self.pixels.is_empty() || self.runs.is_empty() || far + end + more <= self.values.len()
    }
}

/// `dst[rows[i], j] = Σ_k pixel_i[k] · panels[j / 32][k][j % 32]` for every pixel `i` and every
/// column `j` of `dst`.
pub(crate) fn multiply(gather: Gather<'_>, panels: &[f32], dst: &mut MatMut<'_>, rows: &[usize]) {
    assert!(gather.in_bounds(0), "a pixel leaves its slice");
    assert_eq!(gather.pixels.len(), rows.len(), "a row for each pixel");
    let need = dst.width().div_ceil(PANEL) * gather.depth() * PANEL;
    assert_eq!(panels.len(), need, "packed weights");
    Arch::new().dispatch(Multiply { gather, panels, dst, rows });
}

struct Multiply<'a, 'b> {
    gather: Gather<'a>,
    panels: &'a [f32],
    dst: &'a mut MatMut<'b>,
    rows: &'a [usize],
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.blocks::<S, PIXELS>(simd);
        } else {
            self.blocks::<S, { PIXELS / 2 - 1 }>(simd);
        }
    }
}

impl Multiply<'_, '_> {
    #[inline(always)]
    fn blocks<S: Simd, const N: usize>(self, simd: S) {
        let Self { gather, panels, dst, rows } = self;
        let block = gather.depth() * PANEL;
        for first in (0..dst.width()).step_by(PANEL) {
            let panel = panels.get(first / PANEL * block..).unwrap_or(&[]);
            for (pixels, rows) in gather.pixels.chunks(N).zip(rows.chunks(N)) {
                let mut out = [[0f32; PANEL]; N];
                // The last group repeats its last pixel; what comes of that is not written.
                let at = std::array::from_fn(|i| pixels[i.min(pixels.len() - 1)]);
                // SAFETY: `multiply` checked that every pixel's runs lie in the values, and that
                // the panel has a row for each of their values.
                unsafe { group::<S, N>(simd, gather, at, panel.as_ptr(), &mut out) };
                for (out, &row) in out.iter().zip(rows) {
                    let row = &mut dst.row_mut(row)[first..];
                    let columns = row.len().min(PANEL);
                    row[..columns].copy_from_slice(&out[..columns]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd>(at: *const f32) -> S::f32s {
    // SAFETY: the caller's: as many values as a vector has can be read there.
    unsafe { at.cast::<S::f32s>().read_unaligned() }
}

/// One group of pixels times one panel.
///
/// # Safety
/// For every pixel `p` in `at` and every run, values `p + offset .. + len` exist, and `panel` has a
/// row of [`PANEL`] values for each value of a pixel.
#[inline(always)]
unsafe fn group<S: Simd, const N: usize>(
    simd: S,
    gather: Gather<'_>,
    at: [usize; N],
    panel: *const f32,
    out: &mut [[f32; PANEL]; N],
) {
    let lanes = S::F32_LANES;
    for column in (0..PANEL).step_by(2 * lanes) {
        let mut sums = [[simd.splat_f32s(0.); 2]; N];
        // SAFETY: the caller's promise; the columns of a panel's row are a multiple of two vectors
        // of 1, 4, 8 or 16 values.
        unsafe {
            let mut weight = panel.add(column);
            for run in gather.runs {
                let start = gather.values.as_ptr().add(run.offset);
                for k in 0..run.len {
                    let (a, b) = (load::<S>(weight), load::<S>(weight.add(lanes)));
                    let value = start.add(k);
                    for (sums, &pixel) in sums.iter_mut().zip(&at) {
                        let x = simd.splat_f32s(*value.add(pixel));
                        sums[0] = simd.mul_add_e_f32s(x, a, sums[0]);
                        sums[1] = simd.mul_add_e_f32s(x, b, sums[1]);
                    }
                    weight = weight.add(PANEL);
                }
            }
            for (out, sums) in out.iter_mut().zip(sums) {
                let to = out.as_mut_ptr().add(column);
                to.cast::<S::f32s>().write_unaligned(sums[0]);
                to.add(lanes).cast::<S::f32s>().write_unaligned(sums[1]);
            }
        }
    }
}

/// Rows of gradients that meet the pixels of a [`Gather`]: row `i` at `i · stride`, of which
/// [`PANEL`] values from `column` on.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) column: usize,
}

/// `sums[s][j] += Σ_i pixel_i[offset + s] · row_i[j]`, for [`STRIP`] values `s` of each pixel from
/// `offset` on and [`PANEL`] columns `j`.
pub(crate) fn accumulate(
    values: &[f32],
    pixels: &[usize],
    offset: usize,
    rows: Rows<'_>,
    sums: &mut [f32],
) {
    let run = [Run { offset, len: 0 }];
    assert!(Gather { values, pixels, runs: &run }.in_bounds(STRIP), "a pixel leaves its slice");
    let end = pixels.len().saturating_sub(1) * rows.stride + rows.column + PANEL;
    assert!(pixels.is_empty() || end <= rows.values.len(), "a row leaves its slice");
    assert_eq!(sums.len(), STRIP * PANEL, "sums");
    Arch::new().dispatch(Accumulate { values, pixels, offset, rows, sums });
}

struct Accumulate<'a> {
    values: &'a [f32],
    pixels: &'a [usize],
    offset: usize,
    rows: Rows<'a>,
    sums: &'a mut [f32],
}

impl WithSimd for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let half = if S::REGISTER_COUNT >= 32 { STRIP } else { STRIP / 2 };
        for first in (0..STRIP).step_by(half) {
            // SAFETY: `accumulate` checked pixels, rows and sums.
            unsafe {
                if half == STRIP {
                    self.strip::<S, STRIP>(simd, first);
                } else {
                    self.strip::<S, { STRIP / 2 }>(simd, first);
                }
            }
        }
    }
}

impl Accumulate<'_> {
    /// # Safety
    /// `N` values from `offset + first` on exist of every pixel, [`PANEL`] values of every row, and
    /// [`STRIP`] rows of sums.
    #[inline(always)]
    unsafe fn strip<S: Simd, const N: usize>(&mut self, simd: S, first: usize) {
        let lanes = S::F32_LANES;
        let to = self.sums.as_mut_ptr();
        for column in (0..PANEL).step_by(2 * lanes) {
            // SAFETY: the caller's promise.
            unsafe {
                let to = to.add(first * PANEL + column);
                let mut sums: [[S::f32s; 2]; N] = std::array::from_fn(|i| {
                    let at = to.add(i * PANEL);
                    [load::<S>(at), load::<S>(at.add(lanes))]
                });
                let start = self.values.as_ptr().add(self.offset + first);
                let mut row = self.rows.values.as_ptr().add(self.rows.column + column);
                for &pixel in self.pixels {
                    let (a, b) = (load::<S>(row), load::<S>(row.wrapping_add(lanes)));
                    let value = start.add(pixel);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let x = simd.splat_f32s(*value.add(i));
                        sums[0] = simd.mul_add_e_f32s(x, a, sums[0]);
                        sums[1] = simd.mul_add_e_f32s(x, b, sums[1]);
                    }
                    row = row.wrapping_add(self.rows.stride);
                }
                for (i, sums) in sums.iter().enumerate() {
                    let at = to.add(i * PANEL);
                    at.cast::<S::f32s>().write_unaligned(sums[0]);
                    at.add(lanes).cast::<S::f32s>().write_unaligned(sums[1]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXELS_AT: [usize; 17] = [0, 4, 8, 3, 40, 41, 7, 9, 11, 50, 60, 61, 62, 1, 2, 5, 6];
    const RUNS: [Run; 2] = [Run { offset: 0, len: 5 }, Run { offset: 20, len: 3 }];

    fn wave(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|i| (0.7 * i as f32 + phase).cos()).collect()
    }

    /// Products of 17 pixels of 8 values with weights of 40 columns, by the definition.
    fn definition(values: &[f32], panels: &[f32]) -> Vec<f32> {
        let places: Vec<usize> = RUNS.iter().flat_map(|r| r.offset..r.offset + r.len).collect();
        let product = |pixel: usize, column: usize| {
            let weight = |k: usize| panels[((column / PANEL) * 8 + k) * PANEL + column % PANEL];
            places.iter().enumerate().map(|(k, at)| values[pixel + at] * weight(k)).sum::<f32>()
        };
        let product = &product;
        PIXELS_AT.iter().flat_map(|&pixel| (0..40).map(move |c| product(pixel, c))).collect()
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    /// Every width of vectors that this processor has.
    fn with_each(run: impl Fn(&dyn Fn(Multiply<'_, '_>), &dyn Fn(Accumulate<'_>))) {
        run(&|m| m.with_simd(pulp::Scalar), &|a| a.with_simd(pulp::Scalar));
        run(&|m| Arch::new().dispatch(m), &|a| Arch::new().dispatch(a));
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            run(&|m| Simd::vectorize(simd, m), &|a| Simd::vectorize(simd, a));
        }
    }

    #[test]
    fn products_of_gathered_pixels_equal_the_definition() {
        let (values, panels) = (wave(100, 0.), wave(2 * 8 * PANEL, 1.));
        let want = definition(&values, &panels);
        let rows: Vec<usize> = (0..17).rev().collect();
        with_each(|multiply, _| {
            let mut out = vec![9.; 17 * 40];
            let mut dst = MatMut::new(&mut out, 17, 40);
            let gather = Gather { values: &values, pixels: &PIXELS_AT, runs: &RUNS };
            multiply(Multiply { gather, panels: &panels, dst: &mut dst, rows: &rows });
            let sorted: Vec<f32> = out.chunks(40).rev().flatten().copied().collect();
            close(&sorted, &want);
        });
    }

    #[test]
    fn sums_over_pixels_equal_the_definition() {
        let (values, grads) = (wave(100, 0.), wave(17 * 70, 2.));
        let rows = Rows { values: &grads, stride: 70, column: 32 };
        let sum = |s: usize, j: usize| -> f32 {
            let terms = PIXELS_AT.iter().enumerate();
            terms.map(|(i, pixel)| values[pixel + 20 + s] * grads[i * 70 + 32 + j]).sum()
        };
        let sum = &sum;
        let want: Vec<f32> = (0..STRIP)
            .flat_map(|s| (0..PANEL).map(move |j| (s, j)))
            .map(|(s, j)| 1. + sum(s, j))
            .collect();
        with_each(|_, accumulate| {
            let mut sums = vec![1.; STRIP * PANEL];
            let pixels = &PIXELS_AT;
            accumulate(Accumulate { values: &values, pixels, offset: 20, rows, sums: &mut sums });
            close(&sums, &want);
        });
    }

    #[test]
    #[should_panic(expected = "a pixel leaves its slice")]
    fn a_pixel_outside_its_slice_is_refused() {
        let (values, panels) = (wave(84, 0.), wave(8 * PANEL, 1.));
        let mut out = vec![0.; 17 * 8];
        let gather = Gather { values: &values, pixels: &PIXELS_AT, runs: &RUNS };
        let rows: Vec<usize> = (0..17).collect();
        multiply(gather, &panels, &mut MatMut::new(&mut out, 17, 8), &rows);
    }

    #[test]
    #[should_panic(expected = "a row leaves its slice")]
    fn a_row_outside_its_slice_is_refused() {
        let (values, grads) = (wave(100, 0.), wave(40, 1.));
        let rows = Rows { values: &grads, stride: 33, column: 0 };
        accumulate(&values, &[0, 1], 0, rows, &mut [0.; STRIP * PANEL]);
    }
}
