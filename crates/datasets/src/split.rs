//! Dividing patients, never pictures.

use std::collections::HashMap;

use vit_random::Streams;

use crate::{Dataset, Error, Record, Result, Target};

/// Divides a data set into parts that share no group, sized by `fractions` of the samples.
///
/// Each group goes where it brings sizes and class frequencies closest to the fractions, the
/// largest groups first; groups of equal size come in an order drawn from `seed`. So the classes
/// are spread about evenly as far as whole patients allow. The indices of each part ascend. The
/// result depends on nothing but the records, the fractions and the seed.
///
/// # Errors
/// [`Error::Split`] when a fraction is not positive, they do not sum to 1 (within 1e-6), or there
/// are fewer groups than parts; or the error of a record that cannot be read.
///
/// # Examples
/// ```
/// use vit_datasets::{Phantom, PhantomConfig, check_parts_disjoint, split_by_group};
/// let data = Phantom::new(PhantomConfig { len: 100, patients: 20, ..Default::default() })?;
/// let parts = split_by_group(&data, &[0.7, 0.1, 0.2], 0)?;
/// check_parts_disjoint(&data, &parts)?;
/// # Ok::<(), vit_datasets::Error>(())
/// ```
pub fn split_by_group(
    dataset: &dyn Dataset,
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let groups = Groups::collect(dataset)?;
    check_fractions(fractions, groups.list.len())?;
    let mut parts: Vec<Part> =
        fractions.iter().map(|&fraction| Part::new(fraction, groups.totals.len())).collect();
    for number in groups.order(seed) {
        let Some(group) = groups.list.get(number) else { continue };
        let best = parts
            .iter_mut()
            .min_by(|a, b| a.cost(group, &groups.totals).total_cmp(&b.cost(group, &groups.totals)));
        if let Some(part) = best {
            part.take(number, group);
        }
    }
    fill_empty(&mut parts, &groups);
    Ok(parts.iter().map(|part| part.indices(&groups)).collect())
}

/// Checks that no two parts of one data set share a group.
///
/// # Errors
/// [`Error::SharedGroup`] naming the group and both parts, or the error of a record that cannot be
/// read.
pub fn check_parts_disjoint(dataset: &dyn Dataset, parts: &[Vec<usize>]) -> Result<()> {
    let mut owners = Owners::default();
    for (part, indices) in parts.iter().enumerate() {
        for &index in indices {
            owners.claim(dataset.record(index)?, part)?;
        }
    }
    Ok(())
}

/// Checks that no two data sets share a group, as training and test set must not.
///
/// The group names must mean the same in all of them: those of [`crate::MedMnist`] and of
/// [`crate::GroupRule::PerFile`] contain the split and so never match.
///
/// # Errors
/// As [`check_parts_disjoint`].
pub fn check_group_disjoint(datasets: &[&dyn Dataset]) -> Result<()> {
    let mut owners = Owners::default();
    for (part, dataset) in datasets.iter().enumerate() {
        for index in 0..dataset.len() {
            owners.claim(dataset.record(index)?, part)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Owners(HashMap<String, usize>);

impl Owners {
    fn claim(&mut self, record: Record, part: usize) -> Result<()> {
        match self.0.get(&record.group) {
            Some(&first) if first != part => {
                Err(Error::SharedGroup { group: record.group, first, second: part })
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(record.group, part);
                Ok(())
            }
        }
    }
}

fn check_fractions(fractions: &[f64], groups: usize) -> Result<()> {
    let fail = |reason| Err(Error::Split { groups, parts: fractions.len(), reason });
    if let Some(bad) = fractions.iter().find(|&&fraction| fraction.is_nan() || fraction <= 0.0) {
        return fail(format!("fraction {bad} is not positive"));
    }
    let sum: f64 = fractions.iter().sum();
    if !sum.is_finite() || (sum - 1.0).abs() > 1e-6 {
        return fail(format!("the fractions sum to {sum}, not to 1"));
    }
    if groups < fractions.len() {
        return fail("each part needs at least one group".into());
    }
    Ok(())
}

/// One patient: samples, and how many of each kind. Kind 0 counts the samples themselves, the
/// others the classes or present findings.
struct Group {
    indices: Vec<usize>,
    counts: Vec<f64>,
}

struct Groups {
    list: Vec<Group>,
    totals: Vec<f64>,
}

impl Groups {
    fn collect(dataset: &dyn Dataset) -> Result<Self> {
        let kinds = 1 + dataset.task().names().len();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut list: Vec<Group> = Vec::new();
        let mut totals = vec![0.0; kinds];
        for index in 0..dataset.len() {
            let record = dataset.record(index)?;
            let next = list.len();
            let number = *numbers.entry(record.group).or_insert(next);
            if number == next {
                list.push(Group { indices: Vec::new(), counts: vec![0.0; kinds] });
            }
            if let Some(group) = list.get_mut(number) {
                group.indices.push(index);
                count(&record.target, &mut group.counts);
                count(&record.target, &mut totals);
            }
        }
        Ok(Self { list, totals })
    }

    /// Largest first, equal ones at random: small groups last can still even things out.
    fn order(&self, seed: u64) -> Vec<usize> {
        let mut order = Streams::new(seed).permutation("split", 0, self.list.len());
        let size = |number: &usize| self.list.get(*number).map_or(0, |group| group.indices.len());
        order.sort_by_key(|number| std::cmp::Reverse(size(number)));
        order
    }
}

fn count(target: &Target, counts: &mut [f64]) {
    let Some((samples, kinds)) = counts.split_first_mut() else { return };
    *samples += 1.0;
    match target {
        Target::None => {}
        Target::Class(class) => {
            if let Some(kind) = kinds.get_mut(*class) {
                *kind += 1.0;
            }
        }
        Target::Labels(labels) => {
            for (kind, label) in kinds.iter_mut().zip(labels) {
                *kind += f64::from(label.unwrap_or(0.0));
            }
        }
    }
}

struct Part {
    fraction: f64,
    groups: Vec<usize>,
    counts: Vec<f64>,
}

impl Part {
    fn new(fraction: f64, kinds: usize) -> Self {
        Self { fraction, groups: Vec::new(), counts: vec![0.0; kinds] }
    }

    /// By how much the squared distance from the wanted shares changes if the group comes here.
    fn cost(&self, group: &Group, totals: &[f64]) -> f64 {
        let change = |((&have, &more), &total): ((&f64, &f64), &f64)| {
            if total <= 0.0 {
                return 0.0;
            }
            let before = have / total - self.fraction;
            let after = (have + more) / total - self.fraction;
            after * after - before * before
        };
        self.counts.iter().zip(&group.counts).zip(totals).map(change).sum()
    }

    fn take(&mut self, number: usize, group: &Group) {
        self.groups.push(number);
        for (have, more) in self.counts.iter_mut().zip(&group.counts) {
            *have += more;
        }
    }

    fn indices(&self, groups: &Groups) -> Vec<usize> {
        let members = self.groups.iter().filter_map(|&number| groups.list.get(number));
        let mut indices: Vec<usize> = members.flat_map(|g| g.indices.iter().copied()).collect();
        indices.sort_unstable();
        indices
    }
}

/// A tiny fraction can end up with nothing; it gets the last (smallest) group of the part with the
/// most. The caller has checked that there are enough groups.
fn fill_empty(parts: &mut [Part], groups: &Groups) {
    while let Some(empty) = parts.iter().position(|part| part.groups.is_empty()) {
        let richest = parts.iter_mut().max_by_key(|part| part.groups.len());
        let Some(number) = richest.and_then(|part| part.groups.pop()) else { return };
        if let (Some(part), Some(group)) = (parts.get_mut(empty), groups.list.get(number)) {
            part.take(number, group);
        }
    }
}
