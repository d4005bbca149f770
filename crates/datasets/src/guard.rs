//! Calling code of a data set or transform that may panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Dataset, Error, Result};

/// Runs what reads or changes one sample; a panic becomes [`Error::Panic`].
///
/// A panic in one picture's decoder must not take a worker thread, and with it the epoch. Callers
/// look at nothing afterwards that `work` was changing, except to overwrite it.
pub(crate) fn guarded<T>(
    dataset: &dyn Dataset,
    index: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        Err(Error::Panic { id: name(dataset, index), message: message(cause.as_ref()) })
    })
}

/// What a panic said.
pub(crate) fn message(cause: &(dyn Any + Send)) -> String {
    cause
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

/// The sample's id, or its index where even that cannot be told.
pub(crate) fn name(dataset: &dyn Dataset, index: usize) -> String {
    // What panicked may panic again when asked for its name.
    catch_unwind(AssertUnwindSafe(|| dataset.record(index)))
        .ok()
        .and_then(Result::ok)
        .map_or_else(|| format!("index {index}"), |record| record.id)
}
