//! Mixup and CutMix on whole batches of plain values (Zhang et al. 2017, Yun et al. 2019), as
//! timm's `Mixup`.

use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::parameters::{chance, check_probability, check_within};
use crate::{Error, Result, TimmRules};

/// What shares one set of random parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixMode {
    /// The whole batch.
    #[default]
    Batch,
    /// A picture and its partner.
    Pair,
    /// Each picture on its own.
    Elem,
}

/// Labels of a batch, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MixTarget<'a> {
    /// One class per picture.
    Classes(&'a [usize]),
    /// A value per picture and class, 0 to 1 (several may be 1). NaN stands for a missing label;
    /// where two pictures are really mixed, a label missing on one side is missing in the mixture.
    MultiLabel(&'a [f32]),
}

/// Shape of a batch of pictures: `[pictures, channels, height, width]`, row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Pictures.
    pub pictures: usize,
    /// Channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

/// Mixes each picture of a batch with its partner, the picture at the same place from the end. Of
/// an odd number (which timm refuses) the one in the middle is its own partner and stays.
///
/// Mixup: λ x + (1 − λ) partner, λ from Beta(`mixup_alpha`, `mixup_alpha`). CutMix: a box of
/// √(1 − λ) of each side at a uniform centre comes from the partner, and λ becomes the part of the
/// area that stayed. Targets are mixed with the same λ, after label smoothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixup {
    /// Parameter of mixup's Beta distribution; 0 turns mixup off.
    pub mixup_alpha: f64,
    /// Parameter of CutMix's Beta distribution; 0 turns CutMix off.
    pub cutmix_alpha: f64,
    /// Smallest and largest side of CutMix's box as part of the picture's, instead of √(1 − λ);
    /// turns CutMix on with `cutmix_alpha` 1.
    pub cutmix_minmax: Option<(f64, f64)>,
    /// How often anything is mixed.
    pub probability: f64,
    /// How often CutMix is taken where both are on.
    pub switch_probability: f64,
    /// What shares parameters.
    pub mode: MixMode,
    /// Whether λ is corrected for boxes that reach over the border.
    pub correct_lambda: bool,
    /// Label smoothing, 0 to 1.
    pub smoothing: f64,
    /// Whose corner cases hold: before 1.0 a box of odd side is one pixel short.
    pub rules: TimmRules,
}

impl Default for Mixup {
    /// timm's defaults: mixup with α = 1 on every batch, no CutMix, smoothing 0.1.
    fn default() -> Self {
        Self {
            mixup_alpha: 1.0,
            cutmix_alpha: 0.0,
            cutmix_minmax: None,
            probability: 1.0,
            switch_probability: 0.5,
            mode: MixMode::Batch,
            correct_lambda: true,
            smoothing: 0.1,
            rules: TimmRules::default(),
        }
    }
}

const NAME: &str = "Mixup";

/// Rows `top..bottom` and columns `left..right`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

/// How two pictures are mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mixing {
    Keep,
    Blend(f32),
    Cut(Area),
}

impl Mixup {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when neither mixup nor CutMix is on, or a value is out of bounds.
    pub fn validate(&self) -> Result<()> {
        check_probability(NAME, self.probability)?;
        check_probability(NAME, self.switch_probability)?;
        check_within(NAME, "mixup_alpha", self.mixup_alpha, (0.0, 1e3))?;
        check_within(NAME, "cutmix_alpha", self.cutmix_alpha, (0.0, 1e3))?;
        check_within(NAME, "smoothing", self.smoothing, (0.0, 1.0))?;
        if let Some((low, high)) = self.cutmix_minmax {
            check_within(NAME, "cutmix_minmax.0", low, (0.0, 1.0))?;
            check_within(NAME, "cutmix_minmax.1", high, (low, 1.0))?;
        }
        if self.mixup_alpha == 0.0 && self.cutmix() == 0.0 {
            let reason = "mixup_alpha, cutmix_alpha and cutmix_minmax are all off".to_owned();
            return Err(Error::Parameter { transform: NAME, reason });
        }
        Ok(())
    }

    fn cutmix(&self) -> f64 {
        if self.cutmix_minmax.is_some() { 1.0 } else { self.cutmix_alpha }
    }

    /// Mixes a batch in place and returns its targets: `pictures × classes` values.
    ///
    /// # Errors
    /// [`Error::Parameter`] as [`Mixup::validate`], when a picture has no pixels or a class is not below `classes`; [`Error::Buffer`] when pictures or targets do not have the size
    /// that shape and classes give.
    pub fn apply(
        &self,
        values: &mut [f32],
        shape: BatchShape,
        target: MixTarget<'_>,
        classes: usize,
        rng: &mut Stream,
    ) -> Result<Vec<f32>> {
        self.validate()?;
        let picture = shape.channels * shape.height * shape.width;
        check_buffer(shape.pictures * picture, values.len())?;
        if picture == 0 {
            let reason = "pictures without pixels cannot be mixed".to_owned();
            return Err(Error::Parameter { transform: NAME, reason });
        }
        let targets = self.smooth(target, shape.pictures, classes)?;
        let (mixings, lambdas) = self.draw(shape, rng)?;
        mix_pictures(values, shape, &mixings);
        Ok(mix_targets(&targets, classes, &lambdas))
    }

    /// Mixing and λ of each picture.
    fn draw(&self, shape: BatchShape, rng: &mut Stream) -> Result<(Vec<Mixing>, Vec<f32>)> {
        let count = match self.mode {
            MixMode::Batch => 1,
            MixMode::Pair => shape.pictures.div_ceil(2),
            MixMode::Elem => shape.pictures,
        };
        let mut drawn = Vec::with_capacity(count);
        for _ in 0..count {
            drawn.push(self.draw_one(shape, rng)?);
        }
        Ok(self.spread(&drawn, shape.pictures).unzip())
    }

    /// What was drawn for the batch, its pairs or its pictures, for every picture.
    fn spread(
        &self,
        drawn: &[(Mixing, f32)],
        pictures: usize,
    ) -> impl Iterator<Item = (Mixing, f32)> {
        let of = move |at: usize| match self.mode {
            MixMode::Batch => 0,
            MixMode::Pair => at.min(pictures - 1 - at),
            MixMode::Elem => at,
        };
        (0..pictures).filter_map(move |at| drawn.get(of(at)).copied())
    }

    fn draw_one(&self, shape: BatchShape, rng: &mut Stream) -> Result<(Mixing, f32)> {
        if !chance(self.probability, rng) {
            return Ok((Mixing::Keep, 1.0));
        }
        let both = self.mixup_alpha > 0.0 && self.cutmix() > 0.0;
        let cut = if both { chance(self.switch_probability, rng) } else { self.cutmix() > 0.0 };
        let alpha = if cut { self.cutmix() } else { self.mixup_alpha };
        let beta = Beta::new(alpha, alpha).map_err(|error| Error::Parameter {
            transform: NAME,
            reason: format!("alpha is {alpha}: {error}"),
        })?;
        let lambda: f64 = beta.sample(rng);
        Ok(self.mixing(lambda, cut, shape, rng))
    }

    /// What λ means for pictures of this shape, and λ as the targets need it.
    fn mixing<R: Rng>(
        &self,
        lambda: f64,
        cut: bool,
        shape: BatchShape,
        rng: &mut R,
    ) -> (Mixing, f32) {
        if lambda == 1.0 {
            return (Mixing::Keep, 1.0);
        }
        if !cut {
            return (Mixing::Blend(lambda as f32), lambda as f32);
        }
        let area = self.draw_area(shape, lambda, rng);
        let lambda = if self.correct_lambda || self.cutmix_minmax.is_some() {
            let cut = (area.bottom - area.top) * (area.right - area.left);
            1.0 - cut as f64 / (shape.height * shape.width) as f64
        } else {
            lambda
        };
        (Mixing::Cut(area), lambda as f32)
    }

    fn draw_area<R: Rng>(&self, shape: BatchShape, lambda: f64, rng: &mut R) -> Area {
        let (height, width) = (shape.height, shape.width);
        if let Some(range) = self.cutmix_minmax {
            let cut_h = side_between(height, range, rng);
            let cut_w = side_between(width, range, rng);
            let (top, left) = (self.start(height - cut_h, rng), self.start(width - cut_w, rng));
            return Area { top, bottom: top + cut_h, left, right: left + cut_w };
        }
        let ratio = (1.0 - lambda).sqrt();
        let (cut_h, cut_w) = ((height as f64 * ratio) as usize, (width as f64 * ratio) as usize);
        let (y, x) = (rng.random_range(0..height), rng.random_range(0..width));
        let (top, bottom) = self.around(y, cut_h, height);
        let (left, right) = self.around(x, cut_w, width);
        Area { top, bottom, left, right }
    }

    /// A start in the room that is left; releases before 1.0 never use the last place.
    fn start<R: Rng>(&self, room: usize, rng: &mut R) -> usize {
        let places = if self.rules == TimmRules::V1_0 { room + 1 } else { room.max(1) };
        rng.random_range(0..places)
    }

    fn around(&self, centre: usize, length: usize, side: usize) -> (usize, usize) {
        let after = if self.rules == TimmRules::V1_0 { length.div_ceil(2) } else { length / 2 };
        (centre.saturating_sub(length / 2), (centre + after).min(side))
    }

    /// The targets before mixing.
    fn smooth(&self, target: MixTarget<'_>, pictures: usize, classes: usize) -> Result<Vec<f32>> {
        match target {
            MixTarget::MultiLabel(labels) => {
                check_buffer(pictures * classes, labels.len())?;
                let (keep, add) = ((1.0 - self.smoothing) as f32, (0.5 * self.smoothing) as f32);
                Ok(labels.iter().map(|label| label * keep + add).collect())
            }
            MixTarget::Classes(labels) => {
                check_buffer(pictures, labels.len())?;
                let off = self.smoothing / classes.max(1) as f64;
                let on = (1.0 - self.smoothing + off) as f32;
                let mut out = vec![off as f32; pictures * classes];
                for (row, (&label, out)) in
                    labels.iter().zip(out.chunks_exact_mut(classes.max(1))).enumerate()
                {
                    let Some(slot) = out.get_mut(label) else {
                        let reason = format!(
                            "the label of picture {row} is {label}, there are {classes} classes"
                        );
                        return Err(Error::Parameter { transform: NAME, reason });
                    };
                    *slot = on;
                }
                Ok(out)
            }
        }
    }
}

fn check_buffer(expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Buffer { expected, got }) }
}

/// A side between two parts of the picture's, the upper end excluded.
fn side_between<R: Rng>(side: usize, (low, high): (f64, f64), rng: &mut R) -> usize {
    let (low, high) = ((side as f64 * low) as usize, (side as f64 * high) as usize);
    if low < high { rng.random_range(low..high) } else { low.min(side) }
}

/// Every picture is mixed with the unmixed values of its partner: the two are done together.
fn mix_pictures(values: &mut [f32], shape: BatchShape, mixings: &[Mixing]) {
    let picture = shape.channels * shape.height * shape.width;
    let (first, last) = values.split_at_mut(shape.pictures / 2 * picture);
    let firsts = first.chunks_exact_mut(picture).zip(mixings);
    let lasts = last.chunks_exact_mut(picture).zip(mixings.iter().skip(shape.pictures / 2));
    for ((a, &mix_a), (b, &mix_b)) in firsts.zip(lasts.rev()) {
        let original = a.to_vec();
        mix_one(a, b, mix_a, shape);
        mix_one(b, &original, mix_b, shape);
    }
}

fn mix_one(picture: &mut [f32], partner: &[f32], mixing: Mixing, shape: BatchShape) {
    match mixing {
        Mixing::Keep => {}
        Mixing::Blend(lambda) => {
            for (value, other) in picture.iter_mut().zip(partner) {
                *value = *value * lambda + other * (1.0 - lambda);
            }
        }
        Mixing::Cut(area) => {
            let rows = picture.chunks_exact_mut(shape.width).zip(partner.chunks_exact(shape.width));
            for (at, (row, other)) in rows.enumerate() {
                if (area.top..area.bottom).contains(&(at % shape.height)) {
                    let part = row.iter_mut().zip(other).take(area.right).skip(area.left);
                    part.for_each(|(value, other)| *value = *other);
                }
            }
        }
    }
}

fn mix_targets(targets: &[f32], classes: usize, lambdas: &[f32]) -> Vec<f32> {
    if classes == 0 {
        return Vec::new();
    }
    let rows = targets.chunks_exact(classes);
    rows.clone()
        .zip(rows.rev())
        .zip(lambdas)
        .flat_map(|((row, partner), &lambda)| {
            row.iter().zip(partner).map(move |(&a, &b)| mix_label(a, b, lambda))
        })
        .collect()
}

/// A picture that is not mixed keeps its labels, whatever its partner's are: NaN · 0 is NaN.
fn mix_label(label: f32, partner: f32, lambda: f32) -> f32 {
    if lambda == 1.0 { label } else { label * lambda + partner * (1.0 - lambda) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_tests::Words;
    use serde::Deserialize;
    use vit_random::Streams;

    #[derive(Debug, Deserialize)]
    struct Case {
        seed: u64,
        rules: TimmRules,
        mode: MixMode,
        lambdas: Vec<f64>,
        cut: Vec<bool>,
        minmax: Option<(f64, f64)>,
        multi_label: bool,
        smoothing: f64,
        values: Vec<f32>,
        targets: Vec<f32>,
    }

    const SHAPE: BatchShape = BatchShape { pictures: 4, channels: 2, height: 5, width: 7 };
    const LABELS: [usize; 4] = [1, 0, 2, 2];
    const MULTI: [f32; 12] = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0];

    fn batch() -> Vec<f32> {
        (0..4 * 2 * 5 * 7).map(|i| ((i * 37) % 101) as f32 / 8.0).collect()
    }

    /// Given λ and boxes, pictures and targets are those of timm: `tests/fixtures/make_medical.py`.
    #[test]
    fn batches_are_mixed_as_by_timm() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mixup.json");
        let cases: Vec<Case> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() >= 20);
        for case in cases {
            let mixup = Mixup {
                cutmix_minmax: case.minmax,
                smoothing: case.smoothing,
                mode: case.mode,
                rules: case.rules,
                ..Mixup::default()
            };
            let rng = &mut Words(case.seed);
            let drawn: Vec<_> = case
                .lambdas
                .iter()
                .zip(&case.cut)
                .map(|(&lambda, &cut)| mixup.mixing(lambda, cut, SHAPE, rng))
                .collect();
            let (mixings, lambdas): (Vec<_>, Vec<_>) = mixup.spread(&drawn, 4).unzip();
            let mut values = batch();
            mix_pictures(&mut values, SHAPE, &mixings);
            let target = if case.multi_label {
                MixTarget::MultiLabel(&MULTI)
            } else {
                MixTarget::Classes(&LABELS)
            };
            let targets = mix_targets(&mixup.smooth(target, 4, 3).unwrap(), 3, &lambdas);
            let worst = |a: &[f32], b: &[f32]| {
                assert_eq!(a.len(), b.len());
                a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            assert!(worst(&values, &case.values) < 2e-6, "pictures: {case:?}\n{values:?}");
            assert!(worst(&targets, &case.targets) < 1e-6, "targets: {case:?}\n{targets:?}");
        }
    }

    /// λ of mixup with α = 1 is uniform; a mean of 0.5 and a third of the batches under switch
    /// and probability follow.
    #[test]
    fn lambdas_are_distributed_as_asked() {
        let mixup =
            Mixup { mixup_alpha: 1.0, smoothing: 0.0, probability: 0.5, ..Mixup::default() };
        let (mut untouched, mut sum, mut square) = (0, 0.0, 0.0);
        let count = 20_000;
        for index in 0..count {
            let rng = &mut Streams::new(3).stream("mixup", 0, index);
            let (mixing, lambda) = mixup.draw_one(SHAPE, rng).unwrap();
            match mixing {
                Mixing::Keep => untouched += 1,
                _ => {
                    sum += f64::from(lambda);
                    square += f64::from(lambda).powi(2);
                }
            }
        }
        let mixed = f64::from(count as u32 - untouched);
        assert!((mixed / count as f64 - 0.5).abs() < 0.02, "{mixed}");
        let (mean, second) = (sum / mixed, square / mixed);
        assert!(
            (mean - 0.5).abs() < 0.015 && (second - 1.0 / 3.0).abs() < 0.015,
            "{mean} {second}"
        );
    }

    #[test]
    fn missing_labels_stay_with_their_picture() {
        let labels = [0.5, 1.0, f32::NAN, 0.0];
        let kept = mix_targets(&labels, 2, &[1.0, 1.0]);
        assert_eq!(kept[..2], [0.5, 1.0]);
        assert!(kept[2].is_nan() && kept[3] == 0.0, "{kept:?}");
        let mixed = mix_targets(&labels, 2, &[0.5, 0.5]);
        assert!(mixed[0].is_nan() && mixed[2].is_nan(), "{mixed:?}");
        assert_eq!((mixed[1], mixed[3]), (0.5, 0.5));
    }

    #[test]
    fn the_middle_of_an_odd_number_stays() {
        let odd = BatchShape { pictures: 3, ..SHAPE };
        for mode in [MixMode::Batch, MixMode::Pair, MixMode::Elem] {
            let rng = &mut Streams::new(0).stream("mixup", 0, 0);
            let mut values = batch()[..210].to_vec();
            let before = values.clone();
            let mixup = Mixup { mode, smoothing: 0.0, ..Mixup::default() };
            let classes = MixTarget::Classes(&[0, 1, 2]);
            let targets = mixup.apply(&mut values, odd, classes, 3, rng).unwrap();
            assert_eq!(values[70..140], before[70..140], "{mode:?}");
            assert!(values[..70] != before[..70] && values[140..] != before[140..], "{mode:?}");
            assert!((targets[4] - 1.0).abs() < 1e-6 && targets[0] < 1.0, "{mode:?} {targets:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rng = &mut Streams::new(0).stream("mixup", 0, 0);
        let mut values = batch();
        let mixup = Mixup::default();
        let error =
            mixup.apply(&mut values, SHAPE, MixTarget::Classes(&[0, 1, 3, 0]), 3, rng).unwrap_err();
        assert!(error.to_string().contains("picture 2 is 3"), "{error}");
        let short = MixTarget::MultiLabel(&MULTI[..9]);
        assert!(matches!(
            mixup.apply(&mut values, SHAPE, short, 3, rng),
            Err(Error::Buffer { expected: 12, got: 9 })
        ));
        let off = Mixup { mixup_alpha: 0.0, ..Mixup::default() };
        assert!(off.validate().is_err());
        let targets = mixup.apply(&mut values, SHAPE, MixTarget::Classes(&LABELS), 3, rng).unwrap();
        for row in targets.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
        }
    }
}
