//! Random choices against torchvision and timm: see `tests/fixtures/make_random.py`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use vit_random::Streams;
use vit_random::rand::RngCore;

use crate::crop::Region;
use crate::{
    AugmentSettings, EraseMode, Filter, Operation, RandomErasing, RandomResizedCrop, Sampling,
    SingleDrawResizedCrop, Step, TimmRules, parse_augment,
};

#[derive(Deserialize)]
struct Document {
    crops: Vec<Crop>,
    erasing: Vec<Erasing>,
    policies: Vec<Policy>,
}

#[derive(Debug, Deserialize)]
struct Crop {
    seed: u64,
    form: String,
    picture: (usize, usize),
    scale: (f64, f64),
    ratio: (f64, f64),
    region: (usize, usize, usize, usize),
}

#[derive(Debug, Deserialize)]
struct Erasing {
    seed: u64,
    picture: (usize, usize),
    count: (usize, usize),
    probability: f64,
    erased: usize,
    hash: String,
}

#[derive(Deserialize)]
struct Policy {
    text: String,
    rules: TimmRules,
    bicubic: bool,
    numbers: BTreeMap<String, f64>,
    filters: Vec<Filter>,
    operators: BTreeMap<String, Values>,
}

#[derive(Deserialize)]
struct Values {
    count: f64,
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    distribution: Vec<(f64, f64)>,
}

fn document() -> Document {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/random.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// splitmix64 (Steele, Lea and Flood 2014): the words the script feeds to the reference functions.
pub(crate) struct Words(pub(crate) u64);

impl RngCore for Words {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn fill_bytes(&mut self, dst: &mut [u8]) {
        dst.fill_with(|| self.next_u64() as u8);
    }
}

#[test]
fn the_same_draws_give_the_same_crops() {
    let crops = document().crops;
    assert_eq!(crops.len(), 360);
    for case in crops {
        let rng = &mut Words(case.seed);
        let (width, height) = case.picture;
        let Crop { scale, ratio, .. } = case;
        let filter = Filter::Bicubic;
        let region = match case.form.as_str() {
            "single_draw" => {
                SingleDrawResizedCrop { size: 8, scale, ratio, filter }.draw(width, height, rng)
            }
            // timm's form differs in the filter only.
            _ => RandomResizedCrop { size: 8, scale, ratio, filter }.draw(width, height, rng),
        };
        let (left, top, width, height) = case.region;
        assert_eq!(region, Region { left, top, width, height }, "{case:?}");
    }
}

#[test]
fn the_same_draws_erase_the_same_pixels() {
    let mut touched = 0;
    for case in document().erasing {
        let mut erasing = RandomErasing::new(case.probability, EraseMode::Const);
        erasing.count = case.count;
        let (width, height) = case.picture;
        let mut mask = vec![0u8; width * height];
        for region in erasing.draw(width, height, &mut Words(case.seed)) {
            for y in region.top..region.top + region.height {
                for x in region.left..region.left + region.width {
                    mask[y * width + x] = 1;
                }
            }
        }
        let hash = mask.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(mask.iter().filter(|&&set| set == 1).count(), case.erased, "{case:?}");
        assert_eq!(format!("{hash:016x}"), case.hash, "{case:?}");
        touched += usize::from(case.erased > 0);
    }
    assert!(touched > 40, "{touched}");
}

/// timm's function and argument of an operation.
fn name_and_value(operation: Operation) -> (&'static str, f64) {
    match operation {
        Operation::AutoContrast => ("auto_contrast", 0.0),
        Operation::Equalize => ("equalize", 0.0),
        Operation::Invert => ("invert", 0.0),
        Operation::Rotate { degrees } => ("rotate", degrees),
        Operation::Posterize { bits } => ("posterize", bits.into()),
        Operation::Solarize { threshold } => ("solarize", threshold.into()),
        Operation::SolarizeAdd { add, .. } => ("solarize_add", add.into()),
        Operation::Color { factor } => ("color", factor),
        Operation::Contrast { factor } => ("contrast", factor),
        Operation::Brightness { factor } => ("brightness", factor),
        Operation::Sharpness { factor } => ("sharpness", factor),
        Operation::ShearX { factor } => ("shear_x", factor),
        Operation::ShearY { factor } => ("shear_y", factor),
        Operation::TranslateXRelative { fraction } => ("translate_x_rel", fraction),
        Operation::TranslateYRelative { fraction } => ("translate_y_rel", fraction),
        Operation::GaussianBlur { radius } => ("gaussian_blur", radius),
        other => panic!("no policy has {other:?}"),
    }
}

fn draw(step: &Step, index: u64) -> Vec<(Operation, Sampling)> {
    let rng = &mut Streams::new(11).stream("augment", 0, index);
    match step {
        Step::RandAugment(step) => step.draw(rng).unwrap(),
        Step::AutoAugment(step) => step.draw(rng).unwrap(),
        other => panic!("{other:?}"),
    }
}

const DRAWS: f64 = 100_000.0;

/// Whether two frequencies of as many draws differ by more than five standard deviations.
fn differ(a: f64, b: f64, draws: f64) -> bool {
    let p = (a + b) / 2.0;
    (a - b).abs() > 5.0 * (2.0 * p * (1.0 - p).max(0.0) / draws).sqrt() + 1e-9
}

impl Policy {
    fn step(&self) -> Step {
        let mut settings = AugmentSettings { rules: self.rules, ..AugmentSettings::default() };
        if self.bicubic {
            settings.filters = vec![Filter::Bicubic];
        }
        parse_augment(&self.text, settings).unwrap()
    }

    fn check(&self) {
        let step = self.step();
        let mut numbers: BTreeMap<String, f64> = BTreeMap::new();
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut filters: Vec<Filter> = Vec::new();
        for index in 0..DRAWS as u64 {
            let drawn = draw(&step, index);
            *numbers.entry(drawn.len().to_string()).or_default() += 1.0;
            for (operation, sampling) in drawn {
                let (name, value) = name_and_value(operation);
                values.entry(name).or_default().push(value);
                if !filters.contains(&sampling.filter) {
                    filters.push(sampling.filter);
                }
            }
        }
        let about = format!("{:?} {}", self.rules, self.text);
        assert_eq!(filters.len(), self.filters.len(), "{about}: {filters:?}");
        assert!(filters.iter().all(|filter| self.filters.contains(filter)), "{about}");
        assert!(numbers.keys().eq(self.numbers.keys()), "{about}: {numbers:?}");
        for (number, &count) in &numbers {
            let expected = self.numbers[number];
            assert!(!differ(count / DRAWS, expected / DRAWS, DRAWS), "{about}: {number} operators");
        }
        assert!(values.keys().copied().eq(self.operators.keys().map(String::as_str)), "{about}");
        for (name, values) in values {
            let normal = self.text.contains("mstd");
            self.operators[name].check(&values, normal, &format!("{about}: {name}"));
        }
    }
}

impl Values {
    fn check(&self, values: &[f64], normal: bool, about: &str) {
        let count = values.len() as f64;
        assert!(!differ(count / DRAWS, self.count / DRAWS, DRAWS), "{about}: {count} times");
        let mean = values.iter().sum::<f64>() / count;
        let error = 5.0 * self.std * (1.0 / count + 1.0 / self.count).sqrt() + 1e-9;
        assert!((mean - self.mean).abs() <= error, "{about}: mean {mean}, not {}", self.mean);
        // Extremes of a normal distribution scatter, of rare operators much; others are the ends.
        let rare = if self.count < 2000.0 { 4.0 } else { 1.5 };
        let scatter = 1e-9 + if normal { rare } else { 0.05 } * self.std;
        let (low, high) =
            values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        assert!((low - self.low).abs() <= scatter, "{about}: from {low}, not {}", self.low);
        assert!((high - self.high).abs() <= scatter, "{about}: to {high}, not {}", self.high);
        for &(point, part) in &self.distribution {
            let below = values.iter().filter(|&&value| value <= point + 1e-9).count() as f64;
            let few = count.min(self.count);
            assert!(!differ(below / count, part, few), "{about}: {below} of {count} to {point}");
        }
    }
}

#[test]
fn policies_are_distributed_as_timms() {
    let policies = document().policies;
    assert_eq!(policies.len(), 23);
    policies.iter().for_each(Policy::check);
}

/// The golden statement of the specification: any digit after `inc` turns the set on in 0.3.2.
#[test]
fn inc0_is_a_trap_of_old_releases() {
    let at = |rules| {
        let settings = AugmentSettings { rules, ..AugmentSettings::default() };
        parse_augment("rand-m9-inc0", settings).unwrap()
    };
    let increasing = |step: &Step| match step {
        Step::RandAugment(step) => format!("{:?}", step.operations).contains("Increasing"),
        _ => false,
    };
    assert!(increasing(&at(TimmRules::V0_3_2)));
    assert!(increasing(&at(TimmRules::V0_6_12)));
    assert!(!increasing(&at(TimmRules::V1_0)));
}
