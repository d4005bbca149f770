//! Maxima and means over windows of pictures `[batch, height, width, channels]`.

use candle_core::{Result, bail};
use rayon::prelude::*;

use super::conv::Activation;
use super::simd::simd_fn;

/// Side, step and border of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

/// Windows on pictures of one shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
    channels: usize,
    window: Window,
}

impl Pool {
    /// # Errors
    /// When a window would lie outside of every picture, or has no size or step.
    pub(crate) fn new(
        [batch, height, width, channels]: [usize; 4],
        window: Window,
    ) -> Result<Self> {
        let Window { side, stride, padding } = window;
        if side == 0 || stride == 0 || 2 * padding > side {
            bail!("windows of {side}, every {stride} pixels, with a border of {padding}");
        }
        let count = |size: usize| Some((size + 2 * padding).checked_sub(side)? / stride + 1);
        let (Some(rows), Some(columns)) = (count(height), count(width)) else {
            bail!("windows of {side} do not fit pictures of {height}x{width}")
        };
        Ok(Self { batch, input: [height, width], output: [rows, columns], channels, window })
    }

    pub(crate) fn shape(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.output[0], self.output[1], self.channels)
    }

    pub(crate) fn elements(&self) -> usize {
        self.batch * self.output[0] * self.output[1] * self.channels
    }

    /// Pixels of the input in the window of an output pixel, counted over all samples.
    #[inline(always)]
    fn pixels(&self, sample: usize, row: usize, column: usize) -> impl Iterator<Item = usize> {
        let [height, width] = self.input;
        let Window { side, stride, padding } = self.window;
        let range = move |at: usize, size: usize| {
            let start = (at * stride).saturating_sub(padding);
            start..(at * stride + side).saturating_sub(padding).min(size)
        };
        let columns = range(column, width);
        range(row, height)
            .flat_map(move |y| columns.clone().map(move |x| (sample * height + y) * width + x))
    }

    /// Values of one line of the output.
    fn line(&self) -> usize {
        self.output[1] * self.channels
    }

    /// Largest values, of activations where there is one, and which pixel each came from (nothing
    /// for no `places`): the first of equal ones.
    pub(crate) fn largest(
        &self,
        values: &[f32],
        activation: Option<Activation<'_>>,
        out: &mut [f32],
        places: &mut [u32],
    ) {
        if out.is_empty() {
            return;
        }
        let line = self.line();
        let mut none: Vec<&mut [u32]> = Vec::new();
        let places: Vec<&mut [u32]> = match places.is_empty() {
            true => {
                none.resize_with(out.len() / line, Default::default);
                none
            }
            false => places.chunks_mut(line).collect(),
        };
        out.par_chunks_mut(line).zip(places).enumerate().for_each(|(i, (out, places))| {
            self.largest_line(i, values, activation, out, places);
        });
    }

    fn largest_line(
        &self,
        line: usize,
        values: &[f32],
        activation: Option<Activation<'_>>,
        out: &mut [f32],
        places: &mut [u32],
    ) {
        let channels = self.channels;
        let (sample, row) = (line / self.output[0], line % self.output[0]);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let places = match places.is_empty() {
                true => &mut [][..],
                false => &mut places[column * channels..][..channels],
            };
            out.fill(f32::NEG_INFINITY);
            for pixel in self.pixels(sample, row, column) {
                let x = &values[pixel * channels..][..channels];
                match (activation, places.is_empty()) {
                    (None, true) => raise(out, x),
                    (Some(Activation { scale, shift }), true) => raise_active(out, x, scale, shift),
                    (None, false) => raise_placed(out, x, places, pixel as u32),
                    (Some(Activation { scale, shift }), false) => {
                        raise_active_placed(out, x, (scale, shift), places, pixel as u32);
                    }
                }
            }
        }
    }

    /// Gives each gradient to the pixel its value came from; `grad` need not be cleared.
    pub(crate) fn largest_back(&self, dy: &[f32], places: &[u32], grad: &mut [f32]) {
        let channels = self.channels;
        let (from, to) = (self.line() * self.output[0], self.input[0] * self.input[1] * channels);
        if from == 0 || to == 0 {
            return grad.fill(0.);
        }
        let samples = grad.par_chunks_mut(to).zip(dy.par_chunks(from)).zip(places.par_chunks(from));
        samples.enumerate().for_each(|(sample, ((grad, dy), places))| {
            grad.fill(0.);
            let first = sample * to;
            let pixels = dy.chunks_exact(channels).zip(places.chunks_exact(channels));
            for (dy, places) in pixels {
                for (channel, (dy, place)) in dy.iter().zip(places).enumerate() {
                    grad[*place as usize * channels + channel - first] += dy;
                }
            }
        });
    }

    /// Means over windows, of activations where there is one. Windows must lie in the picture.
    pub(crate) fn mean(&self, values: &[f32], activation: Option<Activation<'_>>, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let (channels, share) = (self.channels, self.share());
        out.par_chunks_mut(self.line()).enumerate().for_each(|(line, out)| {
            let (sample, row) = (line / self.output[0], line % self.output[0]);
            for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                out.fill(0.);
                for pixel in self.pixels(sample, row, column) {
                    let x = &values[pixel * channels..][..channels];
                    match activation {
                        None => add_share(out, x, share),
                        Some(Activation { scale, shift }) => {
                            add_active(out, x, scale, shift, share);
                        }
                    }
                }
            }
        });
    }

    /// What a value counts in the mean of its window.
    fn share(&self) -> f32 {
        1. / (self.window.side * self.window.side) as f32
    }

    /// Gives each pixel its share of the gradients of the windows it lies in.
    pub(crate) fn mean_back(&self, dy: &[f32], grad: &mut [f32]) {
        let channels = self.channels;
        let (from, to) = (self.line() * self.output[0], self.input[0] * self.input[1] * channels);
        if from == 0 || to == 0 {
            return grad.fill(0.);
        }
        let share = self.share();
        grad.par_chunks_mut(to).zip(dy.par_chunks(from)).for_each(|(grad, dy)| {
            grad.fill(0.);
            for (i, dy) in dy.chunks_exact(channels).enumerate() {
                for pixel in self.pixels(0, i / self.output[1], i % self.output[1]) {
                    add_share(&mut grad[pixel * channels..][..channels], dy, share);
                }
            }
        });
    }
}

simd_fn! {
    fn raise<'a, S>(out: &'a mut [f32], x: &'a [f32]) -> () {
        for (out, x) in out.iter_mut().zip(x) {
            // NaN wins, as in PyTorch.
            *out = if *x > *out || x.is_nan() { *x } else { *out };
        }
    }
}

simd_fn! {
    fn raise_active<'a, S>(
        out: &'a mut [f32],
        x: &'a [f32],
        scale: &'a [f32],
        shift: &'a [f32],
    ) -> () {
        for ((out, x), (scale, shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
            let y = scale * x + shift;
            let y = if y < 0. { 0. } else { y };
            *out = if y > *out || y.is_nan() { y } else { *out };
        }
    }
}

simd_fn! {
    fn raise_placed<'a, S>(
        out: &'a mut [f32],
        x: &'a [f32],
        places: &'a mut [u32],
        pixel: u32,
    ) -> () {
        for ((out, x), place) in out.iter_mut().zip(x).zip(places) {
            let more = *x > *out || x.is_nan();
            *out = if more { *x } else { *out };
            *place = if more { pixel } else { *place };
        }
    }
}

simd_fn! {
    fn raise_active_placed<'a, S>(
        out: &'a mut [f32],
        x: &'a [f32],
        line: (&'a [f32], &'a [f32]),
        places: &'a mut [u32],
        pixel: u32,
    ) -> () {
        let lines = line.0.iter().zip(line.1);
        for (((out, x), place), (scale, shift)) in out.iter_mut().zip(x).zip(places).zip(lines) {
            let y = scale * x + shift;
            let y = if y < 0. { 0. } else { y };
            let more = y > *out || y.is_nan();
            *out = if more { y } else { *out };
            *place = if more { pixel } else { *place };
        }
    }
}

simd_fn! {
    fn add_share<'a, S>(out: &'a mut [f32], x: &'a [f32], share: f32) -> () {
        out.iter_mut().zip(x).for_each(|(out, x)| *out += share * x);
    }
}

simd_fn! {
    fn add_active<'a, S>(
        out: &'a mut [f32],
        x: &'a [f32],
        scale: &'a [f32],
        shift: &'a [f32],
        share: f32,
    ) -> () {
        for ((out, x), (scale, shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
            let y = scale * x + shift;
            *out += share * if y < 0. { 0. } else { y };
        }
    }
}
