use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use vit_metrics::{
    Bootstrap, Comparison, Conventions, DeLongTest, McNemar, Measure, Part, Predictions,
    SeedSummary, Task, Value, delong_test, holm, mcnemar, summarise_seeds,
};
use vit_models::write_atomic;

/// Two models, or several runs of each, on the same test set.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Predictions of the first model: a `.csv` or `.safetensors` of `evaluate`; several are runs
    /// with other seeds.
    #[arg(long, required = true, num_args = 1..)]
    pub first: Vec<PathBuf>,
    /// Predictions of the second model on the same samples, as many files. Without it only the
    /// spread over the first model's seeds is given.
    #[arg(long, num_args = 1..)]
    pub second: Vec<PathBuf>,
    /// Measures, comma-separated (default: AUROC, average precision, accuracy, F1 and MCC).
    #[arg(long, value_delimiter = ',')]
    pub measures: Vec<String>,
    /// Threshold of findings.
    #[arg(long, default_value_t = 0.5)]
    pub threshold: f32,
    /// Resamples of bootstrap and permutation test; patients are drawn where they are known.
    #[arg(long, default_value_t = 2000)]
    pub resamples: usize,
    /// Coverage of the intervals.
    #[arg(long, default_value_t = 0.95)]
    pub level: f64,
    /// Seed of the resamples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to write everything as JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Measures that are compared unless others are named.
const MEASURES: [&str; 5] = ["auroc_macro", "ap_macro", "accuracy", "f1_macro", "mcc"];

/// Everything that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonReport {
    /// Spread over seeds: model, measure, summary. Empty with one run per model.
    pub seeds: Vec<(String, String, SeedSummary)>,
    /// One entry per pair of files.
    pub pairs: Vec<Pair>,
}

/// The tests of one pair of files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// File of the first model.
    pub first: PathBuf,
    /// File of the second model.
    pub second: PathBuf,
    /// Paired bootstrap intervals and permutation tests, one per measure.
    pub measures: Vec<Comparison>,
    /// `DeLong`'s paired test of the AUROC of each class, by patient where patients are known.
    pub delong: Vec<(String, DeLongTest)>,
    /// McNemar's test of the decisions: of all samples, or of each finding.
    pub mcnemar: Vec<(String, McNemar)>,
    /// All p-values of all pairs, corrected together after Holm: test, p-value, corrected p-value.
    pub holm: Vec<(String, f64, f64)>,
}

fn read(path: &Path) -> Result<Predictions> {
    let predictions = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Predictions::read_csv(path, Part::Test),
        Some("safetensors") => Predictions::read_safetensors(path),
        _ => bail!("{}: predictions are .csv or .safetensors", path.display()),
    };
    predictions.with_context(|| format!("{}", path.display()))
}

/// Compares, prints and gives everything.
///
/// # Errors
/// When a file cannot be read, the files are not of the same samples, or a measure does not exist.
pub fn compare(args: &CompareArgs) -> Result<ComparisonReport> {
    if !args.second.is_empty() && args.second.len() != args.first.len() {
        bail!(
            "{} files of the first model and {} of the second: give as many of each",
            args.first.len(),
            args.second.len()
        );
    }
    let first = args.first.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let Some(reference) = first.first() else { bail!("there is nothing to compare") };
    let second = args.second.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let aligned = |files: Vec<Predictions>, paths: &[PathBuf]| -> Result<Vec<Predictions>> {
        let pairs = files.iter().zip(paths);
        let align = |(file, path): (&Predictions, &PathBuf)| {
            reference
                .align(file)
                .with_context(|| format!("{} and {}", reference_name(args), path.display()))
        };
        pairs.map(align).collect()
    };
    let second = aligned(second, &args.second)?;
    let first = aligned(first.clone(), &args.first)?;
    let Some(reference) = first.first() else { bail!("there is nothing to compare") };
    let names = if args.measures.is_empty() {
        MEASURES.map(str::to_string).to_vec()
    } else {
        args.measures.clone()
    };
    let measure = |name: &String| Measure::parse(name, reference.classes());
    let measures = names.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    let conventions = conventions(args, reference);
    let mut seeds = Vec::new();
    for (model, runs) in [("first", &first), ("second", &second)] {
        if runs.len() > 1 {
            seeds.extend(spread(model, runs, &measures, &conventions, args.level)?);
        }
    }
    let files = args.first.iter().zip(&args.second).zip(first.iter().zip(&second));
    let mut pairs = files
        .map(|(paths, predictions)| pair(args, paths, predictions, &measures, &conventions))
        .collect::<Result<Vec<_>>>()?;
    correct(&mut pairs)?;
    let report = ComparisonReport { seeds, pairs };
    if let Some(out) = &args.out {
        let json = serde_json::to_string_pretty(&report)?;
        write_atomic(out, |file| file.write_all(json.as_bytes()))?;
    }
    print(&report, reference);
    Ok(report)
}

fn reference_name(args: &CompareArgs) -> String {
    args.first.first().map(|path| path.display().to_string()).unwrap_or_default()
}

fn conventions(args: &CompareArgs, predictions: &Predictions) -> Conventions {
    let thresholds = match predictions.task() {
        Task::SingleLabel => Vec::new(),
        Task::MultiLabel => vec![args.threshold; predictions.classes().len()],
    };
    Conventions { thresholds, ..Conventions::default() }
}

/// Mean and spread of each measure over the runs of a model.
fn spread(
    model: &str,
    runs: &[Predictions],
    measures: &[Measure],
    conventions: &Conventions,
    level: f64,
) -> Result<Vec<(String, String, SeedSummary)>> {
    let evaluators = runs
        .iter()
        .map(|run| vit_metrics::Evaluator::with_conventions(run, conventions.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for measure in measures {
        let mut values = Vec::new();
        for evaluator in &evaluators {
            let name = measure.name(evaluator.classes());
            let value = evaluator.value(*measure)?.into_result();
            values.push(value.with_context(|| format!("{name} of a run"))?);
        }
        let name = evaluators.first().map(|e| measure.name(e.classes())).unwrap_or_default();
        rows.push((model.to_string(), name, summarise_seeds(&values, level)?));
    }
    Ok(rows)
}

fn pair(
    args: &CompareArgs,
    paths: (&PathBuf, &PathBuf),
    (first, second): (&Predictions, &Predictions),
    measures: &[Measure],
    conventions: &Conventions,
) -> Result<Pair> {
    let bootstrap = Bootstrap {
        resamples: args.resamples,
        level: args.level,
        seed: args.seed,
        ..Bootstrap::default()
    };
    let classes = first.classes();
    // Of two exclusive classes the first is the second turned round.
    let two = first.task() == Task::SingleLabel && classes.len() == 2;
    let mut delong = Vec::new();
    for (class, name) in classes.iter().enumerate().skip(usize::from(two)) {
        let (ours, truth) = first.one_vs_rest(class);
        let (theirs, _) = second.one_vs_rest(class);
        let groups = groups_of(first, class);
        // A class of one kind of sample has no AUROC to compare.
        if let Ok(test) = delong_test(&ours, &theirs, &truth, Some(&groups))? {
            delong.push((name.clone(), test));
        }
    }
    Ok(Pair {
        first: paths.0.clone(),
        second: paths.1.clone(),
        measures: bootstrap.compare(first, second, conventions, measures)?,
        delong,
        mcnemar: decisions(first, second, args.threshold)?,
        holm: Vec::new(),
    })
}

/// The patient of each sample of which the class is known, as a number; samples without one are
/// patients of their own.
fn groups_of(predictions: &Predictions, class: usize) -> Vec<u64> {
    let mut numbers = HashMap::new();
    let mut groups = Vec::new();
    for (row, group) in predictions.groups().iter().enumerate() {
        let next = numbers.len() as u64;
        let name = group.as_ref().map_or_else(|| Err(row), |name| Ok(name.as_str()));
        let number = *numbers.entry(name).or_insert(next);
        if predictions.is_positive(row, class).is_some() {
            groups.push(number);
        }
    }
    groups
}

/// McNemar's test of all samples, or of each finding.
fn decisions(
    first: &Predictions,
    second: &Predictions,
    threshold: f32,
) -> Result<Vec<(String, McNemar)>> {
    if first.task() == Task::SingleLabel {
        let right = |predictions: &Predictions| -> Vec<bool> {
            let rows = (0..predictions.len()).filter_map(|row| {
                let truth = predictions.class_of(row)?;
                Some(highest(predictions.row(row)) == Some(truth))
            });
            rows.collect()
        };
        let test = mcnemar(&right(first), &right(second))?;
        return Ok(vec![("all samples".to_string(), test)]);
    }
    let mut tests = Vec::new();
    for (class, name) in first.classes().iter().enumerate() {
        let right = |predictions: &Predictions| -> Vec<bool> {
            let (scores, truth) = predictions.one_vs_rest(class);
            scores.iter().zip(truth).map(|(score, truth)| (*score > threshold) == truth).collect()
        };
        tests.push((name.clone(), mcnemar(&right(first), &right(second))?));
    }
    Ok(tests)
}

/// The class with the highest score, the first of equal ones.
fn highest(scores: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (class, score) in scores.iter().enumerate() {
        if best.is_none_or(|(_, most)| *score > most) {
            best = Some((class, *score));
        }
    }
    best.map(|(class, _)| class)
}

/// Corrects the p-values of all tests of all pairs together.
fn correct(pairs: &mut [Pair]) -> Result<()> {
    let mut tests: Vec<(usize, String, f64)> = Vec::new();
    for (place, pair) in pairs.iter().enumerate() {
        for row in &pair.measures {
            if let Value::Defined(p) = row.p_value {
                tests.push((place, format!("permutation, {}", row.name), p));
            }
        }
        for (class, test) in &pair.delong {
            tests.push((place, format!("DeLong, {class}"), test.p_value));
        }
        for (what, test) in &pair.mcnemar {
            tests.push((place, format!("McNemar, {what}"), test.exact_p));
        }
    }
    let p_values: Vec<f64> = tests.iter().map(|test| test.2).collect();
    for ((place, name, p), corrected) in tests.into_iter().zip(holm(&p_values)?) {
        if let Some(pair) = pairs.get_mut(place) {
            pair.holm.push((name, p, corrected));
        }
    }
    Ok(())
}

fn p_text(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".to_string() } else { format!("{p:.4}") }
}

fn print(report: &ComparisonReport, predictions: &Predictions) {
    if !report.seeds.is_empty() {
        println!(
            "| model | measure | runs | mean ± sd | interval of the mean |\n|---|---|---|---|---|"
        );
        for (model, name, summary) in &report.seeds {
            let interval = summary.interval.map_or_else(String::new, |interval| {
                format!("{:.4} to {:.4}", interval.low, interval.high)
            });
            println!(
                "| {model} | {name} | {} | {} ± {} | {interval} |",
                summary.runs, summary.mean, summary.standard_deviation
            );
        }
        println!(
            "The spread over seeds says how much training varies, not how much a test set does.\n"
        );
    }
    for pair in &report.pairs {
        println!("first {}, second {}\n", pair.first.display(), pair.second.display());
        println!("| measure | first | second | difference (interval) |\n|---|---|---|---|");
        for row in &pair.measures {
            let interval = match row.low.reason() {
                None => format!("{} to {}", row.low, row.high),
                Some(reason) => format!("no interval: {reason}"),
            };
            println!(
                "| {} | {} | {} | {} ({interval}) |",
                row.name, row.first, row.second, row.difference
            );
        }
        println!("\n| test | p | p after Holm |\n|---|---|---|");
        for (name, p, corrected) in &pair.holm {
            println!("| {name} | {} | {} |", p_text(*p), p_text(*corrected));
        }
        println!();
    }
    let groups: Vec<&String> = predictions.groups().iter().flatten().collect();
    let mut distinct = groups.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if !report.pairs.is_empty() && distinct.len() < groups.len() {
        println!(
            "{} samples of {} patients: intervals, permutation tests and DeLong keep patients \
             together; McNemar takes every sample for independent, so its p-values are too small.",
            groups.len(),
            distinct.len()
        );
    }
}
