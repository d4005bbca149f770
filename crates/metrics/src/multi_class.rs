//! Rankings of several exclusive classes.

use crate::averages::mean;
use crate::probability::check_classified;
use crate::ranking::{PairCounts, Ranking, unweighted};
use crate::{Average, MetricsError, Result, Undefined, Value};

/// Share of samples whose class is among the `k` highest scores, in [0, 1]. Equal scores are
/// ordered by class index, lowest first, as in [`SingleLabel`](crate::SingleLabel).
///
/// # Errors
/// The lengths do not fit; a target is no class; a score is not finite; `k` is 0.
pub fn top_k_accuracy(
    scores: &[f32],
    targets: &[usize],
    classes: usize,
    k: usize,
) -> Result<Value> {
    check_rows(scores, targets, classes)?;
    if k == 0 {
        return Err(MetricsError::setting("k", k, "at least 1"));
    }
    let places =
        scores.chunks_exact(classes.max(1)).zip(targets).map(|(row, &target)| place(row, target));
    let right = places.filter(|place| *place < k).count();
    Ok(Value::ratio(right as u64, targets.len() as u64, Undefined::NoSamples))
}

/// How many classes come before `target` in the order of the scores.
pub(crate) fn place(row: &[f32], target: usize) -> usize {
    let Some(&own) = row.get(target) else { return row.len() };
    let before = |(class, &score): (usize, &f32)| score > own || (score == own && class < target);
    row.iter().enumerate().filter(|cell| before(*cell)).count()
}

/// One-versus-rest AUROC of exclusive classes: the mean over the classes that have both positives
/// and negatives (plain or weighted by support), or with [`Average::Micro`] the AUROC of all
/// (sample, class) cells thrown together. `scores` is row-major rows × classes.
///
/// # Errors
/// The lengths do not fit; a target is no class; a score is not finite.
pub fn auroc_one_vs_rest(
    scores: &[f32],
    targets: &[usize],
    classes: usize,
    average: Average,
) -> Result<Value> {
    check_rows(scores, targets, classes)?;
    if average == Average::Micro {
        let cells = scores.iter().enumerate().map(|(cell, &score)| {
            (score, targets.get(cell / classes.max(1)) == Some(&(cell % classes.max(1))))
        });
        return Ok(Ranking::new(cells).auroc(unweighted));
    }
    let values = (0..classes).map(|class| {
        let support = targets.iter().filter(|target| **target == class).count();
        let weight = if average == Average::Weighted { support as f64 } else { 1.0 };
        (column(scores, targets, classes, class).auroc(unweighted), weight)
    });
    Ok(mean(values).0)
}

/// One-versus-one AUROC (Hand and Till 2001): for each pair of classes the mean of the two AUROCs
/// of telling them apart by either one's score, then the mean over the pairs of which both occur;
/// with [`Average::Weighted`] pairs count by their number of samples. [`Average::Micro`] is
/// refused: it has no meaning here.
///
/// # Errors
/// As [`auroc_one_vs_rest`]; micro average.
pub fn auroc_one_vs_one(
    scores: &[f32],
    targets: &[usize],
    classes: usize,
    average: Average,
) -> Result<Value> {
    check_rows(scores, targets, classes)?;
    if average == Average::Micro {
        return Err(MetricsError::setting("the average", "micro", "macro or weighted"));
    }
    let rankings: Vec<Ranking> =
        (0..classes).map(|class| column(scores, targets, classes, class)).collect();
    let class = |row: usize| targets.get(row).copied().unwrap_or(classes);
    let mut counts = PairCounts::new(classes);
    let mut table = Vec::new();
    Ok(one_vs_one(&rankings, class, unweighted, average, &mut counts, &mut table))
}

/// [`auroc_one_vs_one`] of columns ranked before; `table` is scratch.
pub(crate) fn one_vs_one(
    rankings: &[Ranking],
    class: impl Fn(usize) -> usize + Copy,
    weight: impl Fn(usize) -> u64 + Copy,
    average: Average,
    counts: &mut PairCounts,
    table: &mut Vec<Option<f64>>,
) -> Value {
    let classes = rankings.len();
    table.clear();
    let mut samples = 0_u64;
    for (first, ranking) in rankings.iter().enumerate() {
        ranking.against_each(first, class, weight, counts);
        samples = counts.total();
        table.extend((0..classes).map(|other| counts.auroc(other)));
    }
    if samples == 0 {
        return Value::Undefined(Undefined::NoSamples);
    }
    let cell = |a: usize, b: usize| table.get(a * classes + b).copied().flatten();
    let pairs = (0..classes).flat_map(|a| (a + 1..classes).map(move |b| (a, b)));
    let values = pairs.map(|(a, b)| {
        let weight = match average {
            Average::Weighted => (counts.of(a) + counts.of(b)) as f64,
            _ => 1.0,
        };
        match (cell(a, b), cell(b, a)) {
            (Some(x), Some(y)) => (Value::Defined(f64::midpoint(x, y)), weight),
            _ => (Value::Undefined(Undefined::ClassAbsent), weight),
        }
    });
    mean(values).0
}

/// One class against the rest.
fn column(scores: &[f32], targets: &[usize], classes: usize, class: usize) -> Ranking {
    let scores = scores.iter().skip(class).step_by(classes.max(1)).copied();
    Ranking::new(scores.zip(targets.iter().map(|target| *target == class)))
}

/// Refuses what cannot be ranked.
fn check_rows(scores: &[f32], targets: &[usize], classes: usize) -> Result<()> {
    check_classified(scores, targets, classes)?;
    match scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        Some((cell, &value)) => {
            let (row, class) = (cell / classes.max(1), format!("class {}", cell % classes.max(1)));
            Err(MetricsError::NonFiniteScore { row, class, value })
        }
        None => Ok(()),
    }
}
