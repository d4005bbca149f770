//! Pictures that hardly differ.

use std::collections::BTreeMap;

use super::AuditOptions;
use super::entries::{Entries, Entry};
use super::picture::{Facts, Look};
use super::report::{Finding, FindingKind};
use crate::Result;
use crate::parallel::ordered;

/// A picture whose hash is compared.
struct Candidate<'a> {
    place: usize,
    /// Set bits of the hash: those of near hashes are near.
    ones: u32,
    look: &'a Look,
    pixels: &'a str,
}

/// Two pictures that hardly differ.
struct Pair {
    first: usize,
    second: usize,
    bits: u32,
    correlation: f32,
}

/// Pictures within the distance and correlation of the options, but not equal. Those connected
/// through others are one finding: the frames of a video are near their neighbours.
pub(super) fn near_duplicates(
    entries: &Entries<'_>,
    facts: &[Option<Facts>],
    options: &AuditOptions,
    workers: usize,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let mut candidates: Vec<Candidate<'_>> = facts
        .iter()
        .enumerate()
        .filter_map(|(place, fact)| {
            let fact = fact.as_ref()?;
            let look = fact.look.as_ref()?;
            let ones = look.bits.iter().map(|word| word.count_ones()).sum();
            Some(Candidate { place, ones, look, pixels: &fact.pixels })
        })
        .collect();
    candidates.sort_by_key(|candidate| (candidate.ones, candidate.place));
    let mut sets = Sets::new(facts.len());
    let mut all = Vec::new();
    let near = |at: usize| near(&candidates, at, options);
    ordered(candidates.len(), workers, near, |_, pairs| {
        for pair in pairs {
            sets.join(pair.first, pair.second);
            all.push(pair);
        }
        Ok(())
    })?;
    for (members, pair) in sets.groups(all) {
        let members: Vec<&Entry> = members.iter().filter_map(|&at| entries.list.get(at)).collect();
        let across = entries.parts_of(members.iter().copied()).len() > 1;
        let kind = if across {
            FindingKind::NearDuplicateAcross
        } else {
            FindingKind::NearDuplicateWithin
        };
        let name = |at: usize| {
            let entry = entries.list.get(at);
            entry
                .map(|entry| format!("{} in {}", entry.id, entries.part(entry)))
                .unwrap_or_default()
        };
        let mut detail = format!(
            "{} ≈ {}: {} of 256 bits differ, correlation {:.3}",
            name(pair.first),
            name(pair.second),
            pair.bits,
            pair.correlation
        );
        if members.len() > 2 {
            detail += &format!("; and {} more near these", members.len() - 2);
        }
        findings.push(entries.finding(kind, detail, members));
    }
    Ok(())
}

/// The pairs of one candidate with those after it. By the triangle inequality the numbers of set
/// bits of two near hashes differ by the distance at most, which ends the search early.
fn near(candidates: &[Candidate<'_>], at: usize, options: &AuditOptions) -> Vec<Pair> {
    let Some((one, after)) = candidates.get(at..).and_then(<[_]>::split_first) else {
        return Vec::new();
    };
    after
        .iter()
        .take_while(|other| other.ones - one.ones <= options.near_bits)
        .filter_map(|other| {
            let bits = one.look.distance(other.look);
            if bits > options.near_bits || one.pixels == other.pixels {
                return None;
            }
            let correlation = one.look.correlation(other.look);
            let (first, second) = (one.place.min(other.place), one.place.max(other.place));
            (correlation >= options.near_correlation).then_some(Pair {
                first,
                second,
                bits,
                correlation,
            })
        })
        .collect()
}

/// Disjoint sets of places, each known by its smallest member.
struct Sets(Vec<usize>);

impl Sets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&self, mut at: usize) -> usize {
        while let Some(&up) = self.0.get(at)
            && up != at
        {
            at = up;
        }
        at
    }

    fn join(&mut self, first: usize, second: usize) {
        let (a, b) = (self.root(first), self.root(second));
        for at in [first, second, a, b] {
            if let Some(up) = self.0.get_mut(at) {
                *up = a.min(b);
            }
        }
    }

    /// The members of each set that has pairs, and its closest pair, by the smallest member.
    fn groups(&self, pairs: Vec<Pair>) -> Vec<(Vec<usize>, Pair)> {
        let mut groups: BTreeMap<usize, (Vec<usize>, Pair)> = BTreeMap::new();
        for pair in pairs {
            let key = |pair: &Pair| (pair.bits, pair.first, pair.second);
            let both = [pair.first, pair.second];
            match groups.get_mut(&self.root(pair.first)) {
                None => {
                    groups.insert(self.root(pair.first), (both.to_vec(), pair));
                }
                Some((members, closest)) => {
                    members.extend(both);
                    if key(&pair) < key(closest) {
                        *closest = pair;
                    }
                }
            }
        }
        let sorted = |(mut members, pair): (Vec<usize>, Pair)| {
            members.sort_unstable();
            members.dedup();
            (members, pair)
        };
        groups.into_values().map(sorted).collect()
    }
}
