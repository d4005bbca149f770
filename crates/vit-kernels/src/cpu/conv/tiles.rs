//! Convolutions tile by tile: some lines of the pictures and some output channels at a time, on one
//! thread, from a window that fits the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{Gather, PANEL, multiply};
use super::plan::{Reading, Stencil, Window, pixels_of};
use super::source::Source;
use super::weights::Packed;
use crate::cpu::mat::MatMut;
use crate::cpu::scratch::Scratch;

/// Values of a tile's window at most, if it has more than one line.
const WINDOW: usize = 160 << 10;
/// Pixels of a tile at most, if it has more than one line.
const MOST: usize = 512;
/// Pixels of a tile at least, if there are as many.
const LEAST: usize = 56;
/// Tiles there should be at least, so that threads have something to share.
const TILES: usize = 8;

/// What is left to do with a tile once its products are there.
pub(crate) struct Tile<'a> {
    /// The products, `[pixels, columns]`.
    pub(crate) values: MatMut<'a>,
    /// Pixels written, counted over all samples.
    pub(crate) pixels: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// Lines of each tile, counted over all samples. The same for any number of threads.
fn split(stencil: &Stencil) -> Vec<Range<usize>> {
    let lines = stencil.batch * stencil.lines();
    let per_line = (stencil.to[1] * stencil.out_step).max(1);
    let pixels = (lines * per_line / TILES).clamp(LEAST, MOST);
    let most = (WINDOW / stencil.line_values().max(1)).max(1);
    let wanted = pixels.div_ceil(per_line).min(most);
    let count = lines.div_ceil(wanted.max(1)).max(1);
    let count = if count > 1 { count.next_multiple_of(4).min(lines) } else { count };
    (0..count).map(|i| i * lines / count..(i + 1) * lines / count).collect()
}

/// Runs a convolution into `dst`, `[pixels, columns]`, and `finish` on each tile; returns what that
/// gives, tile by tile and in each by groups of columns, each with its first column.
pub(crate) fn forward<T: Send>(
    stencil: &Stencil,
    source: Source<'_>,
    packed: &Packed,
    dst: MatMut<'_>,
    finish: impl Fn(Tile<'_>) -> T + Sync,
) -> Vec<(usize, T)> {
    run(stencil, dst, |task| {
        let Task { lines, mut dst, pixels, columns } = task;
        products(stencil, source, packed, lines, columns.clone(), &mut dst);
        finish(Tile { values: dst, pixels, columns })
    })
}

/// As [`forward`], but the products of a tile go to a buffer, and `finish` decides what becomes of
/// `dst`.
pub(crate) fn into<T: Send>(
    stencil: &Stencil,
    source: Source<'_>,
    packed: &Packed,
    dst: MatMut<'_>,
    finish: impl Fn(Tile<'_>, MatMut<'_>) -> T + Sync,
) -> Vec<(usize, T)> {
    run(stencil, dst, |task| {
        let Task { lines, dst, pixels, columns } = task;
        let mut buffer = Scratch::new(pixels.len() * columns.len());
        let mut values = MatMut::new(&mut buffer, pixels.len(), columns.len());
        products(stencil, source, packed, lines, columns.clone(), &mut values);
        finish(Tile { values, pixels, columns }, dst)
    })
}

struct Task<'a> {
    lines: Range<usize>,
    dst: MatMut<'a>,
    pixels: Range<usize>,
    columns: Range<usize>,
}

fn run<T: Send>(
    stencil: &Stencil,
    dst: MatMut<'_>,
    work: impl Fn(Task<'_>) -> T + Sync,
) -> Vec<(usize, T)> {
    let width = dst.width();
    if dst.height() == 0 || width == 0 {
        return Vec::new();
    }
    let tiles = split(stencil);
    // Few tiles: their columns are shared, too.
    let groups = if tiles.len() < 4 { 4 } else { 1 };
    let group = width.div_ceil(groups).next_multiple_of(PANEL);
    let counts: Vec<usize> = tiles.iter().map(|lines| pixels_of(stencil, lines.clone())).collect();
    let mut first = 0;
    let mut tasks = Vec::new();
    for ((lines, rows), dst) in tiles.into_iter().zip(&counts).zip(dst.split_rows_by(&counts)) {
        let pixels = first..first + rows;
        first += rows;
        for (i, dst) in dst.split_cols(group).into_iter().enumerate() {
            let columns = i * group..i * group + dst.width();
            tasks.push(Task { lines: lines.clone(), dst, pixels: pixels.clone(), columns });
        }
    }
    tasks.into_par_iter().map(|task| (task.columns.start, work(task))).collect()
}

fn products(
    stencil: &Stencil,
    source: Source<'_>,
    packed: &Packed,
    lines: Range<usize>,
    columns: Range<usize>,
    dst: &mut MatMut<'_>,
) {
    let window = Window::new(stencil, lines.clone());
    let spread = window.pixel != stencil.channels;
    if stencil.pointwise() && source.activation.is_none() && !spread {
        let reading = Reading::direct(stencil, lines, source.stride);
        let gather = Gather { values: source.values, pixels: &reading.pixels, runs: &reading.runs };
        let panels = packed.columns(0, stencil, columns.start, columns.len());
        return multiply(gather, panels, dst, &reading.rows);
    }
    let mut held = Scratch::new(window.len);
    for segment in &window.segments {
        source.fill(stencil, &window, segment, &mut held);
    }
    for (i, class) in stencil.classes.iter().enumerate() {
        let reading = Reading::new(stencil, class, &window);
        let gather = Gather { values: &held, pixels: &reading.pixels, runs: &reading.runs };
        let panels = packed.columns(i, stencil, columns.start, columns.len());
        multiply(gather, panels, dst, &reading.rows);
    }
}
