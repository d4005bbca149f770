//! Smaller training sets, and folds.

use std::collections::HashMap;

use vit_random::Streams;

use crate::{Dataset, Error, Result, Target, split_by_group};

/// Takes a share of a data set: whole groups (patients), every class in about its share, and
/// nested: with one seed, the samples of a smaller fraction are among those of a larger one.
///
/// Groups are sorted into strata by their rarest label; within each they come in an order drawn
/// from `seed`, and a group at place i of n stands at (i + ½)/n. Groups are taken in the order of
/// these numbers until there are as many samples as asked for, at least one group. The published
/// lists of 1 % and 10 % of `ChestX-ray14` are not nested.
///
/// # Errors
/// [`Error::Config`] when `fraction` is not above 0 and at most 1; or the error of a record that
/// cannot be read.
///
/// # Examples
/// ```
/// use vit_datasets::{Phantom, PhantomConfig, fraction};
/// let data = Phantom::new(PhantomConfig { len: 200, patients: 50, ..Default::default() })?;
/// let tenth = fraction(&data, 0.1, 7)?;
/// let half = fraction(&data, 0.5, 7)?;
/// assert!(tenth.iter().all(|index| half.contains(index)));
/// # Ok::<(), vit_datasets::Error>(())
/// ```
pub fn fraction(dataset: &dyn Dataset, fraction: f64, seed: u64) -> Result<Vec<usize>> {
    if !(fraction > 0.0 && fraction <= 1.0) {
        let reason = format!("{fraction} is not above 0 and at most 1");
        return Err(Error::Config { option: "fraction", reason });
    }
    let wanted = (fraction * dataset.len() as f64).round().max(1.0) as usize;
    let mut taken = Vec::new();
    for group in ordered(dataset, seed)? {
        if taken.len() >= wanted {
            break;
        }
        taken.extend(group);
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Divides a data set into `folds` parts of about equal size that share no group, each with about
/// the same share of every class.
///
/// # Errors
/// As [`split_by_group`], and for fewer than 2 folds.
pub fn folds_by_group(dataset: &dyn Dataset, folds: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    if folds < 2 {
        let reason = format!("{folds} fold(s); at least 2 are needed");
        return Err(Error::Config { option: "folds", reason });
    }
    split_by_group(dataset, &vec![1.0 / folds as f64; folds], seed)
}

/// The samples of all folds but one, ascending: what is trained on while `held_out` is tested.
///
/// # Errors
/// [`Error::Config`] when there is no such fold.
pub fn all_but_fold(folds: &[Vec<usize>], held_out: usize) -> Result<Vec<usize>> {
    if held_out >= folds.len() {
        let reason = format!("fold {held_out} of {}", folds.len());
        return Err(Error::Config { option: "held_out", reason });
    }
    let others = folds.iter().enumerate().filter(|(number, _)| *number != held_out);
    let mut indices: Vec<usize> = others.flat_map(|(_, fold)| fold.iter().copied()).collect();
    indices.sort_unstable();
    Ok(indices)
}

struct Group {
    indices: Vec<usize>,
    /// How many samples have each label.
    labels: Vec<bool>,
}

/// The groups' samples in the order in which they are taken.
fn ordered(dataset: &dyn Dataset, seed: u64) -> Result<Vec<Vec<usize>>> {
    let (groups, counts) = collect(dataset)?;
    // The last stratum is that of groups without any label.
    let mut strata: Vec<Vec<usize>> = vec![Vec::new(); counts.len() + 1];
    for (number, group) in groups.iter().enumerate() {
        let rarest = (0..counts.len())
            .filter(|&label| group.labels.get(label) == Some(&true))
            .min_by_key(|&label| counts.get(label).copied().unwrap_or(0))
            .unwrap_or(counts.len());
        if let Some(stratum) = strata.get_mut(rarest) {
            stratum.push(number);
        }
    }
    let streams = Streams::new(seed);
    let ties = streams.permutation("fraction", u64::MAX, groups.len());
    let mut placed: Vec<(f64, usize, usize)> = Vec::with_capacity(groups.len());
    for (stratum, members) in strata.iter().enumerate() {
        let order = streams.permutation("fraction", stratum as u64, members.len());
        for (place, position) in order.into_iter().enumerate() {
            let Some(&number) = members.get(position) else { continue };
            let share = (place as f64 + 0.5) / members.len() as f64;
            placed.push((share, ties.get(number).copied().unwrap_or(0), number));
        }
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut indices: Vec<Vec<usize>> = groups.into_iter().map(|group| group.indices).collect();
    let mut take = |number: usize| indices.get_mut(number).map(std::mem::take).unwrap_or_default();
    Ok(placed.into_iter().map(|(_, _, number)| take(number)).collect())
}

fn collect(dataset: &dyn Dataset) -> Result<(Vec<Group>, Vec<usize>)> {
    let kinds = dataset.task().names().len();
    let mut counts = vec![0; kinds];
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for index in 0..dataset.len() {
        let record = dataset.record(index)?;
        let next = groups.len();
        let number = *numbers.entry(record.group).or_insert(next);
        if number == next {
            groups.push(Group { indices: Vec::new(), labels: vec![false; kinds] });
        }
        let Some(group) = groups.get_mut(number) else { continue };
        group.indices.push(index);
        for label in present(&record.target) {
            if let (Some(flag), Some(count)) = (group.labels.get_mut(label), counts.get_mut(label))
            {
                *flag = true;
                *count += 1;
            }
        }
    }
    Ok((groups, counts))
}

fn present(target: &Target) -> Vec<usize> {
    match target {
        Target::None => Vec::new(),
        Target::Class(class) => vec![*class],
        Target::Labels(labels) => {
            let has = |(_, label): &(usize, &Option<f32>)| label.is_some_and(|value| value >= 0.5);
            labels.iter().enumerate().filter(has).map(|(position, _)| position).collect()
        }
    }
}
