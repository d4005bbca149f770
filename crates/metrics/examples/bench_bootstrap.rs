//! How long 1,000 clustered bootstrap macro-AUROCs take on as many scores as the ChestX-ray14 test
//! part has (22,433 pictures × 14 findings), and how much memory that needs.
//!
//! `cargo run --release -p vit-metrics --example bench_bootstrap [threads]`; the other side is
//! `fixtures/gen/bench_sklearn.py`.

// A program prints and may stop.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use vit_metrics::{
    Bootstrap, Evaluator, IntervalMethod, Measure, Part, Predictions, ReportBuilder, RowTarget,
    Task,
};
use vit_random::Streams;
use vit_random::rand::Rng;

const ROWS: usize = 22_433;
const FINDINGS: usize = 14;
const PATIENTS: usize = 2_797;

/// Kilobytes of the greatest resident memory so far.
fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn predictions() -> Predictions {
    let names = (0..FINDINGS).map(|class| format!("finding {class}")).collect();
    let mut predictions = Predictions::new(Task::MultiLabel, names, Part::Test).unwrap();
    let mut random = Streams::new(1).stream("bench", 0, 0);
    for row in 0..ROWS {
        let targets: Vec<Option<f32>> = (0..FINDINGS)
            .map(|class| Some(f32::from(random.random::<f32>() < 0.01 + 0.01 * class as f32)))
            .collect();
        let score = |target: &Option<f32>| {
            let shift = 0.3 * target.unwrap_or(0.0);
            (random.random::<f32>() * 0.7 + shift).clamp(0.0, 1.0)
        };
        let scores: Vec<f32> = targets.iter().map(score).collect();
        let patient = (row % PATIENTS).to_string();
        let target = RowTarget::Findings(&targets);
        predictions.push(&row.to_string(), Some(&patient), &scores, target).unwrap();
    }
    predictions
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let predictions = predictions();
    let start = Instant::now();
    let evaluator = Evaluator::new(&predictions).unwrap();
    println!("sorting once: {:.3} s, peak {} kB", start.elapsed().as_secs_f64(), peak_kilobytes());
    for resamples in [100, 1_000, 10_000] {
        let bootstrap =
            Bootstrap { resamples, method: IntervalMethod::Percentile, ..Bootstrap::default() };
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let start = Instant::now();
                let estimates = bootstrap.estimate(&evaluator, &[Measure::AUROC_MACRO]).unwrap();
                assert_eq!(estimates.len(), 1);
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{resamples} resamples on {} threads: median {:.3} s, peak {} kB",
            rayon::current_num_threads(),
            times[1],
            peak_kilobytes()
        );
    }
    let start = Instant::now();
    let measures = [Measure::AUROC_MACRO, Measure::AP_MACRO, Measure::F1_MACRO];
    let estimates = Bootstrap::default().estimate(&evaluator, &measures).unwrap();
    println!("1,000 resamples, 3 measures, BCa: {:.3} s", start.elapsed().as_secs_f64());
    for estimate in estimates {
        println!("  {}: {} ({} to {})", estimate.name, estimate.value, estimate.low, estimate.high);
    }
    let start = Instant::now();
    let report = ReportBuilder::new(&predictions).build().unwrap();
    println!(
        "the whole report with 1,000 BCa resamples: {:.1} s, page of {} kB, peak {} kB",
        start.elapsed().as_secs_f64(),
        report.html().len() / 1024,
        peak_kilobytes()
    );
}
