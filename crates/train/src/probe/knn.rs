use rayon::prelude::*;

use super::{ProbeLabels, check_rows};
use crate::{Error, Result};

/// How much each neighbour's vote counts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum KnnWeights {
    /// One each.
    Uniform,
    /// `exp(similarity / temperature)`, as DINO's evaluation (Caron et al., arXiv 2104.14294),
    /// where the temperature is 0.07.
    Exponential {
        /// Above 0; the smaller, the more the nearest decide.
        temperature: f64,
    },
}

impl Default for KnnWeights {
    fn default() -> Self {
        Self::Exponential { temperature: 0.07 }
    }
}

impl KnnWeights {
    fn of(self, similarity: f32) -> f64 {
        match self {
            Self::Uniform => 1.,
            Self::Exponential { temperature } => (f64::from(similarity) / temperature).exp(),
        }
    }
}

/// k nearest neighbours by cosine similarity. All rows are compared, nothing is approximated.
#[derive(Debug, Clone)]
pub struct Knn {
    /// Rows of length 1.
    features: Vec<f32>,
    dim: usize,
    labels: ProbeLabels,
    weights: KnnWeights,
}

impl Knn {
    /// Remembers the rows: `features` row-major, rows × `dim`.
    ///
    /// # Errors
    /// [`Error::Config`] when features and labels do not belong together, a feature is not finite,
    /// or the temperature is not above 0.
    pub fn new(
        features: &[f32],
        dim: usize,
        labels: ProbeLabels,
        weights: KnnWeights,
    ) -> Result<Self> {
        labels.check(check_rows(features, dim)?)?;
        if let KnnWeights::Exponential { temperature } = weights
            && !(temperature > 0. && temperature.is_finite())
        {
            return Err(Error::Config(format!("the temperature is {temperature}, not above 0")));
        }
        Ok(Self { features: normalised(features, dim), dim, labels, weights })
    }

    /// Shares of the vote, row-major rows × outputs, once for each number of neighbours. For
    /// findings, neighbours whose label is unknown do not vote; where none votes it is one half.
    /// Of equally near neighbours the earlier row comes first.
    ///
    /// # Errors
    /// [`Error::Config`] when a `k` is 0 or above the number of rows, or the queries are not rows
    /// of finite numbers.
    pub fn scores(&self, queries: &[f32], ks: &[usize]) -> Result<Vec<Vec<f32>>> {
        check_rows(queries, self.dim)?;
        let rows = self.labels.rows();
        if let Some(k) = ks.iter().find(|k| **k == 0 || **k > rows) {
            return Err(Error::Config(format!("k = {k} of {rows} neighbours")));
        }
        let most = ks.iter().copied().max().unwrap_or(0);
        let queries = normalised(queries, self.dim);
        let votes: Vec<Vec<Vec<f32>>> = queries
            .par_chunks_exact(self.dim)
            .map(|query| {
                let nearest = self.nearest(query, most);
                ks.iter().map(|&k| self.vote(nearest.get(..k).unwrap_or(&nearest))).collect()
            })
            .collect();
        let of_k = |at: usize| votes.iter().filter_map(|v| v.get(at)).flatten().copied().collect();
        Ok((0..ks.len()).map(of_k).collect())
    }

    /// Similarity and row of the nearest `most` rows, nearest first.
    fn nearest(&self, query: &[f32], most: usize) -> Vec<(f32, usize)> {
        let rows = self.features.chunks_exact(self.dim).enumerate();
        let mut all: Vec<(f32, usize)> = rows.map(|(row, r)| (dot(r, query), row)).collect();
        let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if most < all.len() {
            all.select_nth_unstable_by(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by(order);
        all
    }

    fn vote(&self, neighbours: &[(f32, usize)]) -> Vec<f32> {
        let outputs = self.labels.outputs();
        let (mut present, mut voted) = (vec![0f64; outputs], vec![0f64; outputs]);
        for &(similarity, row) in neighbours {
            let weight = self.weights.of(similarity);
            for (output, (present, voted)) in present.iter_mut().zip(&mut voted).enumerate() {
                let label = match &self.labels {
                    ProbeLabels::Classes { labels, .. } => {
                        Some(f32::from(u8::from(labels.get(row) == Some(&output))))
                    }
                    ProbeLabels::Findings { labels, findings } => {
                        labels.get(row * findings + output).copied().flatten()
                    }
                };
                if let Some(label) = label {
                    *present += weight * f64::from(label);
                    *voted += weight;
                }
            }
        }
        let share = |(present, voted): (f64, f64)| {
            if voted > 0. { (present / voted) as f32 } else { 0.5 }
        };
        present.into_iter().zip(voted).map(share).collect()
    }
}

/// Rows of length 1. A row of zeros stays one: it is equally far from all.
fn normalised(features: &[f32], dim: usize) -> Vec<f32> {
    let mut rows = features.to_vec();
    for row in rows.chunks_exact_mut(dim) {
        let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        let scale = if squares > 0. { 1. / squares.sqrt() } else { 0. };
        row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
    rows
}

/// Sixteen sums at a time, so that the compiler can use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_whole, a_rest) = a.as_chunks::<16>();
    let (b_whole, b_rest) = b.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for (a, b) in a_whole.iter().zip(b_whole) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
