#![doc = include_str!("../README.md")]

use rand::RngCore;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use rand;

/// Version of the derivation below. It is part of the key, so a change of the derivation can
/// never be mistaken for the old one.
const DERIVATION: u64 = 1;

/// The source of all random streams of a run: one seed.
///
/// Copying it is free; it has no state that advances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// Streams of the run with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed given to [`Streams::new`].
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream that belongs to one purpose (`"mask"`, `"augment"`, a parameter's name, …), one
    /// epoch and one index (usually a sample's place in its data set).
    ///
    /// `ChaCha8` with the 256-bit key `seed ‖ hash(purpose) ‖ epoch ‖ version` and `index` as the
    /// stream number: distinct arguments give independent streams.
    #[must_use]
    pub fn stream(&self, purpose: &str, epoch: u64, index: u64) -> Stream {
        let mut key = [0u8; 32];
        for (slot, word) in
            key.chunks_exact_mut(8).zip([self.seed, fnv1a(purpose.as_bytes()), epoch, DERIVATION])
        {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Stream { rng }
    }

    /// A permutation of `0..n`, Fisher–Yates with the stream `(purpose, epoch, 0)`.
    #[must_use]
    pub fn permutation(&self, purpose: &str, epoch: u64, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut self.stream(purpose, epoch, 0));
        order
    }
}

/// One random stream. Implements [`RngCore`], so everything of the `rand` crate works on it.
#[derive(Debug, Clone)]
pub struct Stream {
    rng: ChaCha8Rng,
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn fill_bytes(&mut self, dst: &mut [u8]) {
        self.rng.fill_bytes(dst);
    }
}

/// 64-bit FNV-1a (Fowler, Noll, Vo): a hash whose value is fixed for all time and platforms, which
/// the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn fnv1a_matches_the_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_argument_changes_the_stream() {
        let first = |seed, purpose: &str, epoch, index| {
            Streams::new(seed).stream(purpose, epoch, index).random::<u64>()
        };
        let mut seen = HashSet::new();
        for seed in 0..3 {
            for purpose in ["mask", "augment", "shuffle"] {
                for epoch in 0..3 {
                    for index in 0..3 {
                        assert!(seen.insert(first(seed, purpose, epoch, index)));
                    }
                }
            }
        }
    }

    /// The derivation is part of what a checkpoint promises: these values may never change.
    #[test]
    fn values_are_fixed() {
        let mut stream = Streams::new(7).stream("mask", 2, 5);
        let got: Vec<u32> = (0..4).map(|_| stream.next_u32()).collect();
        assert_eq!(got, FIXED);
        assert_eq!(Streams::new(0).permutation("shuffle", 1, 8), PERMUTATION);
    }

    const FIXED: [u32; 4] = [818_447_935, 1_718_607_707, 262_540_980, 2_211_649_280];
    const PERMUTATION: [usize; 8] = [0, 7, 2, 5, 6, 1, 4, 3];

    #[test]
    fn uniform_draws_look_uniform() {
        let mut stream = Streams::new(1).stream("uniform", 0, 0);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.random::<f64>()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let var = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 4e-3 && (var - 1.0 / 12.0).abs() < 2e-3, "{mean} {var}");
    }
}
