//! How often nominal 95 % intervals hold the true value, over 2,000 simulated studies, and how often
//! tests find a difference that is not there.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};
use vit_metrics::*;
use vit_random::rand::Rng;
use vit_random::{Stream, Streams};

const STUDIES: u64 = 2_000;

/// What is simulated.
#[derive(Clone, Copy)]
struct Design {
    patients: usize,
    pictures: usize,
    /// Share of a score's variance that the pictures of a patient have in common.
    shared: f64,
    /// Distance of sick and healthy in standard deviations.
    distance: f64,
}

impl Design {
    /// Scores are normal with variance 1 around ± distance/2; a patient is sick or not.
    fn study(&self, number: u64) -> (Vec<f32>, Vec<bool>, Vec<u64>) {
        let mut random = Streams::new(2026).stream("coverage", self.patients as u64, number);
        let (mut scores, mut sick, mut groups) = (vec![], vec![], vec![]);
        for patient in 0..self.patients {
            let is_sick = random.random::<bool>();
            let common = normal(&mut random) * self.shared.sqrt();
            for _ in 0..self.pictures {
                let own = normal(&mut random) * (1.0 - self.shared).sqrt();
                let centre = if is_sick { self.distance / 2.0 } else { -self.distance / 2.0 };
                // The decision threshold is 0.5.
                scores.push((0.5 + centre + common + own) as f32);
                sick.push(is_sick);
                groups.push(patient as u64);
            }
        }
        (scores, sick, groups)
    }

    fn true_auroc(&self) -> f64 {
        Normal::standard().cdf(self.distance / std::f64::consts::SQRT_2)
    }

    fn true_accuracy(&self) -> f64 {
        Normal::standard().cdf(self.distance / 2.0)
    }
}

/// Box and Muller.
fn normal(random: &mut Stream) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn predictions(scores: &[f32], sick: &[bool], groups: &[u64]) -> Predictions {
    let mut predictions =
        Predictions::new(Task::MultiLabel, vec!["sick".to_owned()], Part::Test).unwrap();
    for (row, ((score, sick), group)) in scores.iter().zip(sick).zip(groups).enumerate() {
        let target = [Some(f32::from(u8::from(*sick)))];
        let (id, group) = (row.to_string(), group.to_string());
        predictions.push(&id, Some(&group), &[*score], RowTarget::Findings(&target)).unwrap();
    }
    predictions
}

/// Share of studies whose interval holds the truth, per way of making one.
fn coverage<const N: usize>(
    design: Design,
    intervals: impl Fn(&[f32], &[bool], &[u64], u64) -> [(Interval, f64); N] + Sync,
) -> [f64; N] {
    let hits: Vec<[bool; N]> = (0..STUDIES)
        .into_par_iter()
        .map(|number| {
            let (scores, sick, groups) = design.study(number);
            intervals(&scores, &sick, &groups, number)
                .map(|(interval, truth)| interval.low <= truth && truth <= interval.high)
        })
        .collect();
    std::array::from_fn(|way| hits.iter().filter(|hits| hits[way]).count() as f64 / STUDIES as f64)
}

/// Bootstrap intervals of AUROC and accuracy.
fn bootstrap(
    evaluator: &Evaluator,
    resampling: Resampling,
    method: IntervalMethod,
    seed: u64,
) -> [Interval; 2] {
    let bootstrap = Bootstrap { resamples: 500, level: 0.95, seed, resampling, method };
    let measures = [Measure::AUROC_MACRO, Measure::Accuracy];
    let estimates = bootstrap.estimate(evaluator, &measures).unwrap();
    let end = |value: Value| value.defined().unwrap();
    [0, 1].map(|m| Interval { low: end(estimates[m].low), high: end(estimates[m].high) })
}

#[track_caller]
fn assert_covers(name: &str, coverage: f64) {
    println!("{name}: {:.2} %", 100.0 * coverage);
    assert!((0.93..=0.97).contains(&coverage), "{name}: {coverage}");
}

#[test]
fn independent_samples() {
    let design = Design { patients: 200, pictures: 1, shared: 0.0, distance: 1.2 };
    let [percentile_auroc, percentile_accuracy, bca_auroc, bca_accuracy, plain, logit, wilsons] =
        coverage(design, |scores, sick, groups, number| {
            let evaluator = Evaluator::new(&predictions(scores, sick, groups)).unwrap();
            let by = |method| bootstrap(&evaluator, Resampling::Rows, method, number);
            let [a, b] = by(IntervalMethod::Percentile);
            let [c, d] = by(IntervalMethod::Bca);
            let delong = delong(scores, sick, None).unwrap().unwrap();
            let right = counts_at(scores, sick, 0.5).unwrap();
            let right = right.true_positives + right.true_negatives;
            let (auroc, accuracy) = (design.true_auroc(), design.true_accuracy());
            [
                (a, auroc),
                (b, accuracy),
                (c, auroc),
                (d, accuracy),
                (delong.interval(0.95).unwrap(), auroc),
                (delong.logit_interval(0.95).unwrap(), auroc),
                (wilson(right, scores.len() as u64, 0.95).unwrap(), accuracy),
            ]
        });
    assert_covers("AUROC, percentile", percentile_auroc);
    assert_covers("accuracy, percentile", percentile_accuracy);
    assert_covers("AUROC, BCa", bca_auroc);
    assert_covers("accuracy, BCa", bca_accuracy);
    assert_covers("AUROC, DeLong", plain);
    assert_covers("AUROC, DeLong on the logit scale", logit);
    assert_covers("accuracy, Wilson", wilsons);
}

#[test]
fn several_pictures_per_patient() {
    let design = Design { patients: 150, pictures: 4, shared: 0.7, distance: 1.2 };
    let [percentile, percentile_accuracy, bca, bca_accuracy, stratified, obuchowski, rows, delongs] =
        coverage(design, |scores, sick, groups, number| {
            let evaluator = Evaluator::new(&predictions(scores, sick, groups)).unwrap();
            let by = |resampling, method| bootstrap(&evaluator, resampling, method, number);
            let [a, b] = by(Resampling::Clustered, IntervalMethod::Percentile);
            let [c, d] = by(Resampling::Clustered, IntervalMethod::Bca);
            let [e, _] = by(Resampling::ClusteredStratified, IntervalMethod::Bca);
            let [f, _] = by(Resampling::Rows, IntervalMethod::Percentile);
            let interval = |groups| {
                let delong = delong(scores, sick, groups).unwrap().unwrap();
                delong.logit_interval(0.95).unwrap()
            };
            let (auroc, accuracy) = (design.true_auroc(), design.true_accuracy());
            [
                (a, auroc),
                (b, accuracy),
                (c, auroc),
                (d, accuracy),
                (e, auroc),
                (interval(Some(groups)), auroc),
                (f, auroc),
                (interval(None), auroc),
            ]
        });
    assert_covers("AUROC, clustered percentile", percentile);
    assert_covers("accuracy, clustered percentile", percentile_accuracy);
    assert_covers("AUROC, clustered BCa", bca);
    assert_covers("accuracy, clustered BCa", bca_accuracy);
    assert_covers("AUROC, clustered and stratified BCa", stratified);
    assert_covers("AUROC, Obuchowski", obuchowski);
    // Taking a patient's pictures for independent is visibly wrong.
    println!("AUROC, rows: {rows}, DeLong without groups: {delongs}");
    assert!(rows < 0.85 && delongs < 0.85, "{rows} {delongs}");
}

/// Two models that are equally good: each test says "different at the 5 % level" in about 5 % of
/// studies, with several pictures per patient.
#[test]
fn tests_reject_a_true_null_as_often_as_they_say() {
    const TESTS: u64 = 2_000;
    let design = Design { patients: 60, pictures: 4, shared: 0.7, distance: 1.2 };
    let rejected: Vec<[bool; 4]> = (0..TESTS)
        .into_par_iter()
        .map(|number| {
            let (base, sick, groups) = design.study(number);
            let mut random = Streams::new(11).stream("second", 0, number);
            // What a model adds is the patient's, so that pictures are not independent here either.
            let mut scores = || -> Vec<f32> {
                let added: Vec<f32> =
                    (0..design.patients).map(|_| normal(&mut random) as f32 * 0.7).collect();
                base.iter().zip(&groups).map(|(s, g)| s + added[*g as usize]).collect()
            };
            let (a, b) = (scores(), scores());
            let [p, q] = [&a, &b].map(|scores| predictions(scores, &sick, &groups));
            let bootstrap = Bootstrap { resamples: 200, seed: number, ..Bootstrap::default() };
            let measures = [Measure::AUROC_MACRO, Measure::Accuracy];
            let found = bootstrap.compare(&p, &q, &Conventions::default(), &measures).unwrap();
            let p_value = |place: usize| found[place].p_value.defined().unwrap();
            let delong = |groups| delong_test(&a, &b, &sick, groups).unwrap().unwrap().p_value;
            [
                p_value(0) <= 0.05,
                p_value(1) <= 0.05,
                delong(Some(groups.as_slice())) <= 0.05,
                delong(None) <= 0.05,
            ]
        })
        .collect();
    let rate =
        |test: usize| rejected.iter().filter(|tests| tests[test]).count() as f64 / TESTS as f64;
    for (test, name) in ["AUROC, permutation", "accuracy, permutation", "AUROC, clustered DeLong"]
        .iter()
        .enumerate()
    {
        println!("{name}: {:.1} % rejected", 100.0 * rate(test));
        assert!((0.03..=0.07).contains(&rate(test)), "{name}: {}", rate(test));
    }
    println!("AUROC, DeLong that ignores patients: {:.1} % rejected", 100.0 * rate(3));
    assert!(rate(3) > 0.1, "{}", rate(3));
}
