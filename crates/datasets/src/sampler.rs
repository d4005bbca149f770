//! Which samples an epoch shows, in which order, and which of them to this process.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use vit_random::Streams;
use vit_random::rand::Rng;
use vit_transforms::RepeatedAugmentation;

use crate::{Dataset, Error, Result, Target};

/// Which samples an epoch shows and in which order.
///
/// Every order is a pure function of (seed, epoch): the same in every process and for every number
/// of workers. The drawing samplers draw with replacement, as PyTorch's `WeightedRandomSampler`;
/// `samples` is the length of their epoch, that of the data set where it is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Sampler {
    /// The order of the data set.
    #[default]
    Sequential,
    /// Each sample once, in an order of each epoch's own.
    Shuffled,
    /// Draws each sample with a probability proportional to its weight.
    Weighted {
        /// One weight per sample: 0 or more, not all 0.
        weights: Vec<f64>,
        /// Draws per epoch.
        #[serde(default)]
        samples: Option<usize>,
    },
    /// Draws each sample with the weight n^-`exponent`, where n counts the samples of its class: 1
    /// shows all classes equally often, 0.5 is square-root sampling, 0 leaves the frequencies as
    /// they are (Kang et al. 2020, "Decoupling representation and classifier", section 4.1).
    ///
    /// With several findings a sample counts as its rarest present one; those without any present
    /// finding are a class of their own.
    ClassBalanced {
        /// 0 to 1.
        exponent: f64,
        /// Draws per epoch.
        #[serde(default)]
        samples: Option<usize>,
    },
    /// Draws a group (patient) with equal chances, then one of its samples: a patient with a
    /// hundred pictures does not count a hundred times.
    GroupBalanced {
        /// Draws per epoch.
        #[serde(default)]
        samples: Option<usize>,
    },
    /// Each sample several times in neighbouring places, differently augmented
    /// ([`RepeatedAugmentation`]).
    Repeated {
        /// How often, 1 or more.
        repeats: usize,
    },
}

/// What becomes of an order that cannot be dealt out evenly to all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remainder {
    /// The order is filled up from its beginning, so that every process makes the same number of
    /// steps: for training.
    #[default]
    Pad,
    /// Some processes get one sample less and none is shown twice: for evaluation, where a
    /// repeated sample would count twice.
    Exact,
}

/// The part of one process among several: the places `rank`, `rank + world_size`, ... of the
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// This process, below `world_size`.
    pub rank: usize,
    /// Number of processes.
    pub world_size: usize,
    /// What happens to the remainder.
    pub remainder: Remainder,
}

impl Default for Shard {
    /// One process that sees everything.
    fn default() -> Self {
        Self { rank: 0, world_size: 1, remainder: Remainder::Exact }
    }
}

impl Shard {
    fn check(self) -> Result<()> {
        if self.rank < self.world_size {
            return Ok(());
        }
        let reason = format!("rank {} of {} processes", self.rank, self.world_size);
        Err(Error::Config { option: "Shard::rank", reason })
    }

    /// How many of `total` places are this process's.
    fn len(self, total: usize) -> usize {
        match self.remainder {
            Remainder::Pad => total.div_ceil(self.world_size),
            Remainder::Exact => total.saturating_sub(self.rank).div_ceil(self.world_size),
        }
    }

    fn select(self, places: Vec<Place>) -> Vec<Place> {
        if self.world_size == 1 {
            return places;
        }
        let length = self.len(places.len());
        // A sample that comes once more to fill up gets a number no other copy of it has.
        let rounds = (0..).step_by(places.len().max(1));
        let again = |round| {
            places.iter().map(move |place| Place { repeat: place.repeat + round, ..*place })
        };
        let filled = rounds.take(if places.is_empty() { 0 } else { self.world_size + 1 });
        filled.flat_map(again).skip(self.rank).step_by(self.world_size).take(length).collect()
    }
}

/// One place of an epoch's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The sample.
    pub(crate) index: usize,
    /// How often the sample came before in this epoch. It is part of the key of the sample's
    /// random stream, so that no two copies are augmented alike.
    pub(crate) repeat: usize,
}

/// A sampler with what it had to learn of the data set.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    samples: usize,
    shard: Shard,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Sequential,
    Shuffled,
    /// Sums of the weights up to and with each sample.
    Drawn {
        sums: Vec<f64>,
        draws: usize,
    },
    Repeated(usize),
}

impl Order {
    pub(crate) fn new(dataset: &dyn Dataset, sampler: &Sampler, shard: Shard) -> Result<Self> {
        let samples = dataset.len();
        let kind = match sampler {
            Sampler::Sequential => Kind::Sequential,
            Sampler::Shuffled => Kind::Shuffled,
            Sampler::Weighted { weights, samples: draws } => {
                check_weights(weights, samples)?;
                drawn(weights, draws.unwrap_or(samples))
            }
            Sampler::ClassBalanced { exponent, samples: draws } => {
                if !(0.0..=1.0).contains(exponent) {
                    let reason = format!("{exponent}, must be from 0 to 1");
                    return Err(Error::Config { option: "Sampler::exponent", reason });
                }
                drawn(&class_weights(dataset, *exponent)?, draws.unwrap_or(samples))
            }
            Sampler::GroupBalanced { samples: draws } => {
                drawn(&group_weights(dataset)?, draws.unwrap_or(samples))
            }
            Sampler::Repeated { repeats } => {
                if *repeats == 0 {
                    let reason = "0, must be at least 1".into();
                    return Err(Error::Config { option: "Sampler::repeats", reason });
                }
                Kind::Repeated(*repeats)
            }
        };
        Self { samples, shard: Shard::default(), kind }.with_shard(shard)
    }

    /// The same order, another part of it.
    pub(crate) fn with_shard(self, shard: Shard) -> Result<Self> {
        shard.check()?;
        let repeats = matches!(self.kind, Kind::Repeated(_) | Kind::Drawn { .. });
        if repeats && shard.world_size > 1 && shard.remainder == Remainder::Exact {
            let reason = "Exact shows no sample twice, but the sampler may show them twice".into();
            return Err(Error::Config { option: "Shard::remainder", reason });
        }
        Ok(Self { shard, ..self })
    }

    pub(crate) fn shard(&self) -> Shard {
        self.shard
    }

    /// Places of this process in an epoch.
    pub(crate) fn len(&self) -> usize {
        match &self.kind {
            Kind::Sequential | Kind::Shuffled => self.shard.len(self.samples),
            Kind::Drawn { draws, .. } => self.shard.len(*draws),
            Kind::Repeated(_) => repeated_len(self.samples, self.shard.world_size),
        }
    }

    pub(crate) fn places(&self, streams: Streams, epoch: u64) -> Vec<Place> {
        let all = match &self.kind {
            Kind::Sequential => (0..self.samples).map(first).collect(),
            Kind::Shuffled => {
                streams.permutation("shuffle", epoch, self.samples).into_iter().map(first).collect()
            }
            Kind::Drawn { sums, draws } => draw(sums, *draws, streams, epoch),
            Kind::Repeated(repeats) => return self.repeated(*repeats, streams, epoch),
        };
        self.shard.select(all)
    }

    /// The published rule deals out by itself.
    fn repeated(&self, repeats: usize, streams: Streams, epoch: u64) -> Vec<Place> {
        let Shard { rank, world_size: world, .. } = self.shard;
        RepeatedAugmentation { repeats, world, rank }
            .order(self.samples, streams, epoch)
            // Refused are only the parameters that `new` has checked.
            .unwrap_or_default()
            .into_iter()
            .map(|(index, repeat)| Place { index, repeat })
            .collect()
    }
}

fn first(index: usize) -> Place {
    Place { index, repeat: 0 }
}

/// Length of [`RepeatedAugmentation::order`], without making it.
fn repeated_len(samples: usize, world: usize) -> usize {
    match samples / 256 * 256 {
        0 => samples.div_ceil(world),
        rounded => rounded / world,
    }
}

fn check_weights(weights: &[f64], samples: usize) -> Result<()> {
    let fail = |reason| Err(Error::Config { option: "Sampler::weights", reason });
    if weights.len() != samples {
        return fail(format!("{} weights for {samples} samples", weights.len()));
    }
    if let Some((row, bad)) =
        weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0))
    {
        return fail(format!("weight {bad} of sample {row} is negative or not finite"));
    }
    let sum: f64 = weights.iter().sum();
    if samples > 0 && !(sum.is_finite() && sum > 0.0) {
        return fail(format!("the weights sum to {sum}"));
    }
    Ok(())
}

fn drawn(weights: &[f64], draws: usize) -> Kind {
    let mut sum = 0.0;
    let add = |weight: &f64| {
        sum += weight;
        sum
    };
    Kind::Drawn { sums: weights.iter().map(add).collect(), draws }
}

/// The sample of a uniform draw is the first whose sum of weights is above it, so that a weight of
/// 0 is never drawn.
fn draw(sums: &[f64], draws: usize, streams: Streams, epoch: u64) -> Vec<Place> {
    let Some(&total) = sums.last() else { return Vec::new() };
    let mut stream = streams.stream("sample", epoch, 0);
    let mut seen = vec![0usize; sums.len()];
    // Where rounding brings a draw up to the total: the last sample that can be drawn.
    let last = sums.partition_point(|&sum| sum < total);
    let mut one = || {
        let value = stream.random::<f64>() * total;
        let index = sums.partition_point(|&sum| sum <= value).min(last);
        let repeat = seen.get_mut(index).map_or(0, |count| std::mem::replace(count, *count + 1));
        Place { index, repeat }
    };
    (0..draws).map(|_| one()).collect()
}

fn class_weights(dataset: &dyn Dataset, exponent: f64) -> Result<Vec<f64>> {
    let targets: Vec<Target> =
        (0..dataset.len()).map(|index| Ok(dataset.record(index)?.target)).collect::<Result<_>>()?;
    let mut counts: HashMap<Option<usize>, usize> = HashMap::new();
    for target in &targets {
        for class in present(target) {
            *counts.entry(class).or_default() += 1;
        }
    }
    let weight = |target: &Target| {
        let rarest = present(target).into_iter().filter_map(|class| counts.get(&class)).min();
        rarest.map_or(0.0, |&count| (count as f64).powf(-exponent))
    };
    Ok(targets.iter().map(weight).collect())
}

/// The classes a sample counts for; `None` is that of samples without any.
fn present(target: &Target) -> Vec<Option<usize>> {
    match target {
        Target::None => vec![None],
        Target::Class(class) => vec![Some(*class)],
        Target::Labels(labels) => {
            let is_present = |label: &Option<f32>| label.is_some_and(|value| value >= 0.5);
            let found: Vec<_> = labels
                .iter()
                .enumerate()
                .filter_map(|(class, label)| is_present(label).then_some(Some(class)))
                .collect();
            if found.is_empty() { vec![None] } else { found }
        }
    }
}

fn group_weights(dataset: &dyn Dataset) -> Result<Vec<f64>> {
    let groups: Vec<String> =
        (0..dataset.len()).map(|index| Ok(dataset.record(index)?.group)).collect::<Result<_>>()?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for group in &groups {
        *counts.entry(group).or_default() += 1;
    }
    let weight = |group: &String| counts.get(group.as_str()).map_or(0.0, |&n| 1.0 / n as f64);
    Ok(groups.iter().map(weight).collect())
}
