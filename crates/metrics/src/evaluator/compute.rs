//! Measures under integer weights, without allocation once the scratch has been used.

use super::{AucMissing, Evaluator};
use crate::agreement::kappa_of;
use crate::averages::mean;
use crate::calibration::Bin;
use crate::confusion::mcc_of;
use crate::multi_class::one_vs_one;
use crate::ranking::PairCounts;
use crate::{
    Average, BinaryCounts, CalibrationError, ConfusionMatrix, CountScore, Measure, Over, Undefined,
    Value, ZeroDivision,
};

/// A value, and over how many classes a mean was taken (1 for anything else that is defined).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) value: Value,
    pub(crate) covers: usize,
}

impl Outcome {
    fn of(value: Value) -> Self {
        Self { value, covers: usize::from(value.defined().is_some()) }
    }

    fn mean(values: impl Iterator<Item = (Value, f64)>) -> Self {
        let (value, covers) = mean(values);
        Self { value, covers }
    }
}

/// Buffers of one thread.
#[derive(Debug)]
pub(crate) struct Scratch {
    confusion: ConfusionMatrix,
    support: Vec<u64>,
    predicted: Vec<u64>,
    counts: Vec<BinaryCounts>,
    counted: bool,
    auroc: Vec<Option<Value>>,
    precision: Vec<Option<Value>>,
    pairs: PairCounts,
    table: Vec<Option<f64>>,
    bins: Vec<Bin>,
    outcomes: Vec<Outcome>,
}

impl Scratch {
    /// Buffers for this evaluator.
    pub(crate) fn new(evaluator: &Evaluator) -> Self {
        let classes = evaluator.classes.len();
        Self {
            confusion: ConfusionMatrix::new(if evaluator.single.is_some() { classes } else { 0 }),
            support: vec![0; classes],
            predicted: vec![0; classes],
            counts: vec![BinaryCounts::default(); classes],
            counted: false,
            auroc: vec![None; classes],
            precision: vec![None; classes],
            pairs: PairCounts::new(classes),
            table: Vec::new(),
            bins: Vec::new(),
            outcomes: Vec::new(),
        }
    }
}

/// How often a row counts.
fn weight_of(weights: &[u32]) -> impl Fn(usize) -> u64 + Copy + '_ {
    |row| u64::from(weights.get(row).copied().unwrap_or(0))
}

impl Evaluator {
    /// The measures of the rows under `weights`. The measures must have passed
    /// [`check`](Self::check).
    pub(crate) fn compute<'s>(
        &self,
        measures: &[Measure],
        weights: &[u32],
        scratch: &'s mut Scratch,
    ) -> &'s [Outcome] {
        scratch.counted = false;
        scratch.auroc.fill(None);
        scratch.precision.fill(None);
        scratch.outcomes.clear();
        for &measure in measures {
            let outcome = self.one(measure, weights, scratch);
            scratch.outcomes.push(outcome);
        }
        &scratch.outcomes
    }

    fn one(&self, measure: Measure, weights: &[u32], scratch: &mut Scratch) -> Outcome {
        match measure {
            Measure::Accuracy if self.single.is_none() => {
                self.of_counts(CountScore::Accuracy, Over::All(Average::Macro), weights, scratch)
            }
            Measure::Mcc if self.single.is_none() => {
                self.of_counts(CountScore::Mcc, Over::All(Average::Macro), weights, scratch)
            }
            Measure::Accuracy => {
                self.count(weights, scratch);
                Outcome::of(scratch.confusion.accuracy())
            }
            Measure::Mcc => {
                self.count(weights, scratch);
                let value =
                    mcc_of(scratch.confusion.correct(), &scratch.support, &scratch.predicted);
                Outcome::of(self.conventions.zero_division.apply(value))
            }
            Measure::BalancedAccuracy => {
                self.count(weights, scratch);
                let score = match self.single {
                    Some(_) => CountScore::Recall,
                    None => CountScore::BalancedAccuracy,
                };
                let values = scratch.counts.iter();
                Outcome::mean(values.map(|c| (score.of(c, ZeroDivision::Undefined), 1.0)))
            }
            Measure::Count(score, over) => self.of_counts(score, over, weights, scratch),
            Measure::Kappa(kind) => {
                self.count(weights, scratch);
                let (support, predicted) = (&scratch.support, &scratch.predicted);
                Outcome::of(kappa_of(&scratch.confusion, support, predicted, kind))
            }
            Measure::TopK(k) => Outcome::of(self.top_k(k, weights)),
            Measure::Auroc(over) => self.auroc(over, weights, scratch),
            Measure::AveragePrecision(over) => self.average_precision(over, weights, scratch),
            Measure::AurocOneVsOne(average) => self.one_vs_one(average, weights, scratch),
            Measure::SensitivityAt(specificity, over) => {
                self.sensitivity_at(specificity, over, weights, scratch)
            }
            Measure::Brier => self.loss(weights, |loss| loss.1),
            Measure::LogLoss => self.loss(weights, |loss| loss.2),
            Measure::Calibration(error) => self.calibration(error, weights, scratch),
            Measure::HammingLoss => Outcome::of(self.hamming(weights)),
            Measure::SubsetAccuracy => Outcome::of(self.subset(weights)),
        }
    }

    /// Fills the counts of decisions, once per weighting.
    fn count(&self, weights: &[u32], scratch: &mut Scratch) {
        if scratch.counted {
            return;
        }
        scratch.counted = true;
        let weight = weight_of(weights);
        if let Some(single) = &self.single {
            let pairs = single.truth.iter().zip(&single.predicted).enumerate();
            scratch.confusion.fill(
                pairs.map(|(row, (&truth, &decided))| {
                    (truth as usize, decided as usize, weight(row))
                }),
            );
            scratch.confusion.totals(&mut scratch.support, &mut scratch.predicted);
            scratch.confusion.one_vs_rest_into(
                &scratch.support,
                &scratch.predicted,
                &mut scratch.counts,
            );
        }
        if let Some(multi) = &self.multi {
            for ((cells, counts), support) in
                multi.cells.iter().zip(&mut scratch.counts).zip(&mut scratch.support)
            {
                // [truth][decision]
                let mut table = [[0_u64; 2]; 2];
                for &(row, positive, decided) in cells {
                    table[usize::from(positive)][usize::from(decided)] += weight(row as usize);
                }
                *counts = BinaryCounts {
                    true_positives: table[1][1],
                    false_positives: table[0][1],
                    false_negatives: table[1][0],
                    true_negatives: table[0][0],
                };
                *support = counts.positives();
            }
        }
    }

    fn of_counts(
        &self,
        score: CountScore,
        over: Over,
        weights: &[u32],
        scratch: &mut Scratch,
    ) -> Outcome {
        self.count(weights, scratch);
        let zero = self.conventions.zero_division;
        let counts = &scratch.counts;
        match over {
            Over::Class(class) => Outcome::of(
                counts
                    .get(class)
                    .map_or(Value::Undefined(Undefined::ClassAbsent), |c| score.of(c, zero)),
            ),
            Over::All(Average::Micro) => Outcome::of(score.averaged(counts, Average::Micro, zero)),
            Over::All(average) => Outcome::mean(counts.iter().map(|c| {
                let weight = if average == Average::Macro { 1.0 } else { c.positives() as f64 };
                (score.of(c, zero), weight)
            })),
        }
    }

    /// Combines a score per class that needs no decisions.
    fn ranked(
        &self,
        average: Average,
        weights: &[u32],
        scratch: &mut Scratch,
        mut value: impl FnMut(&Self, usize, &mut Scratch) -> Value,
    ) -> Outcome {
        if average == Average::Weighted {
            self.count(weights, scratch);
        }
        let values = (0..self.classes.len()).map(|class| {
            let weight = match average {
                Average::Weighted => scratch.support.get(class).map_or(0.0, |n| *n as f64),
                _ => 1.0,
            };
            (value(self, class, scratch), weight)
        });
        match self.conventions.auc_missing {
            AucMissing::Skip => Outcome::mean(values),
            AucMissing::ZeroThenSkip => Outcome::mean(values.map(|(value, weight)| match value {
                Value::Defined(0.0) => (Value::Undefined(Undefined::ZeroDenominator), weight),
                other => (other, weight),
            })),
            AucMissing::Error => {
                let mut missing = None;
                let outcome = Outcome::mean(values.inspect(|(value, _)| {
                    missing = missing.or(value.reason());
                }));
                missing.map_or(outcome, |reason| Outcome::of(Value::Undefined(reason)))
            }
        }
    }

    fn class_auroc(&self, class: usize, weights: &[u32], scratch: &mut Scratch) -> Value {
        let compute = || match self.rankings.get(class) {
            Some(ranking) => ranking.auroc_of(weights),
            None => Value::Undefined(Undefined::ClassAbsent),
        };
        match scratch.auroc.get_mut(class) {
            Some(slot) => *slot.get_or_insert_with(compute),
            None => compute(),
        }
    }

    fn auroc(&self, over: Over, weights: &[u32], scratch: &mut Scratch) -> Outcome {
        match over {
            Over::Class(class) => Outcome::of(self.class_auroc(class, weights, scratch)),
            Over::All(Average::Micro) => Outcome::of(self.micro.auroc_of(weights)),
            Over::All(average) => self.ranked(average, weights, scratch, |this, class, scratch| {
                this.class_auroc(class, weights, scratch)
            }),
        }
    }

    fn class_precision(&self, class: usize, weights: &[u32], scratch: &mut Scratch) -> Value {
        let compute = || match self.rankings.get(class) {
            Some(ranking) => ranking.average_precision(weight_of(weights)),
            None => Value::Undefined(Undefined::ClassAbsent),
        };
        match scratch.precision.get_mut(class) {
            Some(slot) => *slot.get_or_insert_with(compute),
            None => compute(),
        }
    }

    fn average_precision(&self, over: Over, weights: &[u32], scratch: &mut Scratch) -> Outcome {
        match over {
            Over::Class(class) => Outcome::of(self.class_precision(class, weights, scratch)),
            Over::All(Average::Micro) => {
                Outcome::of(self.micro.average_precision(weight_of(weights)))
            }
            Over::All(average) => self.ranked(average, weights, scratch, |this, class, scratch| {
                this.class_precision(class, weights, scratch)
            }),
        }
    }

    fn sensitivity_at(
        &self,
        specificity: f64,
        over: Over,
        weights: &[u32],
        scratch: &mut Scratch,
    ) -> Outcome {
        let of = |ranking: &crate::ranking::Ranking| {
            ranking.sensitivity_at(specificity, weight_of(weights))
        };
        match over {
            Over::Class(class) => Outcome::of(
                self.ranking(class).map_or(Value::Undefined(Undefined::ClassAbsent), of),
            ),
            Over::All(Average::Micro) => Outcome::of(of(&self.micro)),
            Over::All(average) => self.ranked(average, weights, scratch, |this, class, _| {
                this.ranking(class).map_or(Value::Undefined(Undefined::ClassAbsent), of)
            }),
        }
    }

    fn one_vs_one(&self, average: Average, weights: &[u32], scratch: &mut Scratch) -> Outcome {
        let Some(single) = &self.single else {
            return Outcome::of(Value::Undefined(Undefined::NoSamples));
        };
        let class = |row: usize| single.truth.get(row).map_or(usize::MAX, |class| *class as usize);
        let (pairs, table) = (&mut scratch.pairs, &mut scratch.table);
        let value = one_vs_one(&self.rankings, class, weight_of(weights), average, pairs, table);
        Outcome::of(value)
    }

    fn top_k(&self, k: usize, weights: &[u32]) -> Value {
        let places = self.single.iter().flat_map(|single| &single.place).zip(weights);
        let (right, all) = places.fold((0_u64, 0_u64), |(right, all), (&place, &weight)| {
            let hit = u64::from((place as usize) < k);
            (right + hit * u64::from(weight), all + u64::from(weight))
        });
        Value::ratio(right, all, Undefined::NoSamples)
    }

    fn loss(&self, weights: &[u32], part: impl Fn(&(u32, f64, f64)) -> f64) -> Outcome {
        let weight = weight_of(weights);
        let of = |losses: &Vec<(u32, f64, f64)>| {
            let (mut sum, mut total) = (0.0, 0.0);
            for loss in losses {
                let weight = weight(loss.0 as usize) as f64;
                sum += weight * part(loss);
                total += weight;
            }
            (Value::quotient(sum, total, Undefined::NoSamples), 1.0)
        };
        match &self.probabilities {
            Ok(probabilities) => Outcome::mean(probabilities.losses.iter().map(of)),
            Err(_) => Outcome::of(Value::Undefined(Undefined::NoSamples)),
        }
    }

    fn calibration(
        &self,
        error: CalibrationError,
        weights: &[u32],
        scratch: &mut Scratch,
    ) -> Outcome {
        let weight = |row: usize| weight_of(weights)(row) as f64;
        let Ok(probabilities) = &self.probabilities else {
            return Outcome::of(Value::Undefined(Undefined::NoSamples));
        };
        let bins = &mut scratch.bins;
        let events = probabilities.events.iter();
        Outcome::mean(events.map(|events| (error.measure(events, weight, bins), 1.0)))
    }

    fn hamming(&self, weights: &[u32]) -> Value {
        let rows = self.multi.iter().flat_map(|multi| &multi.rows).zip(weights);
        let (wrong, all) = rows.fold((0_u64, 0_u64), |(wrong, all), (row, &weight)| {
            let weight = u64::from(weight);
            (wrong + weight * u64::from(row.1), all + weight * u64::from(row.0))
        });
        Value::ratio(wrong, all, Undefined::NoSamples)
    }

    fn subset(&self, weights: &[u32]) -> Value {
        let rows = self.multi.iter().flat_map(|multi| &multi.rows).zip(weights);
        let (right, all) = rows.filter(|(row, _)| row.0 > 0).fold(
            (0_u64, 0_u64),
            |(right, all), (row, &weight)| {
                (right + u64::from(weight) * u64::from(row.1 == 0), all + u64::from(weight))
            },
        );
        Value::ratio(right, all, Undefined::NoSamples)
    }
}
