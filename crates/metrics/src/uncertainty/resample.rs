//! Which samples are drawn together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vit_random::rand::Rng;
use vit_random::{Stream, Streams};

use crate::{Evaluator, MetricsError, Result};

/// What is drawn with replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Rows, each on its own. Wrong where a patient has several: intervals come out too narrow.
    Rows,
    /// Rows within each class (for findings: each combination of findings), so that no class is
    /// lost from a resample.
    Stratified,
    /// Groups (patients) with all their rows. Without groups the same as `Rows`.
    #[default]
    Clustered,
    /// Groups within each combination of classes that a group has.
    ClusteredStratified,
}

/// Units and strata of an evaluator, limited to some of its rows.
#[derive(Debug)]
pub(super) struct Resampler {
    /// Unit of each row; `u32::MAX` for rows that take no part.
    unit_of_row: Vec<u32>,
    /// Units, as strata one after the other.
    strata: Vec<Vec<u32>>,
    units: usize,
    streams: Streams,
}

/// Marks a row that takes no part.
const OUT: u32 = u32::MAX;

impl Resampler {
    /// `included` limits the rows; all if `None`.
    pub(super) fn new(
        evaluator: &Evaluator,
        resampling: Resampling,
        included: Option<&[bool]>,
        seed: u64,
    ) -> Result<Self> {
        let rows = evaluator.rows().len();
        if let Some(included) = included {
            MetricsError::check_length("rows", rows, included.len())?;
        }
        let takes_part = |row: usize| included.is_none_or(|rows| rows.get(row) == Some(&true));
        let clustered =
            matches!(resampling, Resampling::Clustered | Resampling::ClusteredStratified);
        let mut unit_of_group = BTreeMap::new();
        let mut units = 0_u32;
        let mut unit_of_row = vec![OUT; rows];
        for (row, slot) in unit_of_row.iter_mut().enumerate().filter(|(row, _)| takes_part(*row)) {
            let group = evaluator.group_of(row).filter(|_| clustered);
            let next = units;
            let unit = group.map_or(next, |group| *unit_of_group.entry(group).or_insert(next));
            units += u32::from(unit == next);
            *slot = unit;
        }
        let stratified =
            matches!(resampling, Resampling::Stratified | Resampling::ClusteredStratified);
        let strata = if stratified {
            strata(evaluator, &unit_of_row, units as usize)
        } else {
            vec![(0..units).collect()]
        };
        let streams = Streams::new(seed);
        Ok(Self { unit_of_row, strata, units: units as usize, streams })
    }

    /// Number of units.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    /// The weights of all rows that take part: 1.
    pub(super) fn all(&self) -> Vec<u32> {
        self.unit_of_row.iter().map(|unit| u32::from(*unit != OUT)).collect()
    }

    /// The stream of one resample: a pure function of seed, purpose and number.
    pub(super) fn stream(&self, purpose: &str, number: usize) -> Stream {
        self.streams.stream(purpose, 0, number as u64)
    }

    /// How often each row is drawn in resample `number`; `times` is scratch.
    pub(super) fn draw(&self, number: usize, times: &mut Vec<u32>, weights: &mut Vec<u32>) {
        let mut stream = self.stream("bootstrap", number);
        times.clear();
        times.resize(self.units, 0);
        for stratum in &self.strata {
            let size = stratum.len() as u32;
            for _ in 0..size {
                let unit = stratum.get(stream.random_range(0..size) as usize);
                if let Some(times) = unit.and_then(|unit| times.get_mut(*unit as usize)) {
                    *times += 1;
                }
            }
        }
        self.spread(times, weights);
    }

    /// Everything but the units of block `block` of `blocks`.
    pub(super) fn leave_out(
        &self,
        block: usize,
        blocks: usize,
        times: &mut Vec<u32>,
        weights: &mut Vec<u32>,
    ) {
        times.clear();
        times.extend((0..self.units).map(|unit| u32::from(unit % blocks.max(1) != block)));
        self.spread(times, weights);
    }

    /// Whether each unit is on the first side of a random split in two.
    pub(super) fn split(&self, number: usize, times: &mut Vec<u32>, weights: &mut Vec<u32>) {
        let mut stream = self.stream("permutation", number);
        times.clear();
        times.extend((0..self.units).map(|_| u32::from(stream.random::<bool>())));
        self.spread(times, weights);
    }

    /// From units to rows.
    fn spread(&self, times: &[u32], weights: &mut Vec<u32>) {
        weights.clear();
        let of = |unit: &u32| times.get(*unit as usize).copied().unwrap_or(0);
        weights.extend(self.unit_of_row.iter().map(of));
    }
}

/// Units with the same labels. Those alone of their kind are put together: a stratum of one would
/// always be drawn and seem to be without uncertainty.
fn strata(evaluator: &Evaluator, unit_of_row: &[u32], units: usize) -> Vec<Vec<u32>> {
    let mut labels = vec![Vec::new(); units];
    for (row, unit) in unit_of_row.iter().enumerate() {
        if let Some(labels) = labels.get_mut(*unit as usize) {
            for class in evaluator.labels_of(row) {
                if let Err(place) = labels.binary_search(&class) {
                    labels.insert(place, class);
                }
            }
        }
    }
    let mut strata: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for (unit, labels) in labels.into_iter().enumerate() {
        strata.entry(labels).or_default().push(unit as u32);
    }
    let (alone, mut strata): (Vec<_>, Vec<_>) =
        strata.into_values().partition(|stratum| stratum.len() == 1);
    if !alone.is_empty() {
        strata.push(alone.concat());
    }
    strata
}
