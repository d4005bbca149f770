use std::fmt;

use serde::Serialize;

/// Entries of one kind that a data set's files have and its samples have not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Why they became no samples.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The first: its line, path or name.
    pub first: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left out: {} (the first: {})", self.count, self.reason, self.first)
    }
}

/// What a reader collects while it reads, one entry per reason in the order of their first.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOutLog(Vec<LeftOut>);

impl LeftOutLog {
    pub(crate) fn note(&mut self, reason: &str, place: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|entry| entry.reason == reason) {
            Some(entry) => entry.count += 1,
            None => self.0.push(LeftOut { reason: reason.into(), count: 1, first: place() }),
        }
    }

    /// What another reading left out, behind what this one did.
    pub(crate) fn append(&mut self, other: Self) {
        for new in other.0 {
            match self.0.iter_mut().find(|entry| entry.reason == new.reason) {
                Some(entry) => entry.count += new.count,
                None => self.0.push(new),
            }
        }
    }

    pub(crate) fn list(&self) -> Vec<LeftOut> {
        self.0.clone()
    }
}
