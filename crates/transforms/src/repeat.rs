//! Repeated augmentation (Hoffer et al. 2020; Touvron et al. 2021).

use vit_random::Streams;

use crate::{Error, Result};

/// Which samples one process sees in an epoch when each sample comes several times, differently
/// augmented, in neighbouring places.
///
/// As timm's and DeiT's `RASampler`: a permutation of the samples, each repeated, filled up from
/// its beginning to a multiple of the processes, dealt out in turn. An epoch keeps its usual
/// length, so it shows a third of the samples with three repeats: each process yields
/// `⌊⌊samples / 256⌋ · 256 / processes⌋` places (`⌈samples / processes⌉` below 256 samples).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedAugmentation {
    /// How often each sample comes.
    pub repeats: usize,
    /// Number of processes.
    pub world: usize,
    /// This process, below `world`.
    pub rank: usize,
}

impl RepeatedAugmentation {
    /// The places of this process in an epoch: sample and the repetition, which belongs into the
    /// key of the sample's random stream so that repetitions differ.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a count is 0 or the rank is not below the world.
    pub fn order(
        &self,
        samples: usize,
        streams: Streams,
        epoch: u64,
    ) -> Result<Vec<(usize, usize)>> {
        if self.repeats == 0 || self.rank >= self.world {
            let reason = format!("{} repeats, rank {} of {}", self.repeats, self.rank, self.world);
            return Err(Error::Parameter { transform: "RepeatedAugmentation", reason });
        }
        let permutation = streams.permutation("shuffle", epoch, samples);
        let repeats = self.repeats;
        let whole = samples.saturating_mul(repeats);
        // All the repeated samples, then from the beginning again.
        let padded = whole.div_ceil(self.world).saturating_mul(self.world);
        let all = permutation.iter().flat_map(|&sample| (0..repeats).map(move |at| (sample, at)));
        let places = all.cycle().take(if samples == 0 { 0 } else { padded });
        let length = match samples / 256 * 256 {
            0 => samples.div_ceil(self.world),
            rounded => rounded / self.world,
        };
        Ok(places.skip(self.rank).step_by(self.world).take(length).collect())
    }
}
