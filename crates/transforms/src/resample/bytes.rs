//! Resampling of 8-bit values with Pillow's integers.
//!
//! Both passes keep their sums in vector registers: along the columns those of neighbouring values
//! of a row, along the rows those of one value in neighbouring rows, which are turned beforehand.
//! Sums wrap rather than overflow: with our filters they cannot, but a debug build would pay for
//! the check.

use pulp::{Arch, Simd, WithSimd};

use super::{Filter, Rows, Taps, passes, taps};

/// Fraction bits of the integer weights: 8 bits of value and 2 bits of overshoot remain of 32.
const PRECISION: u32 = 22;

/// Accumulators begin with half a unit, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION - 1);

#[inline(always)]
fn round_u8(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Weights in fixed point, rounded half away from zero.
fn fixed_taps(input: usize, output: usize, filter: Filter) -> Taps<i32> {
    taps(input, output, filter)
        .map(|weight| (weight * f64::from(1 << PRECISION) + 0.5f64.copysign(weight)) as i32)
}

/// Resamples rows of `channels` (1 or 3) interleaved values to `to` (width, height).
pub(super) fn resample(
    picture: Rows<u8>,
    channels: usize,
    to: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    let horizontal = |rows: Rows<u8>| {
        let taps = fixed_taps(rows.length / channels, to.0, filter);
        if channels == 1 { along_rows::<1>(rows, &taps) } else { along_rows::<3>(rows, &taps) }
    };
    let vertical = |rows: Rows<u8>| along_columns(rows, &fixed_taps(rows.count, to.1, filter));
    passes(picture, channels, to, horizontal, vertical)
}

/// Rows that are worked on together, a lane each.
const LANES: usize = 16;
/// One value of each of these rows.
type Lane = [u8; LANES];

fn along_rows<const C: usize>(rows: Rows<u8>, taps: &Taps<i32>) -> Vec<u8> {
    let mut out = vec![0; rows.count * taps.len() * C];
    Arch::new().dispatch(AlongRows::<C> { rows, taps, out: &mut out });
    out
}

/// What is compiled for each set of instructions; the best that the processor has is run. (A
/// closure would not be inlined into the function that has them.)
struct AlongRows<'a, const C: usize> {
    rows: Rows<'a, u8>,
    taps: &'a Taps<i32>,
    out: &'a mut [u8],
}

impl<const C: usize> WithSimd for AlongRows<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, taps, out } = self;
        let width = taps.len() * C;
        let mut block = vec![[0; LANES]; rows.length];
        let mut sums = vec![[0; LANES]; width];
        let mut result = vec![[0; LANES]; width];
        let lines: Vec<&[u8]> = rows.iter().collect();
        for (lines, out) in lines.chunks(LANES).zip(out.chunks_mut(width * LANES)) {
            turn_rows(lines, &mut block);
            weigh_block::<C>(&block, taps, &mut sums);
            for (result, &sum) in result.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                *result = round_u8(sum);
            }
            turn_back(&result, out);
        }
    }
}

/// The sums of one block of turned rows.
#[inline(always)]
fn weigh_block<const C: usize>(block: &[Lane], taps: &Taps<i32>, out: &mut [[i32; LANES]]) {
    let (pixels, _) = block.as_chunks::<C>();
    let (outs, _) = out.as_chunks_mut::<C>();
    for ((start, weights), out) in taps.iter().zip(outs) {
        let mut sums = [[HALF; LANES]; C];
        for (pixel, &weight) in pixels.iter().skip(start).zip(weights) {
            for (sums, values) in sums.iter_mut().zip(pixel) {
                add_weighted(sums, values, weight);
            }
        }
        *out = sums;
    }
}

#[inline(always)]
fn add_weighted<const N: usize>(sums: &mut [i32; N], values: &[u8; N], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
    }
}

/// Side of the squares of bytes that are turned in registers.
const SIDE: usize = 8;

/// Swaps rows and columns of 8 × 8 bytes, a row in each number: blocks of 4, then 2, then 1.
#[inline(always)]
fn transpose(mut rows: [u64; SIDE]) -> [u64; SIDE] {
    const STEPS: [(usize, u64); 3] =
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)];
    for (distance, mask) in STEPS {
        let shift = 8 * distance;
        for pair in 0..SIDE / 2 {
            let low = pair / distance * 2 * distance + pair % distance;
            let high = low + distance;
            let (a, b) = (rows[low % SIDE], rows[high % SIDE]);
            let swap = ((a >> shift) ^ b) & mask;
            rows[low % SIDE] = a ^ (swap << shift);
            rows[high % SIDE] = b ^ swap;
        }
    }
    rows
}

/// Puts the values of up to 16 rows side by side. Lanes without a row get the last one.
#[inline(always)]
fn turn_rows(lines: &[&[u8]], block: &mut [Lane]) {
    let line = |lane: usize| lines.get(lane).or(lines.last()).copied().unwrap_or_default();
    for half in 0..LANES / SIDE {
        let lines: [&[u8]; SIDE] = std::array::from_fn(|i| line(half * SIDE + i));
        let squares = lines.map(|line| line.as_chunks::<SIDE>().0);
        for (at, lanes) in block.chunks_mut(SIDE).enumerate() {
            let square: [_; SIDE] = std::array::from_fn(|i| match squares[i].get(at) {
                Some(values) => u64::from_le_bytes(*values),
                None => partial(lines[i], at),
            });
            for (lane, column) in lanes.iter_mut().zip(transpose(square)) {
                lane.as_chunks_mut::<SIDE>().0[half] = column.to_le_bytes();
            }
        }
    }
}

/// The last square of a row, filled up with zeros.
fn partial(line: &[u8], at: usize) -> u64 {
    let mut values = [0; SIDE];
    for (slot, &value) in values.iter_mut().zip(line.iter().skip(at * SIDE)) {
        *slot = value;
    }
    u64::from_le_bytes(values)
}

/// The reverse of [`turn_rows`], into as many rows as there are in `out`.
#[inline(always)]
fn turn_back(result: &[Lane], out: &mut [u8]) {
    for (half, rows) in out.chunks_mut(result.len() * SIDE).enumerate() {
        for (at, lanes) in result.chunks(SIDE).enumerate() {
            let square = std::array::from_fn(|j| {
                let lane = lanes.get(j).copied().unwrap_or_default();
                u64::from_le_bytes(lane.as_chunks::<SIDE>().0[half])
            });
            let turned = transpose(square);
            for (row, values) in rows.chunks_exact_mut(result.len()).zip(turned) {
                let values = values.to_le_bytes();
                match row.get_mut(at * SIDE..(at + 1) * SIDE) {
                    Some(slot) => slot.copy_from_slice(&values),
                    None => row.iter_mut().skip(at * SIDE).zip(values).for_each(|(s, v)| *s = v),
                }
            }
        }
    }
}

/// Neighbouring sums that are kept in registers.
const TILE: usize = 64;

fn along_columns(rows: Rows<u8>, taps: &Taps<i32>) -> Vec<u8> {
    let mut out = vec![0; rows.length * taps.len()];
    Arch::new().dispatch(AlongColumns { rows, taps, out: &mut out });
    out
}

struct AlongColumns<'a> {
    rows: Rows<'a, u8>,
    taps: &'a Taps<i32>,
    out: &'a mut [u8],
}

impl WithSimd for AlongColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, taps, out } = self;
        let lines: Vec<&[u8]> = rows.iter().collect();
        for ((start, weights), out) in taps.iter().zip(out.chunks_exact_mut(rows.length)) {
            let window = lines.get(start..start + weights.len()).unwrap_or_default();
            weigh_lines(window, weights, out);
        }
    }
}

/// The weighted sum of some rows.
#[inline(always)]
fn weigh_lines(window: &[&[u8]], weights: &[i32], out: &mut [u8]) {
    let length = out.len();
    let Some(last) = length.checked_sub(TILE) else {
        for (at, out) in out.iter_mut().enumerate() {
            let values = window.iter().filter_map(|line| line.get(at));
            let terms = values.zip(weights).map(|(&value, &w)| i32::from(value).wrapping_mul(w));
            *out = round_u8(terms.fold(HALF, i32::wrapping_add));
        }
        return;
    };
    // The last tile overlaps the one before it where the length is no multiple.
    for at in (0..length).step_by(TILE).map(|at| at.min(last)) {
        let mut sums = [HALF; TILE];
        for (line, &weight) in window.iter().zip(weights) {
            if let Some(values) = line.get(at..).and_then(|line| line.first_chunk::<TILE>()) {
                add_weighted(&mut sums, values, weight);
            }
        }
        if let Some(slot) = out.get_mut(at..).and_then(|out| out.first_chunk_mut::<TILE>()) {
            *slot = sums.map(round_u8);
        }
    }
}
