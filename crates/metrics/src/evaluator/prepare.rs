//! From predictions to an evaluator.

use std::collections::HashMap;

use half::f16;

use super::{Conventions, Evaluator, Multi, Probabilities, ScoreType, Single};
use crate::calibration::Events;
use crate::multi_class::place;
use crate::probability::{
    binary_surprise, check_distributions, check_probabilities, squared_error, surprise,
};
use crate::ranking::Ranking;
use crate::single_label::argmax;
use crate::{MetricsError, Predictions, Result, Task};

/// The decision threshold of findings.
const HALF: f32 = 0.5;

/// Sorts and decides everything once.
pub(super) fn evaluator(predictions: &Predictions, conventions: Conventions) -> Result<Evaluator> {
    let classes = predictions.classes().to_vec();
    let width = classes.len();
    if !conventions.thresholds.is_empty() {
        MetricsError::check_length("thresholds", width, conventions.thresholds.len())?;
    }
    if let Some(&threshold) = conventions.thresholds.iter().find(|t| !t.is_finite()) {
        return Err(MetricsError::Threshold { threshold });
    }
    let single = predictions.task() == Task::SingleLabel;
    let kept: Vec<usize> = (0..predictions.len())
        .filter(|row| !single || predictions.class_of(*row).is_some())
        .collect();
    if kept.len() >= Ranking::MOST_ROWS {
        return Err(MetricsError::TooManySamples);
    }
    let scores: Vec<f32> = kept
        .iter()
        .flat_map(|row| predictions.row(*row))
        .map(|score| rounded(*score, conventions.metric_dtype))
        .collect();
    let truth = |row: usize, class: usize| {
        kept.get(row).and_then(|row| predictions.is_positive(*row, class))
    };
    let rows = kept.len();
    let known = |class: usize| {
        let scores = scores.iter().skip(class).step_by(width.max(1));
        scores.enumerate().filter_map(move |(row, score)| Some((row, *score, truth(row, class)?)))
    };
    let rankings = (0..width).map(|class| Ranking::of_rows(known(class))).collect();
    let micro = Ranking::of_rows((0..width).flat_map(known));
    let targets: Vec<usize> = kept.iter().filter_map(|row| predictions.class_of(*row)).collect();
    let probabilities = if single {
        check_distributions(&scores, width).map(|()| of_classes(&scores, &targets, width))
    } else {
        check_probabilities(&scores, width).map(|()| Probabilities {
            losses: (0..width)
                .map(|class| {
                    let loss = |(row, score, positive): (usize, f32, bool)| {
                        let squares = squared_error(score, positive);
                        (row as u32, squares, binary_surprise(score, positive))
                    };
                    known(class).map(loss).collect()
                })
                .collect(),
            events: (0..width).map(|class| Events::new(known(class))).collect(),
        })
    };
    Ok(Evaluator {
        task: predictions.task(),
        single: single.then(|| decide_classes(&scores, &targets, width)),
        multi: (!single).then(|| {
            let threshold =
                |class: usize| conventions.thresholds.get(class).copied().unwrap_or(HALF);
            let decide = |class: usize| {
                known(class).map(move |(row, score, positive)| {
                    (row as u32, positive, score > threshold(class))
                })
            };
            findings((0..width).map(|class| decide(class).collect()).collect(), rows)
        }),
        classes,
        conventions,
        rankings,
        micro,
        probabilities,
        groups: groups(predictions, &kept),
        kept,
    })
}

/// Groups as numbers, in the order of their first rows.
fn groups(predictions: &Predictions, kept: &[usize]) -> Vec<Option<u32>> {
    let mut places = HashMap::new();
    let group = |row: &usize| predictions.groups().get(*row).and_then(Option::as_deref);
    let mut number = |group: &str| {
        let next = places.len() as u32;
        *places.entry(group.to_owned()).or_insert(next)
    };
    kept.iter().map(|row| group(row).map(&mut number)).collect()
}

fn rounded(score: f32, to: ScoreType) -> f32 {
    match to {
        ScoreType::F32 => score,
        ScoreType::F16 => f16::from_f32(score).to_f32(),
    }
}

fn decide_classes(scores: &[f32], targets: &[usize], width: usize) -> Single {
    let rows = || scores.chunks_exact(width.max(1));
    Single {
        truth: targets.iter().map(|target| *target as u32).collect(),
        predicted: rows().map(|row| argmax(row) as u32).collect(),
        place: rows().zip(targets).map(|(row, &target)| place(row, target) as u32).collect(),
    }
}

fn findings(cells: Vec<Vec<(u32, bool, bool)>>, rows: usize) -> Multi {
    let mut sums = vec![(0, 0); rows];
    for &(row, positive, predicted) in cells.iter().flatten() {
        if let Some((known, wrong)) = sums.get_mut(row as usize) {
            *known += 1;
            *wrong += u32::from(positive != predicted);
        }
    }
    Multi { cells, rows: sums }
}

fn of_classes(scores: &[f32], targets: &[usize], width: usize) -> Probabilities {
    let rows = || scores.chunks_exact(width.max(1)).zip(targets).enumerate();
    let losses = rows().map(|(row, (scores, &target))| {
        let squares =
            scores.iter().enumerate().map(|(class, &p)| squared_error(p, class == target)).sum();
        let given = scores.get(target).map_or(0.0, |p| f64::from(*p));
        (row as u32, squares, surprise(given))
    });
    let events = rows().map(|(row, (scores, &target))| {
        let best = argmax(scores);
        (row, scores.get(best).copied().unwrap_or(0.0), best == target)
    });
    Probabilities { losses: vec![losses.collect()], events: vec![Events::new(events)] }
}
