//! Which pixels a convolution reads for each pixel it writes, forward and for its input's gradient.

use std::ops::Range;

use candle_core::{Result, bail};

use super::kernel::Run;

/// Sizes of one convolution on one batch. Pictures are `[batch, height, width, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) input: [usize; 2],
    pub(crate) in_channels: usize,
    pub(crate) output: [usize; 2],
    pub(crate) out_channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
}

impl Geometry {
    /// # Errors
    /// When the kernel does not fit the padded picture, a step or the kernel is 0, or nothing comes
    /// out of it.
    pub(crate) fn new(
        (batch, input): (usize, [usize; 2]),
        [out_channels, in_channels, height, width]: [usize; 4],
        (stride, padding, dilation): (usize, usize, usize),
    ) -> Result<Self> {
        let kernel = [height, width];
        let output = |i: usize| match (kernel[i], stride, dilation) {
            (0, ..) | (_, 0, _) | (.., 0) => None,
            _ => (input[i] + 2 * padding)
                .checked_sub(dilation * (kernel[i] - 1) + 1)
                .map(|room| room / stride + 1),
        };
        let (Some(rows), Some(columns)) = (output(0), output(1)) else {
            bail!(
                "a kernel of {kernel:?}, stride {stride}, padding {padding}, dilation {dilation} \
                 does not fit a picture of {input:?}"
            )
        };
        if out_channels == 0 {
            bail!("a convolution of {in_channels} channels to 0");
        }
        Ok(Self {
            batch,
            input,
            in_channels,
            output: [rows, columns],
            out_channels,
            kernel,
            stride,
            padding,
            dilation,
        })
    }

    pub(crate) fn in_pixels(&self) -> usize {
        self.batch * self.input[0] * self.input[1]
    }

    pub(crate) fn out_pixels(&self) -> usize {
        self.batch * self.output[0] * self.output[1]
    }

    /// Of the weights, `[out, in, rows, columns]`.
    pub(crate) fn weights(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel[0] * self.kernel[1]
    }

    /// Reading the input, writing the output.
    pub(crate) fn forward(&self) -> Stencil {
        let from = |at: usize, _: usize| (at * self.dilation) as isize - self.padding as isize;
        let taps = self.taps(from);
        Stencil::new(
            (self.batch, self.input, self.output),
            (self.in_channels, self.stride, 1),
            vec![([0, 0], taps)],
        )
    }

    /// Reading the output's gradient, writing the input's. Pixels of the input differ in which
    /// taps reach them: there is a class for each remainder by the stride.
    pub(crate) fn backward(&self) -> Stencil {
        let stride = self.stride as isize;
        let classes = (0..self.stride).flat_map(|y| (0..self.stride).map(move |x| [y, x]));
        let class = |start: [usize; 2]| {
            let from = |at: usize, axis: usize| {
                (start[axis] + self.padding) as isize - (at * self.dilation) as isize
            };
            let mut taps = self.taps(from);
            taps.retain(|tap| tap.y % stride == 0 && tap.x % stride == 0);
            for tap in &mut taps {
                (tap.y, tap.x) = (tap.y / stride, tap.x / stride);
            }
            (start, taps)
        };
        Stencil::new(
            (self.batch, self.output, self.input),
            (self.out_channels, 1, self.stride),
            classes.map(class).collect(),
        )
    }

    /// Every place of the kernel; `from` gives the row or column (axis 0 or 1) that it reads.
    fn taps(&self, from: impl Fn(usize, usize) -> isize) -> Vec<Tap> {
        let [rows, columns] = self.kernel;
        (0..rows * columns)
            .map(|weight| Tap {
                weight,
                y: from(weight / columns, 0),
                x: from(weight % columns, 1),
            })
            .collect()
    }
}

/// One place of the kernel and the pixel it reads, from the pixel that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) weight: usize,
    pub(crate) y: isize,
    pub(crate) x: isize,
}

/// Pixels written from the same taps: those that leave the remainder `start`.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) start: [usize; 2],
    /// Sorted by row and column.
    pub(crate) taps: Vec<Tap>,
}

/// A map of pictures in which every pixel written is a product of pixels read.
///
/// Line `l` of a sample stands for the rows `l · out_step ..` it writes; pixel `(l, i)` of a class
/// writes `(l · out_step + start, i · out_step + start)` and reads `(l · in_step + y, …)`.
#[derive(Debug, Clone)]
pub(crate) struct Stencil {
    pub(crate) batch: usize,
    pub(crate) from: [usize; 2],
    pub(crate) to: [usize; 2],
    /// Values read of each pixel.
    pub(crate) channels: usize,
    pub(crate) in_step: usize,
    pub(crate) out_step: usize,
    pub(crate) classes: Vec<Class>,
    /// First and last row and column that a tap reads, from the pixel that is written.
    pub(crate) reach: [(isize, isize); 2],
}

impl Stencil {
    fn new(
        (batch, from, to): (usize, [usize; 2], [usize; 2]),
        (channels, in_step, out_step): (usize, usize, usize),
        classes: Vec<([usize; 2], Vec<Tap>)>,
    ) -> Self {
        let class = |(start, mut taps): ([usize; 2], Vec<Tap>)| {
            taps.sort_by_key(|tap| (tap.y, tap.x));
            Class { start, taps }
        };
        let classes: Vec<Class> = classes.into_iter().map(class).collect();
        let reach = |place: fn(&Tap) -> isize| {
            let places = || classes.iter().flat_map(|class| class.taps.iter().map(place));
            (places().min().unwrap_or(0), places().max().unwrap_or(0))
        };
        let reach = [reach(|tap| tap.y), reach(|tap| tap.x)];
        Self { batch, from, to, channels, in_step, out_step, classes, reach }
    }

    /// Lines of one sample.
    pub(crate) fn lines(&self) -> usize {
        self.to[0].div_ceil(self.out_step)
    }

    /// Whether each pixel is a product of one pixel read, all of them inside the picture.
    pub(crate) fn pointwise(&self) -> bool {
        self.classes.len() == 1
            && self.classes[0].taps.len() == 1
            && self.reach == [(0, 0), (0, 0)]
            && (0..2).all(|i| (self.to[i].max(1) - 1) * self.in_step < self.from[i])
    }

    /// Columns of the window that a line reads.
    fn window_width(&self) -> usize {
        let columns = self.to[1].div_ceil(self.out_step).max(1);
        let (first, last) = self.reach[1];
        (columns - 1) * self.in_step + (last - first) as usize + 1
    }

    /// Rows of the window that some lines of one sample read.
    fn window_height(&self, lines: usize) -> usize {
        let (first, last) = self.reach[0];
        (lines.max(1) - 1) * self.in_step + (last - first) as usize + 1
    }

    /// Values of the window of one line.
    pub(crate) fn line_values(&self) -> usize {
        self.in_step * self.window_width() * self.channels
    }
}

/// Some lines of one sample, and where their window begins in a buffer.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) sample: usize,
    pub(crate) lines: Range<usize>,
    pub(crate) start: usize,
}

/// A window onto the pictures read: what some lines need, with zeros around the picture, so that
/// every tap is at the same distance from its pixel.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) segments: Vec<Segment>,
    /// Distance of pixels.
    pub(crate) pixel: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Values in all.
    pub(crate) len: usize,
}

impl Window {
    /// The window of `lines`, counted over all samples.
    pub(crate) fn new(stencil: &Stencil, lines: Range<usize>) -> Self {
        let (per_sample, width) = (stencil.lines(), stencil.window_width());
        // Pixels whose distance is a multiple of 4 KiB would meet in the same lines of the cache.
        // Taps that lie side by side are read in one run, so only single ones can be spread.
        let single = stencil.classes.iter().all(|class| class.taps.len() <= 1);
        let spread = if single && stencil.channels.is_multiple_of(512) { 16 } else { 0 };
        let pixel = stencil.channels + spread;
        let mut segments = Vec::new();
        let (mut line, mut len) = (lines.start, 0);
        while line < lines.end {
            let sample = line / per_sample;
            let end = lines.end.min((sample + 1) * per_sample);
            let own = line - sample * per_sample..end - sample * per_sample;
            let height = stencil.window_height(own.len());
            segments.push(Segment { sample, lines: own, start: len });
            len += height * width * pixel;
            line = end;
        }
        Self { segments, pixel, width, len }
    }

    /// Rows of the pictures that a segment reads; those outside are zero.
    pub(crate) fn rows(&self, stencil: &Stencil, segment: &Segment) -> Range<isize> {
        let first = (segment.lines.start * stencil.in_step) as isize + stencil.reach[0].0;
        first..first + stencil.window_height(segment.lines.len()) as isize
    }
}

/// How the pixels of a class are read from a buffer.
pub(crate) struct Reading {
    /// Where each pixel begins.
    pub(crate) pixels: Vec<usize>,
    /// Which row each writes, from the first that the lines write.
    pub(crate) rows: Vec<usize>,
    pub(crate) runs: Vec<Run>,
}

impl Reading {
    /// From a window.
    pub(crate) fn new(stencil: &Stencil, class: &Class, window: &Window) -> Self {
        let line = stencil.in_step * window.width * window.pixel;
        let place = |segment: &Segment, y: usize, x: usize| {
            segment.start + (y - segment.lines.start) * line + x * stencil.in_step * window.pixel
        };
        let (pixels, rows) = Self::pixels(stencil, class, &window.segments, place);
        let [(top, _), (left, _)] = stencil.reach;
        let mut runs: Vec<Run> = Vec::new();
        for tap in &class.taps {
            let (y, x) = ((tap.y - top) as usize, (tap.x - left) as usize);
            let offset = (y * window.width + x) * window.pixel;
            match runs.last_mut() {
                Some(run) if run.offset + run.len == offset => run.len += stencil.channels,
                _ => runs.push(Run { offset, len: stencil.channels }),
            }
        }
        Self { pixels, rows, runs }
    }

    /// Of a [`Stencil::pointwise`] from the pictures themselves, whose pixels are `pixel` apart.
    pub(crate) fn direct(stencil: &Stencil, lines: Range<usize>, pixel: usize) -> Self {
        let window = Window::new(stencil, lines);
        let [height, width] = stencil.from;
        let place = |segment: &Segment, y: usize, x: usize| {
            ((segment.sample * height + y * stencil.in_step) * width + x * stencil.in_step) * pixel
        };
        let (pixels, rows) = Self::pixels(stencil, &stencil.classes[0], &window.segments, place);
        Self { pixels, rows, runs: vec![Run { offset: 0, len: stencil.channels }] }
    }

    fn pixels(
        stencil: &Stencil,
        class: &Class,
        segments: &[Segment],
        place: impl Fn(&Segment, usize, usize) -> usize,
    ) -> (Vec<usize>, Vec<usize>) {
        let (step, [height, width]) = (stencil.out_step, stencil.to);
        let columns = width.saturating_sub(class.start[1]).div_ceil(step);
        let (mut pixels, mut rows) = (Vec::new(), Vec::new());
        let mut first = 0;
        for segment in segments {
            for y in segment.lines.clone() {
                let row = y * step + class.start[0];
                if row >= height {
                    continue;
                }
                let row = first + (row - segment.lines.start * step) * width;
                pixels.extend((0..columns).map(|x| place(segment, y, x)));
                rows.extend((0..columns).map(|x| row + x * step + class.start[1]));
            }
            first += written(stencil, &segment.lines) * width;
        }
        (pixels, rows)
    }
}

/// Rows of one sample that some of its lines write.
pub(crate) fn written(stencil: &Stencil, lines: &Range<usize>) -> usize {
    let end = |line: usize| (line * stencil.out_step).min(stencil.to[0]);
    end(lines.end) - end(lines.start)
}

/// Pixels that lines, counted over all samples, write.
pub(crate) fn pixels_of(stencil: &Stencil, lines: Range<usize>) -> usize {
    let before = |line: usize| {
        let (samples, rest) = (line / stencil.lines(), line % stencil.lines());
        samples * stencil.to[0] + written(stencil, &(0..rest))
    };
    (before(lines.end) - before(lines.start)) * stencil.to[1]
}
