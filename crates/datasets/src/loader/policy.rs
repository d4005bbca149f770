//! What happens to samples that cannot be read.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a loader does with a sample that cannot be read or transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ErrorPolicy {
    /// Its batch arrives as an error.
    #[default]
    Stop,
    /// It is left out of its batch, which has one sample less; a batch of which nothing is left is
    /// left out as a whole. The other samples, their batches and their random streams stay what
    /// they are. [`crate::Loader::skipped`] lists what this loader left out; after a resume the list
    /// begins anew. Of several processes, one whose whole batch is left out makes a step less than
    /// the others: whoever waits for all in each step must count on that, or stop.
    ///
    /// Pictures of different sizes in one batch ([`Error::BatchShape`]) are an error all the same:
    /// nothing tells which of them is wrong.
    Skip {
        /// Error beyond this many different samples; `None` for no limit. An epoch without a
        /// single readable sample is an error in any case.
        #[serde(default)]
        at_most: Option<usize>,
    },
}

/// A sample that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its index in the data set.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// How often it was left out: once per epoch, usually.
    pub times: usize,
}

/// All samples left out so far, by index.
#[derive(Debug, Default)]
pub(crate) struct SkipLog(Mutex<BTreeMap<usize, Skipped>>);

impl SkipLog {
    pub(crate) fn list(&self) -> Vec<Skipped> {
        self.lock().values().cloned().collect()
    }

    /// Notes what a batch left out.
    pub(crate) fn note(&self, skipped: &[Skipped], policy: ErrorPolicy) -> Result<()> {
        let mut log = self.lock();
        for sample in skipped {
            tracing::warn!(id = sample.id, reason = sample.reason, "sample skipped");
            log.entry(sample.index)
                .and_modify(|known| known.times += sample.times)
                .or_insert_with(|| sample.clone());
        }
        match (policy, skipped.last()) {
            (ErrorPolicy::Skip { at_most: Some(most) }, Some(last)) if log.len() > most => {
                Err(too_many(log.len(), most.to_string(), last))
            }
            _ => Ok(()),
        }
    }

    /// The error of an epoch in which nothing could be read.
    pub(crate) fn nothing_left(&self) -> Option<Error> {
        let log = self.lock();
        let last = log.values().next_back()?;
        Some(too_many(log.len(), "fewer than all of an epoch".into(), last))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Skipped>> {
        // Entries are added whole, so the list is good whatever a thread that panicked was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(count: usize, allowed: String, last: &Skipped) -> Error {
    let (id, reason) = (last.id.clone(), last.reason.clone());
    Error::TooManySkipped { count, allowed, id, reason }
}
