use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::cpu::values::{Values, served, tensor};
use crate::{TokenRows, composite, gather_tokens};

/// How the values of one patch are ordered in a row of [`patchify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOrder {
    /// `(channel, row, column)`: the order of a convolution's weight, for patch embedding.
    ChannelFirst,
    /// `(row, column, channel)`: the order of MAE's reconstruction target.
    ChannelLast,
}

/// Cuts pictures into square patches, row by row.
///
/// `images` is `[B, C, H, W]` with both sides multiples of `patch`; the result is
/// `[B, (H/patch)·(W/patch), C·patch²]`, token `t = r · (W/patch) + c`.
///
/// # Errors
/// When a side is not a multiple of `patch`.
pub fn patchify(images: &Tensor, patch: usize, order: PatchOrder) -> Result<Tensor> {
    let (batch, channels, rows, columns) = grid(images, patch)?;
    let count = rows * columns;
    if batch == 0 || !served(&[images]) || images.track_op() {
        return composite::patchify(images, patch, order, (batch, channels, rows, columns));
    }
    let ids: Vec<u32> = (0..count as u32).collect();
    cut(images, patch, order, &TokenRows::new(&ids.repeat(batch), batch, count)?)
}

/// [`patchify`], but only some patches of each picture: `[B, Q, C·patch²]`.
///
/// # Errors
/// As [`patchify`], or when the rows were made for another batch or number of patches.
pub fn patchify_rows(
    images: &Tensor,
    patch: usize,
    order: PatchOrder,
    picked: &TokenRows,
) -> Result<Tensor> {
    let (batch, _, rows, columns) = grid(images, patch)?;
    if picked.source() != (batch, rows * columns) {
        bail!("patchify: rows of {:?} (batch, patches) for {:?}", picked.source(), images.dims());
    }
    if served(&[images]) && !images.track_op() {
        return cut(images, patch, order, picked);
    }
    gather_tokens(&patchify(images, patch, order)?, picked)
}

/// Batch, channels, rows and columns of patches.
fn grid(images: &Tensor, patch: usize) -> Result<(usize, usize, usize, usize)> {
    let (batch, channels, height, width) = images.dims4()?;
    if patch == 0 || height % patch != 0 || width % patch != 0 {
        bail!("patchify: {height}x{width} pictures, patches of {patch}");
    }
    Ok((batch, channels, height / patch, width / patch))
}

/// Copies patches straight from the pictures.
fn cut(images: &Tensor, patch: usize, order: PatchOrder, picked: &TokenRows) -> Result<Tensor> {
    let (batch, channels, rows, columns) = grid(images, patch)?;
    let images = images.contiguous()?;
    let values = Values::new(&images)?;
    let (count, width) = (rows * columns, columns * patch);
    let (plane, size) = (count * patch * patch, channels * patch * patch);
    let mut out = vec![0.; picked.flat().len() * size];
    if size > 0 {
        out.par_chunks_mut(size).zip(picked.flat()).for_each(|(out, &id)| {
            let (sample, token) = (id as usize / count, id as usize % count);
            let corner = token / columns * patch * width + token % columns * patch;
            let line = |channel: usize, row: usize| {
                let start = (sample * channels + channel) * plane + corner + row * width;
                &values[start..start + patch]
            };
            match order {
                PatchOrder::ChannelFirst => {
                    for (i, out) in out.chunks_exact_mut(patch).enumerate() {
                        out.copy_from_slice(line(i / patch, i % patch));
                    }
                }
                PatchOrder::ChannelLast => {
                    for (row, out) in out.chunks_exact_mut(patch * channels).enumerate() {
                        for channel in 0..channels {
                            let places = out[channel..].iter_mut().step_by(channels);
                            places.zip(line(channel, row)).for_each(|(out, v)| *out = *v);
                        }
                    }
                }
            }
        });
    }
    tensor(out, (batch, picked.per_sample(), size))
}

/// The inverse of [`patchify`]: `[B, rows·columns, C·patch²]` to `[B, C, rows·patch,
/// columns·patch]`.
///
/// # Errors
/// When the tokens are not `rows · columns` or their width is not a multiple of `patch²`.
pub fn unpatchify(
    tokens: &Tensor,
    patch: usize,
    (rows, columns): (usize, usize),
    order: PatchOrder,
) -> Result<Tensor> {
    let (batch, count, width) = tokens.dims3()?;
    let area = patch * patch;
    if area == 0 || width % area != 0 || count != rows * columns {
        bail!("unpatchify: {count} tokens of {width} values, {rows}x{columns} patches of {patch}");
    }
    let channels = width / area;
    let images = match order {
        PatchOrder::ChannelFirst => tokens
            .reshape(&[batch, rows, columns, channels, patch, patch])?
            .permute([0, 3, 1, 4, 2, 5])?,
        PatchOrder::ChannelLast => tokens
            .reshape(&[batch, rows, columns, patch, patch, channels])?
            .permute([0, 5, 1, 3, 2, 4])?,
    };
    images.reshape((batch, channels, rows * patch, columns * patch))
}
