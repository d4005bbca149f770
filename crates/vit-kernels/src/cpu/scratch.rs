//! Large buffers that live for one operator, kept for the next one.
//!
//! A new large block costs a page fault for every 4 KiB, or a pass that clears it; the operators
//! of a block need the same few sizes again and again.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers waiting for use.
static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Values that the pool keeps at most, together: 256 MiB. What is more is given back.
const MOST_KEPT: usize = 64 << 20;

/// A buffer with arbitrary content.
pub(crate) struct Scratch {
    buffer: Vec<f32>,
    len: usize,
}

impl Scratch {
    pub(crate) fn new(len: usize) -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, but not one that a larger request will miss.
        let fits = |buffer: &Vec<f32>| buffer.len() >= len && buffer.len() / 4 <= len;
        let places = pool.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let best = places.min_by_key(|(_, buffer)| buffer.len()).map(|(place, _)| place);
        let found = best.map(|place| pool.swap_remove(place));
        drop(pool);
        Self { buffer: found.unwrap_or_else(|| vec![0.; len]), len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = pool.iter().map(Vec::len).sum();
        if kept + self.buffer.len() <= MOST_KEPT {
            pool.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_length_asked_for_whatever_the_pool_holds() {
        drop(Scratch::new(1000));
        for len in [0, 1, 300, 999, 1000, 1001] {
            assert_eq!(Scratch::new(len).len(), len);
        }
        assert!(POOL.lock().unwrap().iter().map(Vec::len).sum::<usize>() <= MOST_KEPT);
    }
}
