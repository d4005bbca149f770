use candle_core::{Device, Tensor};
use rand::Rng;
use vit_kernels::{TokenAssembly, TokenRows};
use vit_random::{Stream, rand};

use crate::{Error, Result};

/// Number of patches that stay visible: `L · (1 − ratio)` in double precision, cut to an integer,
/// as the reference has it (19, not 20, of 100 at 0.8).
///
/// # Errors
/// [`Error::Config`] when nothing would be visible or nothing hidden: the loss of hidden patches
/// would be 0/0.
pub fn keep_count(patches: usize, mask_ratio: f64) -> Result<usize> {
    let keep = (patches as f64 * (1. - mask_ratio)) as usize;
    if !(0. ..1.).contains(&mask_ratio) || keep == 0 || keep == patches {
        return Err(Error::Config(format!(
            "mask_ratio {mask_ratio} leaves {keep} of {patches} patches visible; some must be visible and some hidden"
        )));
    }
    Ok(keep)
}

/// Which patches of each picture of a batch are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masking {
    /// Patches per picture.
    patches: usize,
    /// Visible patches per picture.
    keep: usize,
    /// For each picture, all patches in shuffled order, the visible ones first.
    shuffled: Vec<Vec<u32>>,
}

impl Masking {
    /// Ranks patches by noise, ascending, ties by place: the lowest stay visible.
    ///
    /// `noise` holds one row of `patches` values per picture.
    ///
    /// # Errors
    /// [`Error::Config`] when a row has another length, or see [`keep_count`].
    pub fn from_noise(noise: &[Vec<f32>], patches: usize, mask_ratio: f64) -> Result<Self> {
        let keep = keep_count(patches, mask_ratio)?;
        let mut shuffled = Vec::with_capacity(noise.len());
        for row in noise {
            if row.len() != patches {
                return Err(Error::Config(format!(
                    "{} noise values for {patches} patches",
                    row.len()
                )));
            }
            let mut order: Vec<(u32, f32)> = (0u32..).zip(row.iter().copied()).collect();
            order.sort_by(|a, b| a.1.total_cmp(&b.1));
            shuffled.push(order.into_iter().map(|(index, _)| index).collect());
        }
        Ok(Self { patches, keep, shuffled })
    }

    /// Uniformly random: noise from each picture's own stream.
    ///
    /// # Errors
    /// See [`keep_count`].
    pub fn random(streams: &mut [Stream], patches: usize, mask_ratio: f64) -> Result<Self> {
        let draw = |stream: &mut Stream| (0..patches).map(|_| stream.random::<f32>()).collect();
        let noise: Vec<Vec<f32>> = streams.iter_mut().map(draw).collect();
        Self::from_noise(&noise, patches, mask_ratio)
    }

    /// Number of visible patches per picture.
    #[must_use]
    pub fn keep(&self) -> usize {
        self.keep
    }

    /// Number of pictures.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.shuffled.len()
    }

    /// 1 for hidden, 0 for visible, in the order of the picture: one row per picture.
    #[must_use]
    pub fn mask(&self) -> Vec<Vec<f32>> {
        let hidden = |rank: &u32| if *rank as usize >= self.keep { 1. } else { 0. };
        self.ids_restore().iter().map(|ranks| ranks.iter().map(hidden).collect()).collect()
    }

    /// For each patch of the picture, its place in the shuffled order.
    #[must_use]
    pub fn ids_restore(&self) -> Vec<Vec<u32>> {
        let inverse = |order: &Vec<u32>| {
            let mut ranks = vec![0; order.len()];
            for (rank, &patch) in (0u32..).zip(order) {
                if let Some(slot) = ranks.get_mut(patch as usize) {
                    *slot = rank;
                }
            }
            ranks
        };
        self.shuffled.iter().map(inverse).collect()
    }

    /// The mask as `[B, L]`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn mask_tensor(&self, device: &Device) -> Result<Tensor> {
        let values: Vec<f32> = self.mask().concat();
        Ok(Tensor::from_vec(values, (self.batch(), self.patches), device)?)
    }

    /// Number of patches per picture.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// The visible patches of each picture, in shuffled order.
    ///
    /// # Errors
    /// When there are no pictures.
    pub fn visible(&self) -> Result<TokenRows> {
        let ids: Vec<u32> =
            self.shuffled.iter().flat_map(|order| order.iter().copied().take(self.keep)).collect();
        Ok(TokenRows::new(&ids, self.batch(), self.patches)?)
    }

    /// The hidden patches of each picture, in the order of the picture, as rows of a sequence with
    /// `before` tokens in front of the patches.
    ///
    /// # Errors
    /// When there are no pictures.
    pub fn hidden(&self, before: u32) -> Result<TokenRows> {
        let mut ids = Vec::with_capacity(self.batch() * (self.patches - self.keep));
        for ranks in self.ids_restore() {
            let hidden = (before..).zip(ranks).filter(|(_, rank)| *rank as usize >= self.keep);
            ids.extend(hidden.map(|(place, _)| place));
        }
        Ok(TokenRows::new(&ids, self.batch(), self.patches + before as usize)?)
    }

    /// How the decoder's sequence is put together from class token and visible tokens in shuffled
    /// order, `[B, 1 + keep, D]`, and the mask token.
    ///
    /// # Errors
    /// When there are no pictures.
    pub fn assembly(&self) -> Result<TokenAssembly> {
        let mut sources = Vec::with_capacity(self.batch() * (1 + self.patches));
        for ranks in self.ids_restore() {
            sources.push(Some(0));
            let visible = |rank: u32| ((rank as usize) < self.keep).then_some(1 + rank);
            sources.extend(ranks.into_iter().map(visible));
        }
        let positions: Vec<u32> = (0..=self.patches as u32).collect();
        let positions = positions.repeat(self.batch());
        Ok(TokenAssembly::new(&sources, &positions, self.batch(), 1 + self.keep)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vit_random::Streams;

    /// `spec/mae.md` 2.4.
    #[test]
    fn keep_counts_are_cut_in_double_precision() {
        for (patches, ratio, keep) in [
            (196, 0.1, 176),
            (196, 0.2, 156),
            (196, 0.3, 137),
            (196, 0.4, 117),
            (196, 0.5, 98),
            (196, 0.6, 78),
            (196, 0.7, 58),
            (196, 0.75, 49),
            (196, 0.8, 39),
            (196, 0.85, 29),
            (196, 0.9, 19),
            (196, 0.95, 9),
            (256, 0.75, 64),
            (256, 0.9, 25),
            (100, 0.8, 19),
            (100, 0.9, 9),
            (400, 0.8, 79),
            (400, 0.9, 39),
            (784, 0.75, 196),
            (784, 0.9, 78),
        ] {
            assert_eq!(keep_count(patches, ratio).unwrap(), keep, "{patches} {ratio}");
        }
    }

    #[test]
    fn ratios_that_hide_nothing_or_everything_are_refused() {
        for ratio in [0., 1., -0.1, f64::NAN, 0.999] {
            assert!(keep_count(196, ratio).is_err(), "{ratio}");
        }
    }

    /// The values PyTorch draws with seed 0 (MT19937, `spec/mae.md` 2.4) rank as published; here
    /// they are built back from the published order.
    #[test]
    fn published_order_gives_the_published_restore() {
        let order = [12, 2, 3, 13, 14, 4, 10, 11, 8, 6, 0, 15, 9, 5, 1, 7];
        let mut noise = vec![0f32; 16];
        for (rank, &patch) in order.iter().enumerate() {
            noise[patch] = rank as f32 / 16.;
        }
        let masking = Masking::from_noise(&[noise], 16, 0.75).unwrap();
        let restore = [10, 14, 1, 2, 5, 13, 9, 15, 8, 12, 6, 7, 0, 3, 4, 11];
        assert_eq!(masking.ids_restore(), [restore]);
        let visible: Vec<usize> = (0..16).filter(|&i| masking.mask()[0][i] == 0.).collect();
        assert_eq!(visible, [2, 3, 12, 13]);
    }

    #[test]
    fn visible_and_hidden_patches_are_all_patches() {
        let streams = Streams::new(3);
        let mut rows: Vec<Stream> = (0..2).map(|i| streams.stream("mask", 0, i)).collect();
        let masking = Masking::random(&mut rows, 16, 0.5).unwrap();
        let (visible, hidden) = (masking.visible().unwrap(), masking.hidden(0).unwrap());
        let mut all = [visible.flat(), hidden.flat()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..32).collect::<Vec<u32>>());
        let mask = masking.mask().concat();
        assert!(visible.flat().iter().all(|&row| mask[row as usize] == 0.));
        assert!(hidden.flat().iter().all(|&row| mask[row as usize] == 1.));
        let behind = masking.hidden(1).unwrap();
        let shifted: Vec<u32> = hidden.flat().iter().map(|row| row + 1 + row / 16).collect();
        assert_eq!(behind.flat(), shifted);
    }

    /// A visible token comes back to its place, a hidden place gets the mask token.
    #[test]
    fn the_assembly_undoes_the_shuffle() {
        let streams = Streams::new(3);
        let mut rows: Vec<Stream> = (0..2).map(|i| streams.stream("mask", 0, i)).collect();
        let masking = Masking::random(&mut rows, 16, 0.5).unwrap();
        // Each visible token holds the number of its patch plus 1, the class token 100.
        let visible = masking.visible().unwrap();
        let tokens: Vec<f32> = visible
            .flat()
            .chunks(8)
            .flat_map(|row| std::iter::once(100.).chain(row.iter().map(|id| (id % 16 + 1) as f32)))
            .collect();
        let tokens = Tensor::from_vec(tokens, (2, 9, 1), &Device::Cpu).unwrap();
        let mask = Tensor::full(-1f32, (1, 1, 1), &Device::Cpu).unwrap();
        let table = Tensor::zeros((1, 17, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let plan = masking.assembly().unwrap();
        let out = vit_kernels::assemble_tokens(&tokens, &mask, &table, &plan).unwrap();
        let out = out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (row, hidden) in out.chunks(17).zip(masking.mask()) {
            assert_eq!(row[0], 100.);
            for (i, (&got, hidden)) in row[1..].iter().zip(hidden).enumerate() {
                assert_eq!(got, if hidden > 0. { -1. } else { (i + 1) as f32 });
            }
        }
    }
}
