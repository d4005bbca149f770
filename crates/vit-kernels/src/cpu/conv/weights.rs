//! Weights packed for the kernel, and the gradient of weights.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{PANEL, Rows, Run, STRIP, accumulate};
use super::plan::{Class, Geometry, Reading, Segment, Stencil, Window};
use super::source::Source;
use crate::cpu::scratch::Scratch;

/// Packed weights of each class of a stencil, panel by panel: a row of [`PANEL`] columns for each
/// value of a pixel, columns that do not exist being zero.
pub(crate) struct Packed {
    classes: Vec<Scratch>,
}

impl Packed {
    /// Of the weights `[out, in, rows, columns]`, for a forward pass.
    pub(crate) fn forward(geometry: &Geometry, stencil: &Stencil, weights: &[f32]) -> Self {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let (columns, channels) = (geometry.out_channels, geometry.in_channels);
        Self::new(stencil, weights, [columns, channels], [channels * taps, taps])
    }

    /// For the gradient of the input.
    pub(crate) fn backward(geometry: &Geometry, stencil: &Stencil, weights: &[f32]) -> Self {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let (columns, channels) = (geometry.in_channels, geometry.out_channels);
        Self::new(stencil, weights, [columns, channels], [taps, columns * taps])
    }

    /// `steps` are the distances of weights for one column and one channel more.
    fn new(
        stencil: &Stencil,
        weights: &[f32],
        [columns, channels]: [usize; 2],
        [column_step, channel_step]: [usize; 2],
    ) -> Self {
        let class = |class: &Class| {
            let block = class.taps.len() * channels * PANEL;
            let mut panels = Scratch::new(columns.div_ceil(PANEL) * block);
            if block == 0 {
                return panels;
            }
            panels.par_chunks_mut(block).enumerate().for_each(|(panel, out)| {
                let first = panel * PANEL;
                let width = PANEL.min(columns - first);
                for channel in 0..channels {
                    for (place, tap) in class.taps.iter().enumerate() {
                        let row = &mut out[(place * channels + channel) * PANEL..][..PANEL];
                        let start = first * column_step + channel * channel_step + tap.weight;
                        let from = weights[start..].iter().step_by(column_step);
                        row[..width].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                        row[width..].fill(0.);
                    }
                }
            });
            panels
        };
        Self { classes: stencil.classes.iter().map(class).collect() }
    }

    /// The panels of a class from a column on, which begins one.
    pub(crate) fn columns(
        &self,
        class: usize,
        stencil: &Stencil,
        first: usize,
        count: usize,
    ) -> &[f32] {
        let block = stencil.classes[class].taps.len() * stencil.channels * PANEL;
        &self.classes[class][first / PANEL * block..][..count.div_ceil(PANEL) * block]
    }
}

/// Values of windows that are held at once for the gradient of weights.
const HELD: usize = 1 << 20;
/// Pixels that meet their gradients before the next weights are taken up.
const PIXELS: usize = 256;

/// Gradient of the weights `[out, in, rows, columns]`: `Σ input · grad` over pixels. `grad` is
/// `[pixels, out]` without anything between rows.
pub(crate) fn gradient(geometry: &Geometry, source: Source<'_>, grad: &[f32]) -> Vec<f32> {
    let stencil = geometry.forward();
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let mut out = vec![0.; geometry.weights()];
    if out.is_empty() || grad.is_empty() {
        return out;
    }
    let columns = geometry.out_channels;
    let lines = stencil.batch * stencil.lines();
    let held = (HELD / (stencil.line_values() + stencil.to[1] * columns)).clamp(1, lines);
    // Sums in the order of panels, runs and strips of them.
    let mut sums = Sums::new(columns);
    let mut start = 0;
    while start < lines {
        let end = (start + held).min(lines);
        let pixels = start * stencil.to[1]..end * stencil.to[1];
        let grad = &grad[pixels.start * columns..pixels.end * columns];
        sums.add(&stencil, source, start..end, grad);
        start = end;
    }
    sums.unpack(geometry, &stencil, taps, &mut out);
    out
}

/// Sums of a weight gradient: for each panel of output channels, each run of values and each strip
/// of it a block of `STRIP` × `PANEL`.
struct Sums {
    columns: usize,
    runs: Vec<Run>,
    blocks: Vec<f32>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        Self { columns, runs: Vec::new(), blocks: Vec::new() }
    }

    /// Blocks of one panel: run and offset.
    fn strips(&self) -> Vec<usize> {
        let strips = |run: &Run| (run.offset..run.offset + run.len).step_by(STRIP);
        self.runs.iter().flat_map(strips).collect()
    }

    fn add(&mut self, stencil: &Stencil, source: Source<'_>, lines: Range<usize>, grad: &[f32]) {
        let window = Window::new(stencil, lines.clone());
        let direct = stencil.pointwise()
            && source.activation.is_none()
            && window.pixel == stencil.channels
            && source.stride == stencil.channels
            && stencil.channels.is_multiple_of(STRIP);
        // Strips may read a little beyond the last pixel's values.
        let mut held = Scratch::new(if direct { 0 } else { window.len + STRIP });
        let reading = if direct {
            Reading::direct(stencil, lines, source.stride)
        } else {
            fill(stencil, &window, source, &mut held);
            Reading::new(stencil, &stencil.classes[0], &window)
        };
        let values: &[f32] = if direct { source.values } else { &held };
        let rows = padded_rows(grad, self.columns);
        let (grad, stride) = match &rows {
            Some(rows) => (&**rows, self.columns.next_multiple_of(PANEL)),
            None => (grad, self.columns),
        };
        self.runs = reading.runs;
        let strips = self.strips();
        let panels = self.columns.div_ceil(PANEL);
        self.blocks.resize(panels * strips.len() * STRIP * PANEL, 0.);
        // Neighbours in one part share the pixels; every part walks over all of them.
        let parts = 2 * rayon::current_num_threads();
        let share = (panels * strips.len()).div_ceil(parts).max(1);
        let blocks = self.blocks.par_chunks_mut(share * STRIP * PANEL).enumerate();
        blocks.for_each(|(part, blocks)| {
            for (i, pixels) in reading.pixels.chunks(PIXELS).enumerate() {
                let grad = &grad[i * PIXELS * stride..];
                for (block, sums) in blocks.chunks_exact_mut(STRIP * PANEL).enumerate() {
                    let block = part * share + block;
                    let (panel, strip) = (block / strips.len(), block % strips.len());
                    let rows = Rows { values: grad, stride, column: panel * PANEL };
                    accumulate(values, pixels, strips[strip], rows, sums);
                }
            }
        });
    }

    fn unpack(&self, geometry: &Geometry, stencil: &Stencil, taps: usize, out: &mut [f32]) {
        let channels = geometry.in_channels;
        // Which weight and channel each row of a panel's blocks stands for; rows that only fill the
        // last strip of a run stand for none.
        let mut order = stencil.classes[0]
            .taps
            .iter()
            .flat_map(|tap| (0..channels).map(|channel| channel * taps + tap.weight));
        let rows: Vec<Option<usize>> = self
            .runs
            .iter()
            .flat_map(|run| (0..run.len.next_multiple_of(STRIP)).map(|i| i < run.len))
            .map(|real| real.then(|| order.next()).flatten())
            .collect();
        let weights = channels * taps;
        out.par_chunks_mut(weights).enumerate().for_each(|(column, out)| {
            let first = column / PANEL * rows.len() * PANEL + column % PANEL;
            let values = self.blocks[first..].iter().step_by(PANEL);
            for (place, value) in rows.iter().zip(values) {
                if let Some(place) = place {
                    out[*place] = *value;
                }
            }
        });
    }
}

/// Fills a whole window, segments side by side.
fn fill(stencil: &Stencil, window: &Window, source: Source<'_>, out: &mut [f32]) {
    let mut parts = Vec::with_capacity(window.segments.len());
    let mut rest = out;
    for (i, segment) in window.segments.iter().enumerate() {
        let end = window.segments.get(i + 1).map_or(window.len, |next| next.start);
        let (own, others) = rest.split_at_mut(end - segment.start);
        parts.push((Segment { start: 0, ..segment.clone() }, own));
        rest = others;
    }
    // What lies behind the last pixel is read, multiplied and thrown away: any finite value does.
    rest.fill(0.);
    parts.into_par_iter().for_each(|(segment, out)| source.fill(stencil, window, &segment, out));
}

/// Rows widened to whole panels with zeros, if they are not.
fn padded_rows(grad: &[f32], columns: usize) -> Option<Scratch> {
    let width = columns.next_multiple_of(PANEL);
    if width == columns {
        return None;
    }
    let mut rows = Scratch::new(grad.len() / columns * width);
    for (to, from) in rows.chunks_exact_mut(width).zip(grad.chunks_exact(columns)) {
        to[..columns].copy_from_slice(from);
        to[columns..].fill(0.);
    }
    Some(rows)
}
