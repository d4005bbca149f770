use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use vit_datasets::{Target, Task};
use vit_metrics::{
    Bootstrap, Estimate, Evaluator, Measure, Part, Predictions, RowTarget, Task as MetricTask,
};
use vit_models::write_atomic;
use vit_train::{Knn, KnnWeights, LogisticConfig, LogisticFit, LogisticProbe, ProbeLabels};

use crate::features::{FeatureTable, Origin};

/// k nearest neighbours and a logistic-regression probe on frozen features.
#[derive(Debug, Clone, Args)]
pub struct KnnArgs {
    /// Feature file of the training part, as `embed` writes it.
    #[arg(long)]
    pub train: PathBuf,
    /// Feature file of the validation part: k and C are chosen on it.
    #[arg(long)]
    pub val: Option<PathBuf>,
    /// Feature file of the test part: what is reported.
    #[arg(long)]
    pub test: PathBuf,
    /// Numbers of neighbours; those above the number of training rows are left out.
    #[arg(long, value_delimiter = ',', default_value = "5,10,20,50,100")]
    pub k: Vec<usize>,
    /// Temperature of the neighbours' votes, exp(cosine / temperature); 0 counts every vote alike.
    #[arg(long, default_value_t = 0.07)]
    pub temperature: f64,
    /// Inverse penalties of the probe, as scikit-learn's C.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.0001,0.0003,0.001,0.003,0.01,0.03,0.1,0.3,1,3,10"
    )]
    pub c: Vec<f64>,
    /// Measure that k and C are chosen by.
    #[arg(long, default_value = "auroc_macro")]
    pub select: String,
    /// After C is chosen, fit the probe again on training and validation part together.
    #[arg(long)]
    pub refit: bool,
    /// Resamples of the intervals.
    #[arg(long, default_value_t = 1000)]
    pub resamples: usize,
    /// Seed of the intervals.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to write all numbers as JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// How well one classifier does on the test part.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    /// Its setting: `k = 20` or `C = 0.1`.
    pub setting: String,
    /// The measure it was chosen by, on the validation part.
    pub validation: Option<f64>,
    /// On the test part, with intervals.
    pub test: Vec<Estimate>,
}

/// All results.
#[derive(Debug, Clone, Serialize)]
pub struct KnnReport {
    /// Where the features come from.
    pub origin: Origin,
    /// Rows of the parts: training, validation, test.
    pub rows: [usize; 3],
    /// The measure of choice.
    pub select: String,
    /// The chosen k nearest neighbours.
    pub knn: Scored,
    /// Every k on the test part, for comparison with papers that report the best.
    pub every_k: Vec<Scored>,
    /// The chosen probe.
    pub probe: Scored,
    /// How the chosen probe's fit went.
    pub probe_fit: LogisticFit,
}

/// Fits, chooses, reports.
///
/// # Errors
/// When the files do not belong together, have no labels, or share a patient.
pub fn knn(args: &KnnArgs) -> Result<KnnReport> {
    let parts = Parts::open(args)?;
    let task = &parts.train.task;
    let select = Measure::parse(&args.select, task.names())?;
    let bench = Bench { args, parts: &parts, select };
    let (knn, every_k) = bench.neighbours()?;
    let (probe, probe_fit) = bench.probe()?;
    let report = KnnReport {
        origin: parts.train.origin.clone(),
        rows: [&Some(&parts.train), &parts.val.as_ref(), &Some(&parts.test)]
            .map(|part| part.map_or(0, |part| part.records.len())),
        select: args.select.clone(),
        knn,
        every_k,
        probe,
        probe_fit,
    };
    show(&report);
    if let Some(out) = &args.out {
        let json = serde_json::to_vec_pretty(&report)?;
        write_atomic(out, |file| file.write_all(&json))?;
    }
    Ok(report)
}

struct Parts {
    train: FeatureTable,
    val: Option<FeatureTable>,
    test: FeatureTable,
}

impl Parts {
    fn open(args: &KnnArgs) -> Result<Self> {
        let open = |path: &Path| FeatureTable::open(path);
        let val = args.val.as_deref().map(open).transpose()?;
        let parts = Self { train: open(&args.train)?, val, test: open(&args.test)? };
        let train = &parts.train;
        for (path, part) in args.val.iter().zip(&parts.val).chain([(&args.test, &parts.test)]) {
            let same = |a: &Origin, b: &Origin| {
                (&a.model_sha256, &a.preprocessing, a.features)
                    == (&b.model_sha256, &b.preprocessing, b.features)
            };
            ensure!(
                same(&part.origin, &train.origin) && part.dim == train.dim,
                "{} comes from another model, preparation or kind of features than {}",
                path.display(),
                args.train.display()
            );
            ensure!(
                part.task == train.task,
                "{} has other labels than {}",
                path.display(),
                args.train.display()
            );
        }
        ensure!(train.task != Task::Unlabelled, "{} has no labels", args.train.display());
        parts.check_groups()?;
        Ok(parts)
    }

    /// A patient in two parts makes the numbers too good.
    fn check_groups(&self) -> Result<()> {
        let mut part_of: HashMap<&str, &str> = HashMap::new();
        let parts =
            [("train", Some(&self.train)), ("val", self.val.as_ref()), ("test", Some(&self.test))];
        for (name, part) in parts {
            for record in part.iter().flat_map(|part| &part.records) {
                let first = part_of.entry(&record.group).or_insert(name);
                if *first != name {
                    bail!("patient '{}' is in {first} and in {name}", record.group);
                }
            }
        }
        Ok(())
    }
}

/// Labels as the probes take them.
fn labels(table: &FeatureTable) -> Result<ProbeLabels> {
    let outputs = table.task.names().len();
    match &table.task {
        Task::SingleLabel { .. } => {
            let class = |target: &Target| match target {
                Target::Class(class) => Ok(*class),
                _ => bail!("a row has no class"),
            };
            let labels = table.records.iter().map(|r| class(&r.target)).collect::<Result<_>>()?;
            Ok(ProbeLabels::Classes { labels, classes: outputs })
        }
        _ => {
            let findings = |target: &Target| match target {
                Target::Labels(labels) => labels.clone(),
                _ => vec![None; outputs],
            };
            let labels = table.records.iter().flat_map(|r| findings(&r.target)).collect();
            Ok(ProbeLabels::Findings { labels, findings: outputs })
        }
    }
}

/// Scores of a part, with its truth, for the metrics.
fn predictions(table: &FeatureTable, scores: &[f32], part: Part) -> Result<Predictions> {
    let names = table.task.names().to_vec();
    let kind = match &table.task {
        Task::SingleLabel { .. } => MetricTask::SingleLabel,
        _ => MetricTask::MultiLabel,
    };
    let width = names.len().max(1);
    let mut predictions = Predictions::new(kind, names, part)?;
    for (record, scores) in table.records.iter().zip(scores.chunks_exact(width)) {
        let group = Some(record.group.as_str());
        let target = match &record.target {
            Target::Class(class) => RowTarget::Class(Some(*class)),
            Target::Labels(labels) => RowTarget::Findings(labels),
            _ => RowTarget::Class(None),
        };
        predictions.push(&record.id, group, scores, target)?;
    }
    Ok(predictions)
}

struct Bench<'a> {
    args: &'a KnnArgs,
    parts: &'a Parts,
    select: Measure,
}

impl Bench<'_> {
    /// The best k on the validation part, and every k, on the test part.
    fn neighbours(&self) -> Result<(Scored, Vec<Scored>)> {
        let Parts { train, test, .. } = self.parts;
        let weights = match self.args.temperature {
            0. => KnnWeights::Uniform,
            temperature => KnnWeights::Exponential { temperature },
        };
        let knn = Knn::new(&train.values, train.dim, labels(train)?, weights)?;
        let rows = train.records.len();
        let ks: Vec<usize> = self.args.k.iter().copied().filter(|k| *k <= rows).collect();
        ensure!(!ks.is_empty(), "--k: there are {rows} training rows");
        let validation = match &self.parts.val {
            Some(val) => {
                let scores = knn.scores(&val.values, &ks)?;
                scores.iter().map(|s| self.validation(val, s).map(Some)).collect::<Result<_>>()?
            }
            None => vec![None; ks.len()],
        };
        let mut every = Vec::new();
        let of_test = knn.scores(&test.values, &ks)?;
        for ((k, scores), validation) in ks.iter().zip(&of_test).zip(&validation) {
            let test = self.estimates(scores)?;
            every.push(Scored { setting: format!("k = {k}"), validation: *validation, test });
        }
        let best = self.best(&validation);
        let chosen = every.get(best).context("there is no k")?.clone();
        Ok((chosen, every))
    }

    /// The probe whose C is best on the validation part.
    fn probe(&self) -> Result<(Scored, LogisticFit)> {
        let Parts { train, val, test } = self.parts;
        let cs = &self.args.c;
        ensure!(
            cs.len() == 1 || val.is_some(),
            "several --c need --val to choose on, for the test part must not choose"
        );
        let train_labels = labels(train)?;
        let fit = |values: &[f32], labels: &ProbeLabels, c| {
            let config = LogisticConfig { c, ..LogisticConfig::default() };
            LogisticProbe::fit(values, train.dim, labels, &config)
        };
        let mut fitted = Vec::new();
        for &c in cs {
            let (probe, fit) = fit(&train.values, &train_labels, c)?;
            let validation = match val {
                Some(val) => Some(self.validation(val, &probe.scores(&val.values)?)?),
                None => None,
            };
            fitted.push((c, probe, fit, validation));
        }
        let best = self.best(&fitted.iter().map(|fit| fit.3).collect::<Vec<_>>());
        let (c, mut probe, mut summary, validation) =
            fitted.into_iter().nth(best).context("there is no C")?;
        if let (true, Some(val)) = (self.args.refit, val) {
            let values = [train.values.as_slice(), &val.values].concat();
            (probe, summary) = fit(&values, &joined(&train_labels, &labels(val)?)?, c)?;
        }
        if !summary.converged {
            println!("the probe did not converge: gradient {:.1e}", summary.gradient);
        }
        let test = self.estimates(&probe.scores(&test.values)?)?;
        Ok((Scored { setting: format!("C = {c}"), validation, test }, summary))
    }

    fn validation(&self, val: &FeatureTable, scores: &[f32]) -> Result<f64> {
        let predictions = predictions(val, scores, Part::Validation)?;
        let value = Evaluator::new(&predictions)?.value(self.select)?;
        let undefined = || format!("{} on the validation part", self.args.select);
        value.into_result().map_err(anyhow::Error::from).with_context(undefined)
    }

    /// The place of the best value; the first of equals; the first if there is nothing to judge by.
    fn best(&self, validation: &[Option<f64>]) -> usize {
        let mut best: Option<(usize, f64)> = None;
        for (at, value) in validation.iter().enumerate() {
            let Some(value) = *value else { continue };
            let better = |(_, old): (usize, f64)| {
                if self.select.higher_is_better() { value > old } else { value < old }
            };
            if best.is_none_or(better) {
                best = Some((at, value));
            }
        }
        best.map_or(0, |(at, _)| at)
    }

    fn estimates(&self, scores: &[f32]) -> Result<Vec<Estimate>> {
        let predictions = predictions(&self.parts.test, scores, Part::Test)?;
        let evaluator = Evaluator::new(&predictions)?;
        let measures = [
            Measure::Accuracy,
            Measure::BalancedAccuracy,
            Measure::AUROC_MACRO,
            Measure::AP_MACRO,
            Measure::F1_MACRO,
            Measure::Mcc,
        ];
        let bootstrap = Bootstrap {
            resamples: self.args.resamples,
            seed: self.args.seed,
            ..Bootstrap::default()
        };
        Ok(bootstrap.estimate(&evaluator, &measures)?)
    }
}

fn joined(first: &ProbeLabels, second: &ProbeLabels) -> Result<ProbeLabels> {
    match (first, second) {
        (ProbeLabels::Classes { labels: a, classes }, ProbeLabels::Classes { labels: b, .. }) => {
            Ok(ProbeLabels::Classes { labels: [&a[..], b].concat(), classes: *classes })
        }
        (
            ProbeLabels::Findings { labels: a, findings },
            ProbeLabels::Findings { labels: b, .. },
        ) => Ok(ProbeLabels::Findings { labels: [&a[..], b].concat(), findings: *findings }),
        _ => bail!("the parts have different kinds of labels"),
    }
}

fn show(report: &KnnReport) {
    let [train, val, test] = report.rows;
    println!("{}: {train} training, {val} validation, {test} test rows", report.origin.model);
    let mut last = None;
    for (what, scored) in [("k-NN", &report.knn), ("logistic probe", &report.probe)] {
        let chosen = match scored.validation {
            Some(value) => format!(", chosen by {} {value:.4} on validation", report.select),
            None => String::new(),
        };
        println!("{what}, {}{chosen}", scored.setting);
        for Estimate { name, value, low, high, .. } in &scored.test {
            println!("  {name:<18} {value:.4}  ({low:.4} to {high:.4})");
        }
        last = Some(scored);
    }
    if let Some(names) = last {
        let names: Vec<&str> = names.test.iter().map(|e| e.name.as_str()).collect();
        println!("every k on the test part: {}", names.join(", "));
    }
    for scored in &report.every_k {
        let values: Vec<String> = scored.test.iter().map(|e| format!("{:.4}", e.value)).collect();
        println!("  {:<8} {}", scored.setting, values.join("  "));
    }
}
