//! What convolutions read: pictures as they are, or normalised and cut off at zero on the way.

use super::plan::{Segment, Stencil, Window};
use crate::cpu::simd::simd_fn;

/// `max(0, scale · x + shift)`, one scale and shift for each channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activation<'a> {
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
}

/// Pictures, pixel by pixel: the first `channels` values of each `stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) channels: usize,
    pub(crate) activation: Option<Activation<'a>>,
}

impl<'a> Source<'a> {
    /// Pictures as they are, without anything between pixels.
    pub(crate) fn plain(values: &'a [f32], channels: usize) -> Self {
        Self { values, stride: channels, channels, activation: None }
    }

    /// Copies what a segment reads, with zeros around the picture.
    pub(crate) fn fill(
        &self,
        stencil: &Stencil,
        window: &Window,
        segment: &Segment,
        out: &mut [f32],
    ) {
        let [height, width] = stencil.from;
        let left = stencil.reach[1].0;
        let row_len = window.width * window.pixel;
        let rows = out[segment.start..].chunks_exact_mut(row_len);
        for (y, out) in window.rows(stencil, segment).zip(rows) {
            if y < 0 || y >= height as isize {
                out.fill(0.);
                continue;
            }
            let first = (segment.sample * height + y as usize) * width;
            // Columns of the window before the picture, in it, and behind it.
            let before = (-left).clamp(0, window.width as isize) as usize;
            let start = left.max(0) as usize;
            let inside = width.saturating_sub(start).min(window.width - before);
            out[..before * window.pixel].fill(0.);
            out[(before + inside) * window.pixel..].fill(0.);
            let values = &self.values[((first + start) * self.stride).min(self.values.len())..];
            let out = &mut out[before * window.pixel..][..inside * window.pixel];
            self.copy(values, out, window.pixel);
        }
    }

    fn copy(&self, values: &[f32], out: &mut [f32], pixel: usize) {
        let size = (self.stride, pixel, self.channels);
        match self.activation {
            Some(activation) => activate(values, activation.scale, activation.shift, out, size),
            None => gather(values, out, size),
        }
    }
}

/// Copies pixels; what lies between them in `out` is left alone.
fn gather(values: &[f32], out: &mut [f32], (stride, pixel, channels): (usize, usize, usize)) {
    if stride == channels && pixel == channels {
        out.copy_from_slice(&values[..out.len()]);
        return;
    }
    for (out, values) in out.chunks_mut(pixel).zip(values.chunks(stride)) {
        out[..channels].copy_from_slice(&values[..channels]);
    }
}

simd_fn! {
    fn activate<'a, S>(
        values: &'a [f32],
        scale: &'a [f32],
        shift: &'a [f32],
        out: &'a mut [f32],
        size: (usize, usize, usize),
    ) -> () {
        let (stride, pixel, channels) = size;
        let (scale, shift) = (&scale[..channels], &shift[..channels]);
        for (out, values) in out.chunks_mut(pixel).zip(values.chunks(stride)) {
            let channels = out[..channels].iter_mut().zip(&values[..channels]).zip(scale).zip(shift);
            for (((out, x), scale), shift) in channels {
                // The way back asks the same question with the same rounding.
                let y = scale * x + shift;
                // Written so that NaN passes through.
                *out = if y < 0. { 0. } else { y };
            }
        }
    }
}
