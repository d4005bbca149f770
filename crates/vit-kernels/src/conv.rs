use candle_core::{Result, Tensor, bail};

use crate::composite;
use crate::cpu::columns;
use crate::cpu::conv::{self, Geometry, Packed, Source};
use crate::cpu::mat::MatMut;
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

/// Step, border and spread of a convolution, the same for rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Pixels of the input from one pixel of the output to the next.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
    /// Pixels from one weight to the next; 1 for a dense kernel.
    pub dilation: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1 }
    }
}

/// Two-dimensional convolution, as PyTorch's `Conv2d` with one group, of pictures with the channels
/// last.
///
/// `x` is `[B, H, W, in]`, `weight` `[out, in, kh, kw]` (PyTorch's layout), `bias` `[out]`; the
/// result is `[B, H', W', out]` with `H' = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1`.
/// A frozen weight, bias or input costs nothing in the backward pass.
///
/// # Errors
/// When shapes do not fit, or the kernel is larger than the padded picture.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: Conv2dOptions,
) -> Result<Tensor> {
    let geometry = geometry(x, weight, options)?;
    if let Some(bias) = bias.filter(|bias| bias.dims() != [geometry.out_channels]) {
        bail!("conv2d: weight {:?}, bias {:?}", weight.dims(), bias.dims());
    }
    if !served(&[x, weight]) || !bias.is_none_or(|bias| served(&[bias])) {
        return composite::conv2d(x, weight, bias, options);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let Geometry { in_channels, out_channels, output: [rows, columns], .. } = geometry;
    let mut y = vec![0.; geometry.out_pixels() * out_channels];
    {
        let (values, weight) = (Values::new(&x)?, Values::new(&weight)?);
        let stencil = geometry.forward();
        let packed = Packed::forward(&geometry, &stencil, &weight);
        let dst = MatMut::new(&mut y, geometry.out_pixels(), out_channels);
        conv::forward(&stencil, Source::plain(&values, in_channels), &packed, dst, |_| ());
    }
    if let Some(bias) = bias {
        columns::add_bias(&mut y, &Values::new(&bias.contiguous()?)?);
    }
    let shape = (geometry.batch, rows, columns, out_channels);
    let (kept, bias_tracked) = ((x.clone(), weight.clone()), bias.is_some_and(Tensor::track_op));
    record("conv2d", y, shape, &[Some(&x), Some(&weight), bias], move |grad: &Tensor| {
        let (x, weight) = &kept;
        let dy = Values::new(grad)?;
        let mut grads = vec![None, None, None];
        if x.track_op() {
            let mut dx = vec![0.; x.elem_count()];
            input_gradient(&geometry, &Values::new(weight)?, &dy, &mut dx);
            grads[0] = Some(tensor(dx, x.shape())?);
        }
        if weight.track_op() {
            let source = Values::new(x)?;
            let dweight = conv::gradient(&geometry, Source::plain(&source, in_channels), &dy);
            grads[1] = Some(tensor(dweight, weight.shape())?);
        }
        if bias_tracked {
            grads[2] = Some(tensor(columns::column_sums(&dy, out_channels), out_channels)?);
        }
        Ok(grads)
    })
}

fn geometry(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> Result<Geometry> {
    let (&[batch, height, width, channels], &[out, into, rows, columns]) =
        (x.dims(), weight.dims())
    else {
        bail!("conv2d: x {:?}, weight {:?}: four dimensions each", x.dims(), weight.dims())
    };
    if channels != into {
        bail!("conv2d: x {:?}, weight {:?}: channels come last in x", x.dims(), weight.dims());
    }
    let Conv2dOptions { stride, padding, dilation } = options;
    let steps = (stride, padding, dilation);
    Geometry::new((batch, [height, width]), [out, into, rows, columns], steps)
}

/// The whole gradient of a convolution's input, `[B, H, W, in]`.
fn input_gradient(geometry: &Geometry, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    let stencil = geometry.backward();
    let packed = Packed::backward(geometry, &stencil, weight);
    let dst = MatMut::new(dx, geometry.in_pixels(), geometry.in_channels);
    conv::forward(&stencil, Source::plain(dy, geometry.out_channels), &packed, dst, |_| ());
}
