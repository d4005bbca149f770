//! Metrics of a ranking: area under the ROC curve and average precision.

use crate::{Curve, MetricsError, Result, Undefined, Value};

/// Area under the ROC curve: the probability that a random positive scores higher than a random
/// negative, ties counting one half (Mann–Whitney U / (P·N); equals scikit-learn's
/// `roc_auc_score`). Only the order of the scores matters. Range [0, 1].
///
/// O(n log n); pairs are counted in integers, so the result does not depend on the order of the
/// samples, not even in the last bit.
///
/// Undefined with [`Undefined::NoSamples`], [`Undefined::OnlyPositives`] or
/// [`Undefined::OnlyNegatives`].
///
/// # Errors
/// The slices differ in length; a score is not finite.
///
/// ```
/// let scores = [0.9, 0.9, 0.4, 0.3, 0.4];
/// let auroc = vit_metrics::auroc(&scores, &[true, false, true, false, false])?;
/// assert!((auroc.defined().unwrap() - 2.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), vit_metrics::MetricsError>(())
/// ```
pub fn auroc(scores: &[f32], positive: &[bool]) -> Result<Value> {
    check(scores, positive)?;
    Ok(Ranking::new(scores.iter().copied().zip(positive.iter().copied())).auroc(unweighted))
}

/// Average precision: Σ (Rᵢ − Rᵢ₋₁)·Pᵢ over the distinct scores from high to low, with tied
/// samples entering together (scikit-learn's `average_precision_score`; no interpolation).
/// Range [0, 1]; with positives only it is 1.
///
/// Undefined with [`Undefined::NoSamples`] or [`Undefined::OnlyNegatives`] (scikit-learn warns
/// and returns 0 for the latter).
///
/// # Errors
/// The slices differ in length; a score is not finite.
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Result<Value> {
    check(scores, positive)?;
    Ok(Ranking::new(scores.iter().copied().zip(positive.iter().copied()))
        .average_precision(unweighted))
}

/// Refuses slices that are not parallel and scores that cannot be ranked.
pub(crate) fn check(scores: &[f32], positive: &[bool]) -> Result<()> {
    if scores.len() != positive.len() {
        return Err(MetricsError::LengthMismatch { scores: scores.len(), targets: positive.len() });
    }
    match scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        Some((row, &value)) => {
            Err(MetricsError::NonFiniteScore { row, class: String::new(), value })
        }
        None => Ok(()),
    }
}

/// Flags in the low bits of an entry of [`Ranking`].
const POSITIVE: u32 = 1;
/// The last sample of a run of equal scores.
const LAST: u32 = 2;
/// Bits below the row.
const FLAGS: u32 = 2;

/// Samples sorted from the highest score to the lowest, with ties marked.
///
/// Sorted once, it gives the metrics of the samples under any integer weights in one pass without
/// allocation: a bootstrap resample is nothing but a weight per sample.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    /// Row, whether it is positive, whether it is the last of its score.
    order: Vec<u32>,
}

/// The weight of every sample of a plain evaluation.
pub(crate) fn unweighted(_row: usize) -> u64 {
    1
}

impl Ranking {
    /// More rows than this do not fit beside the flags.
    pub(crate) const MOST_ROWS: usize = (u32::MAX >> FLAGS) as usize;

    /// Ranks samples (score, is positive) in rows 0, 1, …; the scores must be finite.
    pub(crate) fn new(samples: impl Iterator<Item = (f32, bool)>) -> Self {
        Self::of_rows(samples.enumerate().map(|(row, (score, positive))| (row, score, positive)))
    }

    /// Ranks samples (row, score, is positive). Weights are asked for by row; beyond
    /// [`MOST_ROWS`](Self::MOST_ROWS) rows only [`unweighted`] makes sense.
    pub(crate) fn of_rows(samples: impl Iterator<Item = (usize, f32, bool)>) -> Self {
        let mut samples: Vec<(f32, u32)> = samples
            .map(|(row, score, positive)| (score, (row as u32) << FLAGS | u32::from(positive)))
            .collect();
        samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        // `==` and not `total_cmp` joins −0 with +0, which the sort leaves side by side.
        let mut order = Vec::with_capacity(samples.len());
        for tied in samples.chunk_by(|a, b| a.0 == b.0) {
            order.extend(tied.iter().map(|(_, entry)| *entry));
            if let Some(last) = order.last_mut() {
                *last |= LAST;
            }
        }
        Self { order }
    }

    /// Calls `group` with (positives, negatives) of each distinct score, from high to low.
    fn groups(&self, weight: impl Fn(usize) -> u64, mut group: impl FnMut(u64, u64)) {
        let (mut positives, mut all) = (0_u64, 0_u64);
        for &entry in &self.order {
            let weight = weight((entry >> FLAGS) as usize);
            all += weight;
            positives += weight * u64::from(entry & POSITIVE);
            if entry & LAST != 0 {
                group(positives, all - positives);
                (positives, all) = (0, 0);
            }
        }
    }

    /// See [`auroc`].
    pub(crate) fn auroc(&self, weight: impl Fn(usize) -> u64) -> Value {
        // Twice U, so that a tie's half is an integer; u128 because P·N may pass 2^64.
        let (mut twice_u, mut above, mut negatives) = (0_u128, 0_u64, 0_u64);
        self.groups(weight, |p, n| {
            twice_u += u128::from(n) * u128::from(2 * above + p);
            above += p;
            negatives += n;
        });
        share_of_pairs(twice_u, above, negatives)
    }

    /// [`auroc`](Self::auroc) of weights in a slice, which is what a bootstrap spends its time on:
    /// while the products fit, in 64 bits.
    pub(crate) fn auroc_of(&self, weights: &[u32]) -> Value {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if total > u64::from(u32::MAX) / 2 {
            return self.auroc(|row| u64::from(weights.get(row).copied().unwrap_or(0)));
        }
        let (mut twice_u, mut twice_above, mut negatives) = (0_u64, 0_u64, 0_u64);
        let (mut positives, mut all) = (0_u64, 0_u64);
        for &entry in &self.order {
            let weight = weights.get((entry >> FLAGS) as usize).copied().unwrap_or(0);
            all += u64::from(weight);
            positives += u64::from(weight * (entry & POSITIVE));
            if entry & LAST != 0 {
                let tied_negatives = all - positives;
                negatives += tied_negatives;
                twice_u += tied_negatives * (twice_above + positives);
                twice_above += 2 * positives;
                (positives, all) = (0, 0);
            }
        }
        let positives = twice_above / 2;
        share_of_pairs(u128::from(twice_u), positives, negatives)
    }

    /// See [`average_precision`].
    pub(crate) fn average_precision(&self, weight: impl Fn(usize) -> u64) -> Value {
        let (mut hits, mut seen, mut sum) = (0_u64, 0_u64, 0.0);
        self.groups(weight, |p, n| {
            hits += p;
            seen += p + n;
            if p > 0 {
                sum += p as f64 * (hits as f64 / seen as f64);
            }
        });
        match (hits, seen) {
            (0, 0) => Value::Undefined(Undefined::NoSamples),
            (0, _) => Value::Undefined(Undefined::OnlyNegatives),
            _ => Value::Defined((sum / hits as f64).min(1.0)),
        }
    }

    /// Weight of positives and negatives.
    fn totals(&self, weight: impl Fn(usize) -> u64) -> (u64, u64) {
        self.order.iter().fold((0, 0), |(positives, negatives), &entry| {
            let weight = weight((entry >> FLAGS) as usize);
            let positive = u64::from(entry & POSITIVE);
            (positives + weight * positive, negatives + weight * (1 - positive))
        })
    }

    /// See [`sensitivity_at_specificity`](crate::sensitivity_at_specificity).
    pub(crate) fn sensitivity_at(
        &self,
        specificity: f64,
        weight: impl Fn(usize) -> u64 + Copy,
    ) -> Value {
        let (positives, negatives) = self.totals(weight);
        match (positives, negatives) {
            (0, 0) => return Value::Undefined(Undefined::NoSamples),
            (0, _) => return Value::Undefined(Undefined::OnlyNegatives),
            (_, 0) => return Value::Undefined(Undefined::OnlyPositives),
            _ => {}
        }
        let (mut tp, mut fp, mut best) = (0_u64, 0_u64, 0_u64);
        self.groups(weight, |p, n| {
            tp += p;
            fp += n;
            if 1.0 - fp as f64 / negatives as f64 >= specificity {
                best = tp;
            }
        });
        Value::Defined(best as f64 / positives as f64)
    }

    /// The curve at `places` + 1 equally spaced places of [0, 1]; `false` where there is none.
    pub(crate) fn curve_at(
        &self,
        curve: Curve,
        places: usize,
        weight: impl Fn(usize) -> u64 + Copy,
        into: &mut Vec<f64>,
    ) -> bool {
        let (positives, negatives) = self.totals(weight);
        into.clear();
        if positives == 0 || (curve == Curve::Roc && negatives == 0) {
            return false;
        }
        let place = |index: usize| index as f64 / places.max(1) as f64;
        let (mut tp, mut fp, mut before) = (0_u64, 0_u64, (0.0, 0.0));
        self.groups(weight, |p, n| {
            tp += p;
            fp += n;
            match curve {
                Curve::Roc => {
                    let (x, y) = (fp as f64 / negatives as f64, tp as f64 / positives as f64);
                    // Where the curve rises straight up, a place gets its upper end.
                    while into.len() <= places && place(into.len()) < x {
                        let share = (place(into.len()) - before.0) / (x - before.0);
                        into.push(before.1 + (y - before.1) * share);
                    }
                    before = (x, y);
                }
                Curve::PrecisionRecall => {
                    let recall = tp as f64 / positives as f64;
                    while tp > 0 && into.len() <= places && place(into.len()) <= recall {
                        into.push(tp as f64 / (tp + fp) as f64);
                    }
                }
            }
        });
        into.resize(places + 1, if curve == Curve::Roc { 1.0 } else { 0.0 });
        true
    }

    /// AUROC of every ordered pair: `into[b]` is the probability that a sample of class `first`
    /// ranks above one of class `b`, by this ranking; `class` gives the class of a row.
    pub(crate) fn against_each(
        &self,
        first: usize,
        class: impl Fn(usize) -> usize,
        weight: impl Fn(usize) -> u64,
        into: &mut PairCounts,
    ) {
        into.clear();
        let mut above = 0_u64;
        let mut tied = 0_u64;
        let mut start = 0;
        for (position, &entry) in self.order.iter().enumerate() {
            let row = (entry >> FLAGS) as usize;
            let (class_of_row, weight_of_row) = (class(row), weight(row));
            into.add(class_of_row, weight_of_row, 2 * above);
            if class_of_row == first {
                tied += weight_of_row;
            }
            if entry & LAST != 0 {
                // Equal scores count one half: add the first class's share once it is known.
                if tied > 0 {
                    for &entry in self.order.get(start..=position).unwrap_or(&[]) {
                        let row = (entry >> FLAGS) as usize;
                        into.add_half(class(row), weight(row), tied);
                    }
                }
                above += tied;
                tied = 0;
                start = position + 1;
            }
        }
        into.first = above;
    }
}

/// The AUROC from the counts of pairs.
fn share_of_pairs(twice_won: u128, positives: u64, negatives: u64) -> Value {
    match (positives, negatives) {
        (0, 0) => Value::Undefined(Undefined::NoSamples),
        (0, _) => Value::Undefined(Undefined::OnlyNegatives),
        (_, 0) => Value::Undefined(Undefined::OnlyPositives),
        (positives, negatives) => {
            let pairs = u128::from(positives) * u128::from(negatives);
            Value::Defined(twice_won as f64 / (2 * pairs) as f64)
        }
    }
}

/// Pairs won by one class against each class, counted twice so that a tie's half is an integer.
#[derive(Debug, Clone, Default)]
pub(crate) struct PairCounts {
    first: u64,
    samples: Vec<u64>,
    twice_won: Vec<u128>,
}

impl PairCounts {
    /// Counts for this many classes.
    pub(crate) fn new(classes: usize) -> Self {
        Self { first: 0, samples: vec![0; classes], twice_won: vec![0; classes] }
    }

    fn clear(&mut self) {
        self.samples.fill(0);
        self.twice_won.fill(0);
    }

    fn add(&mut self, class: usize, weight: u64, twice_above: u64) {
        if let (Some(samples), Some(won)) =
            (self.samples.get_mut(class), self.twice_won.get_mut(class))
        {
            *samples += weight;
            *won += u128::from(weight) * u128::from(twice_above);
        }
    }

    fn add_half(&mut self, class: usize, weight: u64, tied: u64) {
        if let Some(won) = self.twice_won.get_mut(class) {
            *won += u128::from(weight) * u128::from(tied);
        }
    }

    /// Weight of the samples of a class.
    pub(crate) fn of(&self, class: usize) -> u64 {
        self.samples.get(class).copied().unwrap_or(0)
    }

    /// Weight of all samples.
    pub(crate) fn total(&self) -> u64 {
        self.samples.iter().sum()
    }

    /// AUROC of the first class against `class`, `None` where one of the two has no samples.
    pub(crate) fn auroc(&self, class: usize) -> Option<f64> {
        let (samples, won) = (*self.samples.get(class)?, *self.twice_won.get(class)?);
        let pairs = u128::from(self.first) * u128::from(samples);
        (pairs > 0).then(|| won as f64 / (2 * pairs) as f64)
    }
}
