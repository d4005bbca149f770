use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::newton::{Convex, dot, minimise};
use super::{ProbeLabels, check_rows};
use crate::{Error, Result};

/// How a [`LogisticProbe`] is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticConfig {
    /// Inverse of the L2 penalty, as scikit-learn's `C`: `½‖W‖² + C · Σ loss` is minimised; the
    /// intercept is free.
    pub c: f64,
    /// Largest entry of the gradient of the mean loss at which the fit is done.
    pub tolerance: f64,
    /// Most Newton steps.
    pub max_iterations: usize,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { c: 1., tolerance: 1e-7, max_iterations: 200 }
    }
}

/// How a fit went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LogisticFit {
    /// Newton steps, of the output that took most.
    pub iterations: usize,
    /// Largest entry of the gradient at the end.
    pub gradient: f64,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

/// L2-penalised logistic regression on standardised features: one weight vector for two classes
/// and for each finding, one per class (softmax) for more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogisticProbe {
    mean: Vec<f64>,
    /// Reciprocal standard deviation; 1 where all rows are equal.
    scale: Vec<f64>,
    /// Per weight vector: one weight per feature, then the intercept.
    weights: Vec<Vec<f64>>,
    link: Link,
}

/// How weight vectors become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    /// One vector, two classes.
    Binary,
    /// One vector per class.
    Softmax,
    /// One vector per finding, each on its own.
    Sigmoids,
}

impl LogisticProbe {
    /// Fits to `features`, row-major rows × `dim`. Unknown labels of a finding are left out of its
    /// fit. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`Error::Config`] when features and labels do not belong together, a feature is not finite,
    /// `c` is not above 0, there are fewer than two classes, or nothing is known of a finding.
    pub fn fit(
        features: &[f32],
        dim: usize,
        labels: &ProbeLabels,
        config: &LogisticConfig,
    ) -> Result<(Self, LogisticFit)> {
        let rows = check_rows(features, dim)?;
        labels.check(rows)?;
        if !(config.c > 0. && config.c.is_finite()) {
            return Err(Error::Config(format!("C is {}, not above 0", config.c)));
        }
        let (mean, scale) = moments(features, dim);
        let probe = Self { mean, scale, weights: Vec::new(), link: Link::Softmax };
        let design = probe.design(features, dim);
        let fit = |design: &[f64], targets: Vec<f64>, outputs| {
            fit_one(Loss::new(design, dim + 1, targets, outputs, config.c), config)
        };
        let (link, fits) = match labels {
            ProbeLabels::Classes { classes: 0 | 1, .. } => {
                return Err(Error::Config("there are fewer than two classes".to_string()));
            }
            ProbeLabels::Classes { labels, classes: 2 } => {
                let targets = labels.iter().map(|label| *label as f64).collect();
                (Link::Binary, vec![fit(&design, targets, 1)])
            }
            ProbeLabels::Classes { labels, classes } => {
                let one_hot = |label: &usize| {
                    let label = *label;
                    (0..*classes).map(move |class| f64::from(u8::from(class == label)))
                };
                let targets = labels.iter().flat_map(one_hot).collect();
                (Link::Softmax, vec![fit(&design, targets, *classes)])
            }
            ProbeLabels::Findings { labels, findings } => {
                let fits = (0..*findings).map(|finding| {
                    let (design, targets) =
                        known(&design, dim + 1, labels.iter().skip(finding).step_by(*findings));
                    if targets.is_empty() {
                        return Err(Error::Config(format!("finding {finding} is never known")));
                    }
                    Ok(fit(&design, targets, 1))
                });
                (Link::Sigmoids, fits.collect::<Result<_>>()?)
            }
        };
        let summary = LogisticFit {
            iterations: fits.iter().map(|fit| fit.1.iterations).max().unwrap_or(0),
            gradient: fits.iter().map(|fit| fit.1.gradient).fold(0., f64::max),
            converged: fits.iter().all(|fit| fit.1.converged),
        };
        let weights = fits.into_iter().flat_map(|fit| fit.0).collect();
        Ok((Self { weights, link, ..probe }, summary))
    }

    /// Probabilities, row-major rows × classes or findings.
    ///
    /// # Errors
    /// [`Error::Config`] when the values do not make rows of the fit's width, or one is not finite.
    pub fn scores(&self, features: &[f32]) -> Result<Vec<f32>> {
        let dim = self.mean.len();
        check_rows(features, dim)?;
        let design = self.design(features, dim);
        let mut scores = Vec::new();
        for row in design.chunks_exact(dim + 1) {
            let mut logits: Vec<f64> = self.weights.iter().map(|w| dot(w, row)).collect();
            match self.link {
                Link::Softmax => softmax(&mut logits),
                Link::Binary => {
                    let second = logits.first().map_or(0.5, |logit| sigmoid(*logit));
                    logits = vec![1. - second, second];
                }
                Link::Sigmoids => logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit)),
            }
            scores.extend(logits.into_iter().map(|score| score as f32));
        }
        Ok(scores)
    }

    /// Standardised rows with a 1 at their end, for the intercept.
    fn design(&self, features: &[f32], dim: usize) -> Vec<f64> {
        let mut design = Vec::with_capacity(features.len() / dim * (dim + 1));
        for row in features.chunks_exact(dim) {
            let moments = self.mean.iter().zip(&self.scale);
            let values = row.iter().zip(moments);
            design.extend(values.map(|(value, (mean, scale))| (f64::from(*value) - mean) * scale));
            design.push(1.);
        }
        design
    }
}

/// Mean and reciprocal standard deviation (of the population) per column.
fn moments(features: &[f32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (features.len() / dim) as f64;
    let column = |column: usize| features.iter().skip(column).step_by(dim).map(|v| f64::from(*v));
    (0..dim)
        .into_par_iter()
        .map(|at| {
            let mean = column(at).sum::<f64>() / rows;
            let variance = column(at).map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
            // Equal values of f32 have a variance of rounding at most.
            let constant = variance <= (10. * f64::EPSILON * mean).powi(2) * rows;
            (mean, if constant { 1. } else { 1. / variance.sqrt() })
        })
        .unzip()
}

/// Rows whose label is known, with the label.
fn known<'a>(
    design: &[f64],
    width: usize,
    labels: impl Iterator<Item = &'a Option<f32>>,
) -> (Vec<f64>, Vec<f64>) {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (row, label) in design.chunks_exact(width).zip(labels) {
        if let Some(label) = label {
            rows.extend_from_slice(row);
            targets.push(f64::from(*label));
        }
    }
    (rows, targets)
}

fn fit_one(mut loss: Loss, config: &LogisticConfig) -> (Vec<Vec<f64>>, LogisticFit) {
    let (width, start) = (loss.width, vec![0.; loss.width * loss.outputs]);
    let found = minimise(&mut loss, start, config.tolerance, config.max_iterations);
    let summary = LogisticFit {
        iterations: found.iterations,
        gradient: found.gradient,
        converged: found.gradient <= config.tolerance,
    };
    (found.point.chunks_exact(width).map(<[f64]>::to_vec).collect(), summary)
}

/// Pieces the rows are cut into; fixed, so that sums do not depend on the number of threads.
const PIECES: usize = 64;

/// The mean cross entropy with the penalty, `1/n Σ loss + ½/(C·n) ‖W‖²`.
struct Loss<'a> {
    design: &'a [f64],
    /// Features and the 1.
    width: usize,
    /// Rows × outputs.
    targets: Vec<f64>,
    /// 1: sigmoid. More: softmax.
    outputs: usize,
    penalty: f64,
    /// Rows × outputs, at the last point.
    scores: Vec<f64>,
}

impl<'a> Loss<'a> {
    fn new(design: &'a [f64], width: usize, targets: Vec<f64>, outputs: usize, c: f64) -> Self {
        let rows = (design.len() / width) as f64;
        Self { design, width, targets, outputs, penalty: 1. / (c * rows), scores: Vec::new() }
    }

    fn rows(&self) -> usize {
        self.design.len() / self.width
    }

    /// Rows per piece.
    fn piece(&self) -> usize {
        self.rows().div_ceil(PIECES).max(1)
    }

    /// `X · pointᵀ`, rows × outputs.
    fn project(&self, point: &[f64]) -> Vec<f64> {
        let mut out = vec![0.; self.rows() * self.outputs];
        let outputs = out.par_chunks_mut(self.outputs * self.piece());
        outputs.zip(self.design.par_chunks(self.width * self.piece())).for_each(|(out, rows)| {
            let places = out.chunks_exact_mut(self.outputs).zip(rows.chunks_exact(self.width));
            for (out, row) in places {
                let weights = point.chunks_exact(self.width);
                out.iter_mut().zip(weights).for_each(|(out, weights)| *out = dot(weights, row));
            }
        });
        out
    }

    /// `residualᵀ · X / n` plus the penalty's part, outputs × width.
    fn back(&self, residuals: &[f64], point: &[f64]) -> Vec<f64> {
        let size = self.outputs * self.width;
        let parts: Vec<Vec<f64>> = residuals
            .par_chunks(self.outputs * self.piece())
            .zip(self.design.par_chunks(self.width * self.piece()))
            .map(|(residuals, rows)| {
                let mut sum = vec![0.; size];
                let rows = rows.chunks_exact(self.width);
                for (residuals, row) in residuals.chunks_exact(self.outputs).zip(rows) {
                    for (sum, residual) in sum.chunks_exact_mut(self.width).zip(residuals) {
                        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += residual * value);
                    }
                }
                sum
            })
            .collect();
        let mut total = vec![0.; size];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        let rows = self.rows() as f64;
        for (at, (total, weight)) in total.iter_mut().zip(point).enumerate() {
            let intercept = at % self.width == self.width - 1;
            *total = *total / rows + if intercept { 0. } else { self.penalty * weight };
        }
        total
    }

    fn value_of(&self, logits: &[f64], point: &[f64]) -> f64 {
        let rows = logits.chunks_exact(self.outputs).zip(self.targets.chunks_exact(self.outputs));
        let losses: f64 = rows
            .map(|(logits, targets)| match (logits, targets) {
                ([logit], [target]) => log_sum([0., *logit].into_iter()) - target * logit,
                _ => log_sum(logits.iter().copied()) - dot(logits, targets),
            })
            .sum();
        let weights =
            point.chunks_exact(self.width).map(|w| w.split_last().map_or(&[][..], |w| w.1));
        let squares: f64 = weights.map(|weights| dot(weights, weights)).sum();
        losses / self.rows() as f64 + 0.5 * self.penalty * squares
    }
}

impl Convex for Loss<'_> {
    fn at(&mut self, point: &[f64]) -> (f64, Vec<f64>) {
        let mut scores = self.project(point);
        let value = self.value_of(&scores, point);
        for row in scores.chunks_exact_mut(self.outputs) {
            match row {
                [logit] => *logit = sigmoid(*logit),
                row => softmax(row),
            }
        }
        let residuals: Vec<f64> = scores.iter().zip(&self.targets).map(|(s, t)| s - t).collect();
        self.scores = scores;
        (value, self.back(&residuals, point))
    }

    fn value(&self, point: &[f64]) -> f64 {
        self.value_of(&self.project(point), point)
    }

    fn curvature(&self, direction: &[f64]) -> Vec<f64> {
        let mut change = self.project(direction);
        let rows =
            change.chunks_exact_mut(self.outputs).zip(self.scores.chunks_exact(self.outputs));
        for (change, scores) in rows {
            match (change, scores) {
                ([change], [score]) => *change *= score * (1. - score),
                (change, scores) => {
                    let mean = dot(change, scores);
                    change.iter_mut().zip(scores).for_each(|(c, s)| *c = s * (*c - mean));
                }
            }
        }
        self.back(&change, direction)
    }
}

fn sigmoid(logit: f64) -> f64 {
    if logit >= 0. { 1. / (1. + (-logit).exp()) } else { logit.exp() / (1. + logit.exp()) }
}

/// `log Σ exp`, without overflow.
fn log_sum(logits: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    most + logits.map(|logit| (logit - most).exp()).sum::<f64>().ln()
}

fn softmax(logits: &mut [f64]) {
    let log = log_sum(logits.iter().copied());
    logits.iter_mut().for_each(|logit| *logit = (*logit - log).exp());
}
