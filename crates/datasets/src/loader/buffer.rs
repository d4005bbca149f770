//! Buffers of batches, used again.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of batches that are gone, kept for those to come.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Vec<Vec<f32>>>,
    /// Most buffers kept: no more can be in use at once.
    limit: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { free: Mutex::default(), limit }
    }

    /// A buffer of this many values: what stands in it is left from an earlier batch.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> BatchBuffer {
        let mut values = self.lock().pop().unwrap_or_default();
        values.resize(len, 0.0);
        BatchBuffer { values, home: Some(Arc::clone(self)) }
    }

    fn give(&self, values: Vec<f32>) {
        let mut free = self.lock();
        if free.len() < self.limit {
            free.push(values);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        // A list of free buffers is whole whatever a thread that panicked was doing.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pixel values of one batch in one piece. It reads as a slice; when it is dropped, its memory
/// goes back to the loader that filled it.
#[derive(Default)]
pub struct BatchBuffer {
    values: Vec<f32>,
    home: Option<Arc<Pool>>,
}

impl BatchBuffer {
    /// The values, taken from the loader for good: for owners that keep the memory. The loader
    /// then allocates a new buffer.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<f32> {
        self.home = None;
        std::mem::take(&mut self.values)
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
    }
}

impl Drop for BatchBuffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give(std::mem::take(&mut self.values));
        }
    }
}

impl Deref for BatchBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for BatchBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl From<Vec<f32>> for BatchBuffer {
    fn from(values: Vec<f32>) -> Self {
        Self { values, home: None }
    }
}

impl From<BatchBuffer> for Vec<f32> {
    fn from(buffer: BatchBuffer) -> Self {
        buffer.into_vec()
    }
}

impl Clone for BatchBuffer {
    /// A copy that belongs to no loader.
    fn clone(&self) -> Self {
        self.values.clone().into()
    }
}

impl PartialEq for BatchBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl fmt::Debug for BatchBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}
