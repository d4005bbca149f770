use candle_core::{D, Result, Tensor, bail};

use crate::composite;
use crate::cpu::batch_norm::{self, Moments, Normed, Shortcut};
use crate::cpu::values::{Values, served, tensor};
use crate::optim::inplace::with_values;
use crate::record::{WithOutput, record};

/// The tensors of a batch norm, `[C]` each.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormParams<'a> {
    /// Factor.
    pub weight: &'a Tensor,
    /// Summand.
    pub bias: &'a Tensor,
    /// Running mean; a training pass changes it in place.
    pub running_mean: &'a Tensor,
    /// Running variance; a training pass changes it in place.
    pub running_var: &'a Tensor,
}

/// Settings of batch norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Share of the batch's statistics in the running ones after a training pass, as PyTorch's
    /// `momentum`.
    pub momentum: f64,
    /// Whether this pass trains: normalises by the batch's statistics and updates the running
    /// ones, instead of normalising by those.
    pub train: bool,
}

impl Default for BatchNormOptions {
    /// Evaluation with torchvision's settings.
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, train: false }
    }
}

impl<'a> BatchNormParams<'a> {
    pub(crate) fn served(&self) -> bool {
        served(&[self.weight, self.bias, self.running_mean, self.running_var])
    }

    /// # Errors
    /// When one of the tensors has another shape.
    pub(crate) fn check(&self, what: &str, channels: usize) -> Result<()> {
        for tensor in [self.weight, self.bias, self.running_mean, self.running_var] {
            if tensor.dims() != [channels] {
                bail!("{what}: a batch norm has {:?} for {channels} channels", tensor.dims());
            }
        }
        Ok(())
    }

    /// What the norm does: in training by the first channels of `moments`, which also go into the
    /// running statistics.
    pub(crate) fn normed(
        &self,
        moments: Option<&Moments>,
        options: &BatchNormOptions,
    ) -> Result<Normed> {
        let (weight, bias) = (self.weight.contiguous()?, self.bias.contiguous()?);
        let (weight, bias) = (Values::new(&weight)?, Values::new(&bias)?);
        let Some(moments) = moments else {
            let (mean, variance) =
                (self.running_mean.contiguous()?, self.running_var.contiguous()?);
            let given = [&*Values::new(&mean)?, &*Values::new(&variance)?];
            return Ok(Normed::given(given, &weight, &bias, options.eps as f32));
        };
        // A picture that is no number makes the loss none, and the batch can be left out; what went
        // into the running statistics would stay.
        if moments.are_finite() {
            update(self.running_mean, moments.mean(), options)?;
            update(self.running_var, moments.unbiased(), options)?;
        }
        Ok(Normed::by_batch(moments, &weight, &bias, options.eps as f32))
    }
}

fn update(
    running: &Tensor,
    values: impl Iterator<Item = f32>,
    options: &BatchNormOptions,
) -> Result<()> {
    let share = options.momentum as f32;
    with_values(running, |running| {
        for (running, value) in running.iter_mut().zip(values) {
            *running = (1. - share) * *running + share * value;
        }
        Ok(())
    })
}

/// An error unless there is a variance to normalise by, as in PyTorch.
pub(crate) fn check_rows(what: &str, rows: usize, options: &BatchNormOptions) -> Result<()> {
    if options.train && rows < 2 {
        bail!("{what}: {rows} values per channel have no variance to train with");
    }
    Ok(())
}

/// Batch normalisation of each channel (Ioffe and Szegedy, arXiv 1502.03167), cut off at zero if
/// `relu`: `(x − mean) / √(var + eps) · weight + bias`.
///
/// `x` is `[…, C]`. In training mean and biased variance are those of the batch, and
/// `running ← (1 − momentum) · running + momentum · batch` with the unbiased variance, in place and
/// without a gradient; a batch whose statistics are not finite leaves the running ones as they are.
/// In evaluation they are the running ones. The variance is taken of the
/// centred values, so a large mean costs no digits.
///
/// # Errors
/// When shapes do not fit, or in training with fewer than two values per channel.
pub fn batch_norm(
    x: &Tensor,
    params: &BatchNormParams<'_>,
    options: &BatchNormOptions,
    relu: bool,
) -> Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    params.check("batch norm", channels)?;
    let rows = x.elem_count().checked_div(channels).unwrap_or(0);
    check_rows("batch norm", rows, options)?;
    if !served(&[x]) || !params.served() || x.elem_count() == 0 {
        return composite::batch_norm(x, params, options, relu);
    }
    let x = x.contiguous()?;
    let values = Values::new(&x)?;
    let moments = options.train.then(|| Moments::of_rows(&values, channels, channels));
    let normed = params.normed(moments.as_ref(), options)?;
    let mut y = vec![0.; values.len()];
    batch_norm::finish(&values, &normed, Shortcut::None, relu, &mut y);
    drop(values);
    let kept = x.clone();
    let inputs = [Some(&x), Some(params.weight), Some(params.bias)];
    record(
        "batch-norm",
        y,
        x.shape(),
        &inputs,
        WithOutput(move |y: &Tensor, grad: &Tensor| {
            let (x, y, dy) = (Values::new(&kept)?, Values::new(y)?, Values::new(grad)?);
            let mut g = vec![0.; dy.len()];
            let sums = batch_norm::start_back(&dy, relu.then_some(&y), &x, &normed, &mut g);
            let (weight, bias) = normed.parameter_grads(&sums);
            let mut dx = vec![0.; if kept.track_op() { dy.len() } else { 0 }];
            if kept.track_op() {
                let correction = normed.correction(&sums);
                batch_norm::input_grad(&g, &x, &normed, correction.as_ref(), &mut dx);
            }
            let dx = kept.track_op().then(|| tensor(dx, kept.shape())).transpose()?;
            Ok(vec![dx, Some(tensor(weight, channels)?), Some(tensor(bias, channels)?)])
        }),
    )
}
