//! Variance of the AUROC and the test of two AUROCs by DeLong et al. 1988.

use serde::{Deserialize, Serialize};
use statrs::distribution::ContinuousCDF;

use super::interval::{Interval, normal, two_sided};
use crate::regression::mid_ranks;
use crate::{MetricsError, Result, Undefined};

/// An AUROC with its variance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DeLong {
    /// The AUROC.
    pub auroc: f64,
    /// Its variance.
    pub variance: f64,
}

impl DeLong {
    /// The interval auroc ± z·√variance, cut to [0, 1].
    ///
    /// # Errors
    /// The level is outside (0, 1).
    pub fn interval(&self, level: f64) -> Result<Interval> {
        let reach = two_sided(level)? * self.variance.sqrt();
        Ok(Interval { low: (self.auroc - reach).max(0.0), high: (self.auroc + reach).min(1.0) })
    }

    /// The interval on the logit scale, which stays inside (0, 1) and covers better near 1. Where
    /// the AUROC is exactly 0 or 1 there is no such scale and the plain interval is given.
    ///
    /// # Errors
    /// The level is outside (0, 1).
    pub fn logit_interval(&self, level: f64) -> Result<Interval> {
        let spread = self.auroc * (1.0 - self.auroc);
        if spread <= 0.0 {
            return self.interval(level);
        }
        let reach = two_sided(level)? * self.variance.sqrt() / spread;
        let logit = (self.auroc / (1.0 - self.auroc)).ln();
        let back = |x: f64| 1.0 / (1.0 + (-x).exp());
        Ok(Interval { low: back(logit - reach), high: back(logit + reach) })
    }
}

/// The test of two AUROCs on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DeLongTest {
    /// The first AUROC with its variance.
    pub first: DeLong,
    /// The second.
    pub second: DeLong,
    /// Covariance of the two.
    pub covariance: f64,
    /// First − second.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Difference over its standard error; 0 where both are 0.
    pub z: f64,
    /// Two-sided p-value.
    pub p_value: f64,
}

/// Variance of the AUROC (DeLong et al. 1988, in O(n log n) by mid-ranks: Sun and Xu 2014). With
/// `groups` (any number per patient) the variance is Obuchowski's (1997) for clustered data, which
/// does not take a patient's samples for independent. The inner result says why there is none.
///
/// # Errors
/// The slices differ in length; a score is not finite.
pub fn delong(
    scores: &[f32],
    positive: &[bool],
    groups: Option<&[u64]>,
) -> Result<std::result::Result<DeLong, Undefined>> {
    let components = match Components::new(scores, positive)? {
        Ok(components) => components,
        Err(reason) => return Ok(Err(reason)),
    };
    let clusters = clusters(positive.len(), groups)?;
    Ok(components
        .covariance(&components, positive, &clusters)
        .map(|variance| DeLong { auroc: components.auroc, variance }))
}

/// The paired test of two AUROCs on the same samples, clustered if `groups` are given. The inner
/// result says why there is none.
///
/// # Errors
/// The slices differ in length; a score is not finite.
pub fn delong_test(
    first: &[f32],
    second: &[f32],
    positive: &[bool],
    groups: Option<&[u64]>,
) -> Result<std::result::Result<DeLongTest, Undefined>> {
    MetricsError::check_paired(first.len(), second.len())?;
    let (a, b) = match (Components::new(first, positive)?, Components::new(second, positive)?) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
    };
    let clusters = clusters(positive.len(), groups)?;
    let covariance = |a: &Components, b: &Components| a.covariance(b, positive, &clusters);
    Ok((|| {
        let (aa, bb, ab) = (covariance(&a, &a)?, covariance(&b, &b)?, covariance(&a, &b)?);
        let difference = a.auroc - b.auroc;
        // Rounding may leave a tiny negative number where both models rank alike.
        let standard_error = (aa + bb - 2.0 * ab).max(0.0).sqrt();
        let z = match (difference == 0.0, standard_error > 0.0) {
            (true, _) => 0.0,
            (false, true) => difference / standard_error,
            (false, false) => return Err(Undefined::ZeroDenominator),
        };
        Ok(DeLongTest {
            first: DeLong { auroc: a.auroc, variance: aa },
            second: DeLong { auroc: b.auroc, variance: bb },
            covariance: ab,
            difference,
            standard_error,
            z,
            p_value: 2.0 * normal().cdf(-z.abs()),
        })
    })())
}

/// Structural components: for a positive the share of negatives below it, for a negative the share
/// of positives above it.
struct Components {
    auroc: f64,
    of_row: Vec<f64>,
    positives: f64,
    negatives: f64,
}

impl Components {
    fn new(scores: &[f32], positive: &[bool]) -> Result<std::result::Result<Self, Undefined>> {
        crate::ranking::check(scores, positive)?;
        let all: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
        let of = |wanted: bool| -> Vec<f64> {
            all.iter().zip(positive).filter(|(_, p)| **p == wanted).map(|(s, _)| *s).collect()
        };
        let ranks = mid_ranks(&all);
        let (among_positives, among_negatives) = (mid_ranks(&of(true)), mid_ranks(&of(false)));
        let (positives, negatives) = (among_positives.len() as f64, among_negatives.len() as f64);
        let (mut own_positive, mut own_negative) = (among_positives.iter(), among_negatives.iter());
        let of_row: Vec<f64> = ranks
            .iter()
            .zip(positive)
            .map(|(rank, &positive)| {
                if positive {
                    (rank - own_positive.next().unwrap_or(rank)) / negatives
                } else {
                    1.0 - (rank - own_negative.next().unwrap_or(rank)) / positives
                }
            })
            .collect();
        // Counted in integers, so that it is the bits of `auroc`.
        let auroc = match crate::auroc(scores, positive)?.into_result() {
            Ok(auroc) => auroc,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(Ok(Self { auroc, of_row, positives, negatives }))
    }

    /// Covariance of two AUROCs on the same samples. With clusters of one sample each this is
    /// DeLong's; otherwise Obuchowski's (1997).
    fn covariance(
        &self,
        other: &Self,
        positive: &[bool],
        clusters: &Clusters,
    ) -> std::result::Result<f64, Undefined> {
        // Per cluster and model: sums of deviations of positives and of negatives.
        let mut sums = vec![[[0.0_f64; 2]; 2]; clusters.count];
        let mut has = vec![[false; 2]; clusters.count];
        for (row, (&cluster, &positive)) in clusters.of_row.iter().zip(positive).enumerate() {
            let kind = usize::from(!positive);
            for (model, components) in [self, other].into_iter().enumerate() {
                let value = components.of_row.get(row).copied().unwrap_or(0.0) - components.auroc;
                if let Some(sums) = sums.get_mut(cluster) {
                    sums[model][kind] += value;
                }
            }
            if let Some(has) = has.get_mut(cluster) {
                has[kind] = true;
            }
        }
        let counts = [0, 1].map(|kind| has.iter().filter(|has| has[kind]).count() as f64);
        let [with_positives, with_negatives] = counts;
        if with_positives < 2.0 || with_negatives < 2.0 {
            return Err(Undefined::TooFewSamples);
        }
        let product = |k: usize, l: usize| sums.iter().map(|s| s[0][k] * s[1][l]).sum::<f64>();
        let (m, n) = (self.positives, self.negatives);
        let within_positives = product(0, 0) * with_positives / (with_positives - 1.0) / (m * m);
        let within_negatives = product(1, 1) * with_negatives / (with_negatives - 1.0) / (n * n);
        let all = clusters.count as f64;
        let between = (product(0, 1) + product(1, 0)) * all / (all - 1.0) / (m * n);
        let between = if clusters.single { 0.0 } else { between };
        Ok(within_positives + within_negatives + between)
    }
}

/// Which samples belong together.
struct Clusters {
    of_row: Vec<usize>,
    count: usize,
    /// Every sample is a cluster of its own.
    single: bool,
}

fn clusters(rows: usize, groups: Option<&[u64]>) -> Result<Clusters> {
    let Some(groups) = groups else {
        return Ok(Clusters { of_row: (0..rows).collect(), count: rows, single: true });
    };
    MetricsError::check_length("groups", rows, groups.len())?;
    let mut places = std::collections::HashMap::new();
    let of_row: Vec<usize> = groups
        .iter()
        .map(|group| {
            let next = places.len();
            *places.entry(group).or_insert(next)
        })
        .collect();
    let count = places.len();
    Ok(Clusters { of_row, count, single: count == rows })
}
