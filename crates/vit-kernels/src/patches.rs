use candle_core::{Result, Tensor};

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
    let (batch, channels, height, width) = images.dims4()?;
    if patch == 0 || height % patch != 0 || width % patch != 0 {
        candle_core::bail!("patchify: {height}x{width} pictures, patches of {patch}");
    }
    let (rows, columns) = (height / patch, width / patch);
    let split = images.reshape(&[batch, channels, rows, patch, columns, patch])?;
    let sorted = match order {
        PatchOrder::ChannelFirst => split.permute([0, 2, 4, 1, 3, 5])?,
        PatchOrder::ChannelLast => split.permute([0, 2, 4, 3, 5, 1])?,
    };
    sorted.reshape((batch, rows * columns, channels * patch * patch))
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
        candle_core::bail!(
            "unpatchify: {count} tokens of {width} values, {rows}x{columns} patches of {patch}"
        );
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
