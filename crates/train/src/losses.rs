use candle_core::{Device, Result, Tensor, bail};

/// Cross entropy with label smoothing `s`: `(1 − s) · NLL + s · mean_k(−log p_k)`, mean over the
/// batch (Szegedy et al., arXiv 1512.00567). `logits` is `[B, K]`.
///
/// With `weights`, one per class, the weighted mean `Σ w·l / Σ w` as PyTorch has it.
///
/// # Errors
/// When a target is not a class, or the numbers of rows or weights do not fit.
pub fn cross_entropy(
    logits: &Tensor,
    targets: &[usize],
    smoothing: f64,
    weights: Option<&[f32]>,
) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    if targets.len() != batch {
        bail!("cross_entropy: {} targets for logits [{batch}, {classes}]", targets.len());
    }
    if let Some(weights) = weights.filter(|weights| weights.len() != classes) {
        bail!("cross_entropy: {} weights for logits [{batch}, {classes}]", weights.len());
    }
    // One soft target per row carries smoothing and weights in a single product.
    let mut soft = Vec::with_capacity(batch * classes);
    let mut total = 0f64;
    for &target in targets {
        if target >= classes {
            bail!("cross_entropy: class {target} of {classes}");
        }
        let weight = weights.and_then(|weights| weights.get(target)).copied().unwrap_or(1.);
        total += f64::from(weight);
        let off = smoothing / classes as f64;
        soft.extend((0..classes).map(|k| {
            let on = if k == target { 1. - smoothing } else { 0. };
            f64::from(weight) * (on + off)
        }));
    }
    let soft = soft.into_iter().map(|share| (share / total) as f32).collect();
    vit_kernels::cross_entropy(logits, &on_device(soft, (batch, classes), logits)?)
}

/// Cross entropy with a distribution over classes per row, `−Σ t · log p`, mean over the batch: for
/// mixed labels, which have their smoothing in them. `logits` is `[B, K]`, `targets` row-major.
///
/// # Errors
/// When the number of targets does not fit.
pub fn soft_cross_entropy(logits: &Tensor, targets: &[f32]) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    if targets.len() != batch * classes {
        bail!("soft_cross_entropy: {} targets for logits [{batch}, {classes}]", targets.len());
    }
    let shares = targets.iter().map(|target| target / batch as f32).collect();
    vit_kernels::cross_entropy(logits, &on_device(shares, (batch, classes), logits)?)
}

/// Binary cross entropy from logits over known labels, mean over them:
/// `max(x, 0) − x·t + log(1 + exp(−|x|))`. `logits` is `[B, K]`, `targets` row-major, `None` where
/// unknown; a batch without a known label gives 0.
///
/// # Errors
/// When the number of targets does not fit.
pub fn bce_with_logits(logits: &Tensor, targets: &[Option<f32>]) -> Result<Tensor> {
    let (batch, findings) = logits.dims2()?;
    if targets.len() != batch * findings {
        bail!("bce_with_logits: {} targets for logits [{batch}, {findings}]", targets.len());
    }
    let known = targets.iter().filter(|target| target.is_some()).count();
    // Each known label's share of the mean.
    let share = 1. / known.max(1) as f32;
    let weights = targets.iter().map(|target| if target.is_some() { share } else { 0. }).collect();
    let values = targets.iter().map(|target| target.unwrap_or(0.)).collect();
    let values = on_device(values, (batch, findings), logits)?;
    let weights = on_device(weights, (batch, findings), logits)?;
    vit_kernels::bce_with_logits(logits, &values, &weights)
}

fn on_device(values: Vec<f32>, shape: (usize, usize), like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(like.device())?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Tensor {
        Tensor::new(&[[1f32, 2., 0.5], [0.1, -1., 3.]], &Device::Cpu).unwrap()
    }

    #[track_caller]
    fn close(loss: Result<Tensor>, want: f64) {
        let got = f64::from(loss.unwrap().to_scalar::<f32>().unwrap());
        assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
    }

    /// `spec/mae.md` 4.3 and `spec/xray-lora.md` 12.
    #[test]
    fn published_values() {
        close(cross_entropy(&logits(), &[1, 0], 0., None), 1.71757162);
        close(cross_entropy(&logits(), &[1, 0], 0.1, None), 1.72923827);
        close(cross_entropy(&logits(), &[1, 0], 0., Some(&[2., 0.5, 1.])), 2.46949339);
        // Classes 1 and 0 of three, smoothing 0.1, mixed with 0.3.
        let mixed = [0.66333333, 0.30333333, 0.03333333, 0.30333333, 0.66333333, 0.03333333];
        close(soft_cross_entropy(&logits(), &mixed), 2.39073801);
        let x = Tensor::new(&[[0.5f32, -1.2]], &Device::Cpu).unwrap();
        close(bce_with_logits(&x, &[Some(1.), Some(0.)]), 0.3686797);
    }

    #[test]
    fn unknown_labels_count_for_nothing() {
        let x = Tensor::new(&[[0.5f32, -1.2, 9.]], &Device::Cpu).unwrap();
        close(bce_with_logits(&x, &[Some(1.), Some(0.), None]), 0.3686797);
        close(bce_with_logits(&x, &[None, None, None]), 0.);
    }

    #[test]
    fn a_class_out_of_range_is_an_error() {
        let error = cross_entropy(&logits(), &[1, 3], 0., None).unwrap_err();
        assert!(error.to_string().contains("class 3 of 3"));
    }
}
