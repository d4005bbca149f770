//! Isotonic regression.

use serde::{Deserialize, Serialize};

/// A non-decreasing map, straight between its points and constant outside. The identity if empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Isotonic {
    /// Scores, ascending.
    x: Vec<f64>,
    /// Probabilities, not descending.
    y: Vec<f64>,
}

impl Isotonic {
    /// The least-squares fit by pooling adjacent violators (Ayer et al. 1955); scikit-learn's
    /// `IsotonicRegression(out_of_bounds="clip")`. The identity where there is only one kind of
    /// sample.
    pub(super) fn fit(scores: &[f32], positive: &[bool]) -> Self {
        if positive.iter().all(|y| *y) || !positive.iter().any(|y| *y) {
            return Self::default();
        }
        let mut samples: Vec<(f32, bool)> =
            scores.iter().copied().zip(positive.iter().copied()).collect();
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        // (lowest score, highest score, positives, samples)
        let mut blocks: Vec<(f32, f32, u64, u64)> = Vec::new();
        for tied in samples.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(score, _)) = tied.first() else { continue };
            let hits = tied.iter().filter(|(_, positive)| *positive).count() as u64;
            let mut block = (score, score, hits, tied.len() as u64);
            // Means compared by cross-multiplication, exactly.
            while let Some(last) = blocks.pop_if(|last| last.2 * block.3 >= block.2 * last.3) {
                block = (last.0, block.1, last.2 + block.2, last.3 + block.3);
            }
            blocks.push(block);
        }
        let mut map = Self::default();
        for (low, high, hits, count) in blocks {
            let mean = hits as f64 / count as f64;
            map.x.push(f64::from(low));
            map.y.push(mean);
            if high > low {
                map.x.push(f64::from(high));
                map.y.push(mean);
            }
        }
        map
    }

    pub(super) fn apply(&self, p: f64) -> f64 {
        let after = self.x.partition_point(|x| *x < p);
        let point = |place: usize| Some((*self.x.get(place)?, *self.y.get(place)?));
        match (after.checked_sub(1).and_then(point), point(after)) {
            (None, None) => p,
            (None, Some((_, y))) | (Some((_, y)), None) => y,
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (p - x0) / (x1 - x0),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        let ascending = self.x.iter().zip(self.x.iter().skip(1)).all(|(a, b)| a < b);
        let shares = self.y.iter().all(|y| (0.0..=1.0).contains(y));
        self.x.len() == self.y.len() && ascending && shares
    }
}
