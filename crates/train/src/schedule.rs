use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Learning rate over a run: linear warm-up, then half a cosine down to `min_lr` (Loshchilov and
/// Hutter, arXiv 1608.03983), evaluated at every update with a fractional epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Highest learning rate.
    pub lr: f64,
    /// Learning rate at the end.
    pub min_lr: f64,
    /// Length of the warm-up, in epochs.
    pub warmup_epochs: f64,
    /// Length of the run, in epochs.
    pub epochs: f64,
}

impl Schedule {
    /// Learning rate at a fractional epoch: `lr · e/W` for `e < W`, then
    /// `min_lr + (lr − min_lr) · ½ · (1 + cos(π · (e − W)/(E − W)))`.
    #[must_use]
    pub fn at(&self, epoch: f64) -> f64 {
        if epoch < self.warmup_epochs {
            return self.lr * epoch / self.warmup_epochs;
        }
        let length = self.epochs - self.warmup_epochs;
        let progress = if length > 0. { (epoch - self.warmup_epochs) / length } else { 1. };
        let cosine = (std::f64::consts::PI * progress).cos();
        self.min_lr + (self.lr - self.min_lr) * 0.5 * (1. + cosine)
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value that does not.
    pub fn check(&self) -> Result<()> {
        let valid = |value: f64| value.is_finite() && value >= 0.;
        for (name, value) in [
            ("lr", self.lr),
            ("min_lr", self.min_lr),
            ("warmup_epochs", self.warmup_epochs),
            ("epochs", self.epochs),
        ] {
            if !valid(value) {
                return Err(Error::Config(format!("{name} is {value}")));
            }
        }
        Ok(())
    }
}

/// Linear scaling of the learning rate (Goyal et al., arXiv 1706.02677) from a base for 256
/// samples: `blr · effective batch / 256`.
#[must_use]
pub fn scaled_lr(blr: f64, effective_batch: usize) -> f64 {
    blr * effective_batch as f64 / 256.
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `spec/mae.md` 4.4 and `spec/xray-lora.md` 12.
    #[test]
    fn published_values() {
        for (lr, min_lr, warmup, epochs, values) in [
            (
                1e-3,
                1e-5,
                5.,
                75.,
                vec![(0., 0.), (0.5, 1e-4), (5., 1e-3), (40., 5.05e-4), (74.5, 1.01246237e-5)],
            ),
            (
                1.2e-3,
                0.,
                40.,
                800.,
                vec![(1., 3e-5), (40., 1.2e-3), (420., 6e-4), (799.5, 1.2815444e-9)],
            ),
            (0.05, 1e-6, 5., 100., vec![(2.5, 0.025), (52.5, 0.0250005), (99.5, 4.41730684e-6)]),
            (
                1.953125e-4,
                1e-6,
                5.,
                50.,
                // The last is published as 1.00002e-6: more digits by cos(π − x) ≈ x²/2 − 1.
                vec![(2.5, 9.765625e-5), (27.5, 9.815625e-5), (49.99, 1.0000236764e-6)],
            ),
        ] {
            let schedule = Schedule { lr, min_lr, warmup_epochs: warmup, epochs };
            for (epoch, want) in values {
                let got = schedule.at(epoch);
                assert!((got - want).abs() <= 1e-6 * want, "{epoch}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn linear_scaling() {
        assert!((scaled_lr(1.5e-4, 4096) - 2.4e-3).abs() < 1e-12);
        assert!((scaled_lr(1e-3, 50) - 1.953125e-4).abs() < 1e-12);
    }

    #[test]
    fn a_negative_rate_is_refused() {
        let schedule = Schedule { lr: -1., min_lr: 0., warmup_epochs: 0., epochs: 1. };
        assert!(schedule.check().unwrap_err().to_string().contains("lr is -1"));
    }
}
