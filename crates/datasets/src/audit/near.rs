//! Pictures that hardly differ.

use std::collections::{BTreeMap, HashMap};

use super::AuditOptions;
use super::entries::{Entries, Entry};
use super::look::{Look, Turn};
use super::picture::Facts;
use super::report::{Finding, FindingKind};
use crate::Result;
use crate::parallel::ordered;

/// A picture whose hash is compared.
struct Candidate<'a> {
    place: usize,
    ones: u32,
    look: &'a Look,
    pixels: &'a str,
}

/// Two pictures that hardly differ.
#[derive(Clone)]
struct Pair {
    first: usize,
    second: usize,
    bits: u32,
    correlation: f32,
    turn: Option<Turn>,
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
            Some(Candidate { place, ones: look.ones(), look, pixels: &fact.pixels })
        })
        .collect();
    candidates.sort_by_key(|candidate| (candidate.ones, candidate.place));
    let mut clusters = Clusters::new(facts.len());
    let near = |at: usize| near(&candidates, at, options);
    ordered(candidates.len(), workers, near, |_, pairs| {
        pairs.into_iter().for_each(|pair| clusters.add(pair));
        Ok(())
    })?;
    for (members, cluster) in clusters.finish() {
        let members: Vec<&Entry> = members.iter().filter_map(|&at| entries.list.get(at)).collect();
        let across = entries.parts_of(members.iter().copied()).len() > 1;
        let kind = if across {
            FindingKind::NearDuplicateAcross
        } else {
            FindingKind::NearDuplicateWithin
        };
        let detail = cluster.describe(entries, members.len());
        findings.push(entries.finding(kind, detail, members));
    }
    Ok(())
}

/// The pairs of one candidate: with those after it as they are, and with those of higher places as
/// it looks mirrored and turned.
fn near(candidates: &[Candidate<'_>], at: usize, options: &AuditOptions) -> Vec<Pair> {
    let Some((one, after)) = candidates.get(at..).and_then(<[_]>::split_first) else {
        return Vec::new();
    };
    let mut pairs = Vec::new();
    let upright = within(after, one.ones, options.near_bits);
    pairs.extend(upright.iter().filter_map(|other| pair(one, one.look, other, None, options)));
    if options.near_turned {
        for turn in Turn::all() {
            // A miniature can be turned; that it could not would be no finding about the picture.
            let Ok(look) = one.look.turned(turn) else { continue };
            let others = within(candidates, look.ones(), options.near_bits);
            let others = others.iter().filter(|other| other.place > one.place);
            pairs.extend(others.filter_map(|other| pair(one, &look, other, Some(turn), options)));
        }
    }
    pairs
}

/// Those whose numbers of set bits differ from this one by the distance at most: by the triangle
/// inequality, no others are near.
fn within<'c, 'a>(candidates: &'c [Candidate<'a>], ones: u32, bits: u32) -> &'c [Candidate<'a>] {
    let from = candidates.partition_point(|other| other.ones + bits < ones);
    let to = candidates.partition_point(|other| other.ones <= ones + bits);
    candidates.get(from..to).unwrap_or_default()
}

fn pair(
    one: &Candidate<'_>,
    look: &Look,
    other: &Candidate<'_>,
    turn: Option<Turn>,
    options: &AuditOptions,
) -> Option<Pair> {
    let bits = look.distance(other.look);
    if bits > options.near_bits || one.pixels == other.pixels {
        return None;
    }
    let correlation = look.correlation(other.look);
    let (first, second) = (one.place.min(other.place), one.place.max(other.place));
    let pair = Pair { first, second, bits, correlation, turn };
    (correlation >= options.near_correlation).then_some(pair)
}

/// What is kept of the pairs of connected pictures. The pairs themselves are too many: those of a
/// thousand frames of one video are half a million.
struct Cluster {
    closest: Pair,
    most_bits: u32,
    least_correlation: f32,
}

impl Cluster {
    fn of(pair: Pair) -> Self {
        Self { most_bits: pair.bits, least_correlation: pair.correlation, closest: pair }
    }

    /// Upright pairs come before turned ones; many pictures are near their own mirror image.
    fn merge(self, other: Self) -> Self {
        let key = |of: &Self| {
            (of.closest.bits, of.closest.turn.is_some(), of.closest.first, of.closest.second)
        };
        let (most_bits, least_correlation) = (
            self.most_bits.max(other.most_bits),
            self.least_correlation.min(other.least_correlation),
        );
        let closest = if key(&self) <= key(&other) { self.closest } else { other.closest };
        Self { closest, most_bits, least_correlation }
    }

    fn describe(&self, entries: &Entries<'_>, members: usize) -> String {
        let name = |at: usize| {
            let entry = entries.list.get(at);
            entry.map_or_else(String::new, |entry| {
                format!("{} in {}", entry.id, entries.part(entry))
            })
        };
        let pair = &self.closest;
        let (first, second, bits) = (name(pair.first), name(pair.second), pair.bits);
        let turn = pair.turn.map_or_else(String::new, |turn| format!("{}, ", turn.name()));
        let mut detail = format!(
            "{first} ≈ {second}: {turn}{bits} of 256 bits differ, correlation {:.3}",
            pair.correlation
        );
        if members > 2 {
            detail += &format!(
                "; and {} more near these, with up to {} bits and correlations from {:.3}",
                members - 2,
                self.most_bits,
                self.least_correlation
            );
        }
        detail
    }
}

/// Disjoint sets of places, each known by its smallest member.
struct Clusters {
    up: Vec<usize>,
    /// By the smallest member.
    found: HashMap<usize, Cluster>,
}

impl Clusters {
    fn new(len: usize) -> Self {
        Self { up: (0..len).collect(), found: HashMap::new() }
    }

    /// The smallest member of a place's set; the way there is halved for the next time.
    fn root(&mut self, mut at: usize) -> usize {
        while let Some(&up) = self.up.get(at)
            && up != at
        {
            let above = self.up.get(up).copied().unwrap_or(up);
            if let Some(place) = self.up.get_mut(at) {
                *place = above;
            }
            at = above;
        }
        at
    }

    fn add(&mut self, pair: Pair) {
        let (a, b) = (self.root(pair.first), self.root(pair.second));
        let (low, high) = (a.min(b), a.max(b));
        if let Some(place) = self.up.get_mut(high) {
            *place = low;
        }
        let parts = [self.found.remove(&low), self.found.remove(&high)];
        let cluster = parts.into_iter().flatten().fold(Cluster::of(pair), Cluster::merge);
        self.found.insert(low, cluster);
    }

    /// The members of each set that has pairs, by the smallest member.
    fn finish(mut self) -> Vec<(Vec<usize>, Cluster)> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.up.len() {
            let root = self.root(at);
            if self.found.contains_key(&root) {
                members.entry(root).or_default().push(at);
            }
        }
        let with = |(root, members)| Some((members, self.found.remove(&root)?));
        members.into_iter().filter_map(with).collect()
    }
}
