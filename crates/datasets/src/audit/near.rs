//! Pictures that hardly differ.

use std::collections::{BTreeMap, HashMap};

use super::AuditOptions;
use super::entries::{Entries, Entry};
use super::look::{Bits, Counts, Look, Turn};
use super::picture::Facts;
use super::report::{Finding, FindingKind};
use crate::Result;
use crate::parallel::ordered;

/// A picture whose hash is compared.
struct Candidate<'a> {
    place: usize,
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
    let candidates = facts
        .iter()
        .enumerate()
        .filter_map(|(place, fact)| {
            let fact = fact.as_ref()?;
            Some(Candidate { place, look: fact.look.as_ref()?, pixels: &fact.pixels })
        })
        .collect();
    let candidates = Candidates::new(candidates);
    let mut clusters = Clusters::new(facts.len());
    let near = |at: usize| candidates.near(at, options);
    ordered(candidates.all.len(), workers, near, |_, pairs| {
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

/// Pictures by the number of set bits of their hashes.
struct Candidates<'a> {
    all: Vec<Candidate<'a>>,
    /// The hashes alone: nearly all that is done is to go through these.
    bits: Vec<(Counts, Bits)>,
}

impl<'a> Candidates<'a> {
    fn new(mut all: Vec<Candidate<'a>>) -> Self {
        all.sort_by_cached_key(|one| (one.look.bits.ones(), one.place));
        let bits = all.iter().map(|one| (one.look.bits.counts(), one.look.bits)).collect();
        Self { all, bits }
    }

    /// The pairs of one candidate: with those after it as they are, and with those of higher places
    /// as it looks mirrored and turned.
    fn near(&self, at: usize, options: &AuditOptions) -> Vec<Pair> {
        let Some(one) = self.all.get(at) else { return Vec::new() };
        let mut pairs = Vec::new();
        let upright = self.within(one.look, at + 1, options);
        pairs.extend(upright.filter_map(|(other, bits)| {
            pair(one, one.look, other, bits, None).filter(|pair| pair.is_close(options))
        }));
        let turns = Turn::all().filter(|_| options.near_turned);
        for turn in turns {
            // A miniature can be turned; that it could not would be no finding about the picture.
            let Ok(look) = one.look.turned(turn) else { continue };
            let others = self.within(&look, 0, options);
            let others = others.filter(|(other, _)| other.place > one.place);
            pairs.extend(others.filter_map(|(other, bits)| {
                pair(one, &look, other, bits, Some(turn)).filter(|pair| pair.is_close(options))
            }));
        }
        pairs
    }

    /// Those from a position on whose hashes are near. By the triangle inequality their numbers of
    /// set bits differ by the distance at most.
    fn within(
        &self,
        look: &Look,
        from: usize,
        options: &AuditOptions,
    ) -> impl Iterator<Item = (&Candidate<'a>, u32)> {
        let (bits, counts, most) = (look.bits, look.bits.counts(), options.near_bits);
        let ones = bits.ones();
        let first = self.all.partition_point(|other| other.look.bits.ones() + most < ones);
        let to = self.all.partition_point(|other| other.look.bits.ones() <= ones + most);
        let from = from.max(first);
        let near = self.bits.get(from..to).unwrap_or_default().iter().enumerate();
        let near = near.filter(move |(_, (other, _))| counts.at_least(other) <= most);
        let near = near.map(move |(at, (_, other))| (from + at, bits.distance(other)));
        let near = near.filter(move |(_, bits)| *bits <= most);
        near.filter_map(|(at, bits)| Some((self.all.get(at)?, bits)))
    }
}

/// Two pictures, the first of which looks as given; `None` if they are equal.
fn pair(
    one: &Candidate<'_>,
    look: &Look,
    other: &Candidate<'_>,
    bits: u32,
    turn: Option<Turn>,
) -> Option<Pair> {
    let (first, second) = (one.place.min(other.place), one.place.max(other.place));
    (one.pixels != other.pixels).then(|| {
        let correlation = look.correlation(other.look);
        Pair { first, second, bits, correlation, turn }
    })
}

impl Pair {
    fn is_close(&self, options: &AuditOptions) -> bool {
        self.correlation >= options.near_correlation
    }
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
