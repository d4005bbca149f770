//! k nearest neighbours and logistic regression against scikit-learn.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use vit_train::{Knn, KnnWeights, LogisticConfig, LogisticProbe, ProbeLabels};

#[derive(Deserialize)]
struct Case {
    name: String,
    dim: usize,
    classes: usize,
    labels: Vec<usize>,
    train: Vec<f32>,
    test: Vec<f32>,
    logistic: Vec<Logistic>,
    knn: Vec<Neighbours>,
}

#[derive(Deserialize)]
struct Logistic {
    c: f64,
    probabilities: Vec<f64>,
}

#[derive(Deserialize)]
struct Neighbours {
    k: usize,
    temperature: Option<f64>,
    probabilities: Vec<f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/probe.json")).unwrap()
}

impl Case {
    fn labels(&self) -> ProbeLabels {
        ProbeLabels::Classes { labels: self.labels.clone(), classes: self.classes }
    }
}

fn largest_difference(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0., f64::max)
}

#[test]
fn logistic_regression_is_scikit_learns() {
    for case in cases() {
        for Logistic { c, probabilities } in &case.logistic {
            let config = LogisticConfig { c: *c, tolerance: 1e-10, ..LogisticConfig::default() };
            let (probe, fit) =
                LogisticProbe::fit(&case.train, case.dim, &case.labels(), &config).unwrap();
            assert!(fit.converged, "{}, C {c}: {fit:?}", case.name);
            let off = largest_difference(&probe.scores(&case.test).unwrap(), probabilities);
            assert!(off < 1e-6, "{}, C {c}: {off}", case.name);
        }
    }
}

#[test]
fn neighbours_are_scikit_learns() {
    for case in cases() {
        for Neighbours { k, temperature, probabilities } in &case.knn {
            let weights = match temperature {
                None => KnnWeights::Uniform,
                Some(temperature) => KnnWeights::Exponential { temperature: *temperature },
            };
            let knn = Knn::new(&case.train, case.dim, case.labels(), weights).unwrap();
            let scores = knn.scores(&case.test, &[1, *k]).unwrap();
            let off = largest_difference(&scores[1], probabilities);
            assert!(off < 1e-5, "{}, k {k}, {temperature:?}: {off}", case.name);
        }
    }
}

#[test]
fn each_finding_is_a_probe_of_its_own_over_what_is_known() {
    let case = cases().into_iter().find(|case| case.classes == 2).unwrap();
    // The first finding is the class; of the second every third label is unknown.
    let second = |row: usize, label: usize| (!row.is_multiple_of(3)).then_some(1. - label as f32);
    let labels: Vec<_> = case
        .labels
        .iter()
        .enumerate()
        .flat_map(|(row, &label)| [Some(label as f32), second(row, label)])
        .collect();
    let findings = ProbeLabels::Findings { labels, findings: 2 };
    let config = LogisticConfig::default();
    let (both, _) = LogisticProbe::fit(&case.train, case.dim, &findings, &config).unwrap();
    let (one, _) = LogisticProbe::fit(&case.train, case.dim, &case.labels(), &config).unwrap();
    let (both, one) = (both.scores(&case.test).unwrap(), one.scores(&case.test).unwrap());
    for (both, one) in both.chunks(2).zip(one.chunks(2)) {
        assert!((both[0] - one[1]).abs() < 1e-6);
    }
    assert!(both.chunks(2).any(|row| (row[0] + row[1] - 1.).abs() > 1e-3));

    let knn = Knn::new(&case.train, case.dim, findings, KnnWeights::Uniform).unwrap();
    let votes = knn.scores(&case.test, &[5]).unwrap().remove(0);
    let classes = Knn::new(&case.train, case.dim, case.labels(), KnnWeights::Uniform).unwrap();
    let expected = classes.scores(&case.test, &[5]).unwrap().remove(0);
    assert!(votes.chunks(2).zip(expected.chunks(2)).all(|(a, b)| (a[0] - b[1]).abs() < 1e-6));
}

#[test]
fn a_separable_problem_ends_at_every_penalty() {
    let train = [-3f32, -2., -1., 1., 2., 3.];
    let labels = ProbeLabels::Classes { labels: vec![0, 0, 0, 1, 1, 1], classes: 2 };
    for c in [1e-6, 1., 1e6, 1e9] {
        let config = LogisticConfig { c, ..LogisticConfig::default() };
        let (probe, fit) = LogisticProbe::fit(&train, 1, &labels, &config).unwrap();
        assert!(fit.converged, "{c}: {fit:?}");
        assert!(probe.scores(&[2.5]).unwrap()[1] > 0.5);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let labels = ProbeLabels::Classes { labels: vec![0, 1], classes: 2 };
    let fit = |features: &[f32], dim, labels: &ProbeLabels, c| {
        let config = LogisticConfig { c, ..LogisticConfig::default() };
        LogisticProbe::fit(features, dim, labels, &config).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(fit(&[0., 1.], 1, &labels, 1.), Ok(()));
    assert!(fit(&[0., f32::NAN], 1, &labels, 1.).unwrap_err().contains("row 1"));
    assert!(fit(&[0., 1., 2.], 1, &labels, 1.).is_err());
    assert!(fit(&[0., 1.], 0, &labels, 1.).is_err());
    assert!(fit(&[0., 1.], 1, &labels, 0.).is_err());
    let beyond = ProbeLabels::Classes { labels: vec![0, 2], classes: 2 };
    assert!(fit(&[0., 1.], 1, &beyond, 1.).unwrap_err().contains("row 1"));
    let soft = ProbeLabels::Findings { labels: vec![Some(0.), Some(1.5)], findings: 1 };
    assert!(fit(&[0., 1.], 1, &soft, 1.).is_err());
    let unknown = ProbeLabels::Findings { labels: vec![None, None], findings: 1 };
    assert!(fit(&[0., 1.], 1, &unknown, 1.).unwrap_err().contains("never known"));

    let knn = Knn::new(&[0., 1.], 1, labels.clone(), KnnWeights::default()).unwrap();
    assert!(knn.scores(&[1.], &[3]).is_err());
    assert!(knn.scores(&[1.], &[0]).is_err());
    assert!(knn.scores(&[f32::INFINITY], &[1]).is_err());
    assert!(Knn::new(&[0., 1.], 1, labels, KnnWeights::Exponential { temperature: 0. }).is_err());
}
