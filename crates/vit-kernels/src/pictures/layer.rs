//! One convolution with a norm, as the fused operators use it.

use candle_core::{Result, Tensor, bail};

use super::norm::{BatchNormOptions, BatchNormParams};
use crate::Conv2dOptions;
use crate::cpu::batch_norm::{Moments, Normed, Sums, Through};
use crate::cpu::conv::{self, Geometry, Packed, Source, Tile};
use crate::cpu::mat::MatMut;
use crate::cpu::scratch::Scratch;
use crate::cpu::values::Values;

/// Sizes of a convolution of pictures `[batch, height, width, channels]`.
///
/// # Errors
/// When the weight has another number of channels or dimensions, or does not fit.
pub(crate) fn geometry(
    what: &str,
    [batch, height, width, channels]: [usize; 4],
    weight: &Tensor,
    options: Conv2dOptions,
) -> Result<Geometry> {
    let &[out, into, rows, columns] = weight.dims() else {
        bail!("{what}: a convolution's weight has {:?}", weight.dims())
    };
    if into != channels {
        bail!("{what}: a weight of {:?} for {channels} channels", weight.dims());
    }
    let Conv2dOptions { stride, padding, dilation } = options;
    Geometry::new((batch, [height, width]), [out, into, rows, columns], (stride, padding, dilation))
}

/// Shape of a convolution's output.
pub(crate) fn output_of(geometry: &Geometry) -> [usize; 4] {
    let [rows, columns] = geometry.output;
    [geometry.batch, rows, columns, geometry.out_channels]
}

/// The convolution's output, `dst`, and its moments in training.
pub(crate) fn convolve(
    geometry: &Geometry,
    source: Source<'_>,
    weight: &Tensor,
    dst: MatMut<'_>,
    moments: bool,
) -> Result<Option<Moments>> {
    let weight = weight.contiguous()?;
    let stencil = geometry.forward();
    let packed = Packed::forward(geometry, &stencil, &Values::new(&weight)?);
    let parts = conv::forward(&stencil, source, &packed, dst, |tile: Tile<'_>| {
        if moments { Moments::of(tile.values) } else { Moments::default() }
    });
    Ok(moments.then(|| Moments::join(geometry.out_channels, &parts)))
}

/// The gradient of a convolution's input, added to `dst` or put there.
pub(crate) fn back_plain(
    geometry: &Geometry,
    weight: &Tensor,
    grad: &[f32],
    dst: MatMut<'_>,
    add: bool,
) -> Result<()> {
    let weight = weight.contiguous()?;
    let stencil = geometry.backward();
    let packed = Packed::backward(geometry, &stencil, &Values::new(&weight)?);
    let source = Source::plain(grad, geometry.out_channels);
    if add {
        conv::into(&stencil, source, &packed, dst, |mut tile: Tile<'_>, mut dst| {
            for row in 0..dst.height() {
                let values = tile.values.row_mut(row);
                dst.row_mut(row).iter_mut().zip(values).for_each(|(dst, x)| *dst += *x);
            }
        });
    } else {
        conv::forward(&stencil, source, &packed, dst, |_| ());
    }
    Ok(())
}

/// The gradient of a convolution's input back through `max(0, norm(…))` of `through`: `scale · g`,
/// added to `dst` or put there, and the norm's sums.
pub(crate) fn back_through(
    geometry: &Geometry,
    weight: &Tensor,
    grad: &[f32],
    through: Through<'_>,
    dst: MatMut<'_>,
    add: bool,
) -> Result<Sums> {
    let weight = weight.contiguous()?;
    let stencil = geometry.backward();
    let packed = Packed::backward(geometry, &stencil, &Values::new(&weight)?);
    let source = Source::plain(grad, geometry.out_channels);
    let back = |tile: Tile<'_>, dst: MatMut<'_>| through.back(tile, dst, add);
    let parts = conv::into(&stencil, source, &packed, dst, back);
    Ok(Sums::join(geometry.in_channels, &parts))
}

/// A convolution's output with the norm behind it.
pub(crate) struct Layer {
    pub(crate) geometry: Geometry,
    pub(crate) values: Scratch,
    pub(crate) normed: Normed,
}

impl Layer {
    pub(crate) fn forward(
        geometry: Geometry,
        source: Source<'_>,
        weight: &Tensor,
        norm: &BatchNormParams<'_>,
        options: &BatchNormOptions,
    ) -> Result<Self> {
        let mut values = Scratch::new(geometry.out_pixels() * geometry.out_channels);
        let dst = MatMut::new(&mut values, geometry.out_pixels(), geometry.out_channels);
        let moments = convolve(&geometry, source, weight, dst, options.train)?;
        let normed = norm.normed(moments.as_ref(), options)?;
        Ok(Self { geometry, values, normed })
    }

    /// What the next convolution reads: the output normalised and cut off.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            activation: Some(self.normed.activation()),
            ..Source::plain(&self.values, self.geometry.out_channels)
        }
    }

    pub(crate) fn through(&self) -> Through<'_> {
        let stride = self.geometry.out_channels;
        Through { values: &self.values, stride, normed: &self.normed }
    }
}
