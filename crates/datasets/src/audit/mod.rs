//! Checks of data sets and their splits before anything is trained on them.
//!
//! [`Audit`] takes the parts of the data (data sets with pictures, or lists without), looks at
//! every picture once, and gives an [`AuditReport`]: typed, serialisable, printable, and as one HTML
//! page ([`Audit::html`]).
//!
//! ```
//! use std::sync::Arc;
//! use vit_datasets::audit::{Audit, AuditOptions, FindingKind, Severity};
//! use vit_datasets::{Phantom, PhantomConfig};
//!
//! let phantom = |seed| Phantom::new(PhantomConfig { len: 20, seed, ..Default::default() });
//! let audit = Audit::new(AuditOptions::default())
//!     .part("train", Arc::new(phantom(1)?))
//!     .part("test", Arc::new(phantom(1)?));
//! let report = audit.run(&|_, _| {})?;
//! assert_eq!(report.worst(), Some(Severity::Error));
//! assert_eq!(report.of(FindingKind::DuplicateAcross).count(), 20);
//! # Ok::<(), vit_datasets::Error>(())
//! ```

mod attributes;
mod entries;
mod html;
#[cfg(feature = "dicom")]
mod identity;
mod labels;
mod left_out;
mod list;
mod look;
mod master;
mod mode;
mod near;
mod options;
mod paths;
mod picture;
mod report;
mod rows;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::hash::Hasher;
use crate::parallel::ordered;
use crate::{Dataset, Error, Progress, Result};
use attributes::Known;
use entries::{Content, Entries, Part};
use picture::{Facts, examine};

pub use attributes::Attributes;
pub use list::{FileList, ListLabels, ListOptions};
pub use options::AuditOptions;
pub use report::{AuditReport, Finding, FindingKind, PartSummary, Prevalence, SampleRef, Severity};

/// More threads than any machine can use.
const MOST_WORKERS: usize = 1024;

/// An audit of the parts of a data set.
pub struct Audit {
    options: AuditOptions,
    workers: usize,
    parts: Vec<Part>,
    master: Option<Part>,
    attributes: Option<Attributes>,
    chains: Vec<Vec<Part>>,
}

impl Default for Audit {
    fn default() -> Self {
        Self::new(AuditOptions::default())
    }
}

impl Audit {
    /// An audit of nothing yet.
    #[must_use]
    pub fn new(options: AuditOptions) -> Self {
        let (parts, chains) = (Vec::new(), Vec::new());
        Self { options, workers: 2, parts, master: None, attributes: None, chains }
    }

    /// Threads that read and compare pictures (2 if not set); 0 for the calling one. The report
    /// does not depend on it.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Adds a split.
    #[must_use]
    pub fn part(mut self, name: impl Into<String>, dataset: Arc<dyn Dataset>) -> Self {
        self.parts.push(Part { name: name.into(), content: Content::Pictures(dataset) });
        self
    }

    /// Adds a split of which only the list of files is at hand.
    #[must_use]
    pub fn list(mut self, name: impl Into<String>, list: FileList) -> Self {
        self.parts.push(Part { name: name.into(), content: Content::List(list) });
        self
    }

    /// The table that all labels are compared with. A file's row is that whose path it ends in, or
    /// that ends in its path, with or without extension; what could be several rows is a finding.
    #[must_use]
    pub fn master(mut self, master: FileList) -> Self {
        self.master = Some(Part { name: "master".into(), content: Content::List(master) });
        self
    }

    /// Ages and subgroups beside those that the data tell ([`Dataset::attribute`]). Of a column
    /// that both have, that of the table counts.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// Adds lists each of which must be contained in the next one, smallest first, such as 1 %,
    /// 10 % and 100 % of the training data.
    #[must_use]
    pub fn nested(mut self, lists: Vec<(String, FileList)>) -> Self {
        let part = |(name, list)| Part { name, content: Content::List(list) };
        self.chains.push(lists.into_iter().map(part).collect());
        self
    }

    /// Looks at everything; `progress` is told how many of the pictures have been read.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, parts of one name and an audit of nothing; the
    /// error of a record that cannot be read; [`Error::Column`] for a column that there is not, and
    /// [`Error::Row`] where the attribute table contradicts itself. Pictures that cannot be read
    /// are findings.
    pub fn run(&self, progress: Progress<'_>) -> Result<AuditReport> {
        self.check()?;
        let entries = Entries::collect(&self.parts)?;
        let facts = self.look(&entries, progress)?;
        let mut findings = Vec::new();
        shared::groups(&entries, &mut findings);
        shared::files(&entries, &facts, &mut findings);
        shared::names(&entries, &mut findings);
        shared::duplicates(&entries, &facts, &mut findings);
        near::near_duplicates(&entries, &facts, &self.options, self.workers, &mut findings)?;
        faults(&entries, &facts, &mut findings);
        left_out::left_out(&entries, &mut findings);
        modes(&entries, &facts, &mut findings);
        if let Some(master) = &self.master {
            master::against_master(&entries, master, &mut findings)?;
        }
        for chain in &self.chains {
            labels::nesting(&Entries::collect(chain)?, &mut findings);
        }
        let attributes = Known::new(&entries, self.attributes.as_ref(), &mut findings);
        labels::ages(&entries, &attributes, &self.options, &mut findings)?;
        let mut prevalence = labels::prevalence(&entries, None)?;
        for column in &self.options.subgroups {
            prevalence.extend(labels::prevalence(&entries, Some((column, &attributes)))?);
        }
        for finding in &mut findings {
            if let Some(severity) = self.options.severities.get(&finding.kind) {
                finding.severity = *severity;
            }
        }
        let parts = summaries(&entries, &facts);
        Ok(AuditReport::new(self.options.clone(), parts, findings, prevalence))
    }

    /// Parts are told apart by their names, in findings and on the page.
    fn check(&self) -> Result<()> {
        self.options.check()?;
        let fail = |option, reason| Err(Error::Config { option, reason });
        let tables = self.master.is_some() || self.attributes.is_some();
        if self.parts.is_empty() && (tables || self.chains.is_empty()) {
            return fail("Audit::part", "there is no part to look at".into());
        }
        for parts in self.chains.iter().chain([&self.parts]) {
            let mut seen = BTreeSet::new();
            let name = parts.iter().map(|part| &part.name).find(|name| !seen.insert(*name));
            if let Some(name) = name {
                return fail("Audit::part", format!("two parts have the name '{name}'"));
            }
        }
        if self.chains.iter().any(|chain| chain.len() < 2) {
            return fail("Audit::nested", "one list alone is not nested in another".into());
        }
        // Each is a thread of the system.
        if self.workers > MOST_WORKERS {
            let reason = format!("{} is more than {MOST_WORKERS}", self.workers);
            return fail("Audit::workers", reason);
        }
        Ok(())
    }

    /// The report as one HTML page without scripts or outside resources, with small versions of
    /// the pictures that findings are about. They are read again for it.
    #[must_use]
    pub fn html(&self, report: &AuditReport, title: &str) -> String {
        html::page(report, title, &self.parts)
    }

    /// Facts of all pictures; of lists, and where pictures are not wanted, there are none.
    fn look(&self, entries: &Entries<'_>, progress: Progress<'_>) -> Result<Vec<Option<Facts>>> {
        if !self.options.pictures {
            return Ok(vec![None; entries.list.len()]);
        }
        let total = entries.list.iter().filter(|entry| entries.dataset(entry).is_some()).count();
        let look = |at: usize| {
            let entry = entries.list.get(at)?;
            Some(examine(entries.dataset(entry)?, entry.index))
        };
        let (mut facts, mut done) = (Vec::with_capacity(entries.list.len()), 0);
        ordered(entries.list.len(), self.workers, look, |_, fact| {
            done += usize::from(fact.is_some());
            facts.push(fact);
            progress(done, total);
            Ok(())
        })?;
        Ok(facts)
    }
}

/// What is wrong with single pictures.
fn faults(entries: &Entries<'_>, facts: &[Option<Facts>], findings: &mut Vec<Finding>) {
    for (entry, fact) in entries.list.iter().zip(facts) {
        for (kind, reason) in fact.iter().flat_map(|fact| &fact.faults) {
            let detail = format!("{}: {}: {reason}", entries.part(entry), entry.id);
            findings.push(entries.finding(*kind, detail, [entry]));
        }
    }
}

/// Pictures that are not of the most frequent kind.
fn modes(entries: &Entries<'_>, facts: &[Option<Facts>], findings: &mut Vec<Finding>) {
    let mut modes: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (entry, fact) in entries.list.iter().zip(facts) {
        if let Some(mode) = fact.as_ref().and_then(|fact| fact.mode.as_deref()) {
            modes.entry(mode).or_default().push(entry);
        }
    }
    let most = modes.iter().max_by_key(|(_, found)| found.len()).map(|(mode, _)| *mode);
    for (mode, found) in &modes {
        if let Some(most) = most.filter(|most| most != mode) {
            let detail = format!("{} {mode}, where most pictures are {most}", found.len());
            let finding = entries.finding(FindingKind::WrongMode, detail, found.iter().copied());
            findings.push(finding);
        }
    }
}

fn summaries(entries: &Entries<'_>, facts: &[Option<Facts>]) -> Vec<PartSummary> {
    let of_part = |number: usize| {
        let mut hasher = Hasher::default();
        let mut modes = BTreeMap::new();
        let (mut samples, mut pictures) = (0, 0);
        let mut groups = BTreeSet::new();
        for (entry, fact) in entries.list.iter().zip(facts) {
            if entry.part != number {
                continue;
            }
            samples += 1;
            groups.insert(entry.group.as_str());
            hasher.text(&entry.id).text(&entry.group).text(&entries.label(entry));
            if let Some(fact) = fact {
                hasher.text(&fact.pixels).text(fact.mode.as_deref().unwrap_or_default());
                pictures += usize::from(fact.mode.is_some());
                if let Some(mode) = &fact.mode {
                    *modes.entry(mode.clone()).or_default() += 1;
                }
            }
        }
        let name = entries.parts.get(number).map(|part| part.name.clone()).unwrap_or_default();
        let content = hasher.finish();
        PartSummary { name, samples, groups: groups.len(), pictures, modes, content }
    };
    (0..entries.parts.len()).map(of_part).collect()
}
