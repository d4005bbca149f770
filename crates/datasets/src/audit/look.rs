//! What a picture looks like from afar: what near duplicates are compared on.

use vit_random::Streams;
use vit_transforms::{Filter, Image, Pixels, Resize, ResizeSize, ToGrey, Transform};

/// Bits of the hash.
pub(super) const HASH_BITS: u32 = 256;

/// Side of the miniature.
const SMALL: usize = 32;

/// Steps below this, in miniatures of norm 1, are what rounding leaves of equal neighbours.
const EQUAL: f32 = 1e-5;

/// Bit y · 16 + x: whether the picture, shrunk to 17 × 16 grey values, is brighter at x + 1 than at
/// x. The "difference hash" of N. Krawetz, "Kind of like that", hackerfactor.com, 2013, with 256 bits
/// instead of 64: radiographs of different patients are alike in 64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bits([u64; 4]);

impl Bits {
    /// Set bits: those of near hashes are near.
    pub(super) fn ones(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Bits that differ.
    #[inline]
    pub(super) fn distance(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    pub(super) fn counts(self) -> Counts {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let mut counts = Counts([0; 32]);
        for (count, byte) in counts.0.iter_mut().zip(bytes) {
            *count = byte.count_ones() as u8;
        }
        counts
    }
}

/// Set bits of each byte of a hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts([u8; 32]);

impl Counts {
    /// No more than the bits that differ, and much faster: processors have an instruction for sums
    /// of differences of bytes, and the most common ones none that is used for counting bits.
    #[inline]
    pub(super) fn at_least(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    }
}

/// What is compared of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    pub(super) bits: Bits,
    /// 32 × 32 values of mean 0 and norm 1.
    small: Vec<f32>,
}

/// How a picture was turned or mirrored: the source of a pixel in rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    transposed: bool,
    columns: bool,
    rows: bool,
}

impl Turn {
    /// All but that which changes nothing.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let bit = |number: u8, bit: u8| number & bit != 0;
        (1..8).map(move |n| Self { transposed: bit(n, 4), columns: bit(n, 2), rows: bit(n, 1) })
    }

    pub(super) fn name(self) -> &'static str {
        match (self.transposed, self.columns, self.rows) {
            (false, true, true) => "turned by 180 degrees",
            (false, false, true) => "mirrored top to bottom",
            (false, ..) => "mirrored",
            (true, columns, rows) if columns != rows => "turned by 90 degrees",
            (true, ..) => "mirrored and turned by 90 degrees",
        }
    }
}

impl Look {
    /// `None` for a picture without contrast: those all look the same.
    pub(super) fn of(image: &Image) -> vit_transforms::Result<Option<Self>> {
        // Shrunk first: the other steps are then done on few pixels.
        let small = shrunk(image.to_f32(), SMALL, SMALL)?;
        let small = ToGrey.apply(small, &mut Streams::new(0).stream("none", 0, 0))?;
        let Pixels::F32(values) = small.pixels() else { return Ok(None) };
        match standardise(values, level(image, values)) {
            Some(small) => Self::of_small(small).map(Some),
            None => Ok(None),
        }
    }

    fn of_small(small: Vec<f32>) -> vit_transforms::Result<Self> {
        let miniature = Image::new(SMALL, SMALL, 1, Pixels::F32(small.clone()))?;
        let steps = shrunk(miniature, 17, 16)?;
        let mut bits = [0u64; 4];
        if let Pixels::F32(steps) = steps.pixels() {
            let brighter =
                steps.chunks_exact(17).flat_map(|row| row.windows(2)).map(|pair| match pair {
                    [left, right] => u64::from(right - left > EQUAL),
                    _ => 0,
                });
            for (place, bit) in brighter.enumerate() {
                if let Some(word) = bits.get_mut(place / 64) {
                    *word |= bit << (place % 64);
                }
            }
        }
        Ok(Self { bits: Bits(bits), small })
    }

    /// Correlation of the small pictures, -1 to 1.
    pub(super) fn correlation(&self, other: &Self) -> f32 {
        // Several sums at a time; the order of one is too long a chain for the processor.
        let mut sums = [0f32; 16];
        let (a, b) = (self.small.as_chunks::<16>().0, other.small.as_chunks::<16>().0);
        for (a, b) in a.iter().zip(b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        sums.iter().sum()
    }

    /// The look of the turned picture: the miniature is square, so that shrinking and turning may
    /// change places.
    pub(super) fn turned(&self, turn: Turn) -> vit_transforms::Result<Self> {
        let flip = |at: usize, flipped: bool| if flipped { SMALL - 1 - at } else { at };
        let source = |place: usize| {
            let (y, x) = (place / SMALL, place % SMALL);
            let (y, x) = if turn.transposed { (x, y) } else { (y, x) };
            flip(y, turn.rows) * SMALL + flip(x, turn.columns)
        };
        let places = 0..self.small.len();
        let turned = places.filter_map(|place| self.small.get(source(place)).copied());
        Self::of_small(turned.collect())
    }
}

fn shrunk(image: Image, width: usize, height: usize) -> vit_transforms::Result<Image> {
    let size = ResizeSize::Exact { height, width };
    let mut unused = Streams::new(0).stream("none", 0, 0);
    Resize { size, filter: Filter::Bilinear }.apply(image, &mut unused)
}

/// One grey level as a share of full scale. Radiographs of 10 or 12 bits use a small part of 16.
fn level(image: &Image, small: &[f32]) -> f32 {
    match image.pixels() {
        Pixels::U8(_) => 1.0 / 255.0,
        Pixels::U16(_) => 1.0 / 65535.0,
        _ => {
            let least = small.iter().copied().fold(f32::INFINITY, f32::min);
            (small.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least) / 255.0
        }
    }
}

/// Mean 0 and norm 1; `None` where values differ by less than half a level, on average.
fn standardise(values: &[f32], level: f32) -> Option<Vec<f32>> {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let norm = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>().sqrt();
    let least = (values.len() as f32).sqrt() * 0.5 * level;
    (norm > least).then(|| values.iter().map(|value| (value - mean) / norm).collect())
}
