//! Measuring whole steps: how fast, how much memory, how far from what the machine can do.
//!
//! Every job reports the arithmetic of its matrix products ([`Products`]), the rate at which this
//! machine computes exactly those products ([`roofline`]), and so the share of it that a step
//! reaches. `benches/peer` holds the same jobs for other systems; docs/benchmarks.md has results.

mod cnn;
mod flops;
mod job;
pub mod process;
mod roofline;
mod series;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use flops::Products;
use job::Work;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Scores of 1000 classes, no gradients.
    Infer,
    /// Whole fine-tuning step: cross entropy, backward, `AdamW` with weight decay.
    Train,
    /// Masked auto-encoding step: decoder of width 512 and 8 blocks, mask 0.75, normalised targets.
    Mae,
    /// Fine-tuning step of adapters of rank 8 on query and value, and of the head.
    Lora,
    /// The optimiser's update of every parameter, and nothing else.
    Adamw,
}

impl Job {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }
}

/// What to measure and for how long.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What is measured; several, separated by commas, run in a process each.
    #[arg(long = "job", value_delimiter = ',', default_value = "infer")]
    pub jobs: Vec<Job>,
    /// Model: vit_tiny_patch16, vit_small_patch16, vit_base_patch16, …; densenet121, resnet50, …
    #[arg(long, default_value = "vit_base_patch16")]
    pub model: String,
    /// Side of the pictures in pixels.
    #[arg(long, default_value_t = 224)]
    pub img_size: usize,
    /// Pictures per step.
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// Steps that are measured.
    #[arg(long, default_value_t = 5)]
    pub steps: usize,
    /// Steps before them that are not.
    #[arg(long, default_value_t = 1)]
    pub warmup: usize,
    /// Threads; otherwise RAYON_NUM_THREADS or all cores.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Keep only the blocks' inputs and compute the rest again in the backward pass.
    #[arg(long)]
    pub checkpointing: bool,
    /// Run this many steps and compare the first with the last 50 in time and memory.
    #[arg(long, value_name = "STEPS", conflicts_with = "scaling")]
    pub growth: Option<usize>,
    /// Measure over batch sizes and picture sizes and fit the powers.
    #[arg(long)]
    pub scaling: bool,
    /// Batch sizes of --scaling.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    pub batch_sizes: Vec<usize>,
    /// Picture sizes of --scaling.
    #[arg(long, value_delimiter = ',', default_value = "112,160,224,320")]
    pub img_sizes: Vec<usize>,
    /// One JSON object per job on a line of its own instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    fn setting(&self, job: Job) -> Setting {
        Setting {
            job,
            model: self.model.clone(),
            img_size: self.img_size,
            batch_size: self.batch_size,
            checkpointing: self.checkpointing,
        }
    }

    /// The command line that measures one job in a process of its own.
    fn child(&self, job: Job) -> Vec<String> {
        let list = |values: &[usize]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut line: Vec<(&str, String)> = vec![
            ("--job", job.name()),
            ("--model", self.model.clone()),
            ("--img-size", self.img_size.to_string()),
            ("--batch-size", self.batch_size.to_string()),
            ("--steps", self.steps.to_string()),
            ("--warmup", self.warmup.to_string()),
            ("--batch-sizes", list(&self.batch_sizes).join(",")),
            ("--img-sizes", list(&self.img_sizes).join(",")),
        ];
        line.extend(self.growth.map(|steps| ("--growth", steps.to_string())));
        let flags = [
            ("--checkpointing", self.checkpointing),
            ("--scaling", self.scaling),
            ("--json", self.json),
        ];
        let flags = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_string());
        let pairs = line.into_iter().flat_map(|(flag, value)| [flag.to_string(), value]);
        pairs.chain(flags).collect()
    }
}

/// One job on one model.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Setting {
    pub(crate) job: Job,
    pub(crate) model: String,
    pub(crate) img_size: usize,
    pub(crate) batch_size: usize,
    pub(crate) checkpointing: bool,
}

/// The result of one job; one JSON line. The peers print the same names.
#[derive(Debug, Serialize)]
struct Measurement {
    system: &'static str,
    #[serde(flatten)]
    setting: Setting,
    threads: usize,
    params: usize,
    params_trained: usize,
    warmup: usize,
    steps: usize,
    seconds_median: f64,
    seconds_best: f64,
    images_per_s_median: Option<f64>,
    images_per_s_best: Option<f64>,
    #[serde(flatten)]
    bound: Bound,
    /// Resident before anything of the job was built: program, libraries, run time.
    start_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    page_faults_per_step: Option<f64>,
    first_loss: Option<f64>,
    last_loss: Option<f64>,
}

/// A step's work, its rate, and the rate this machine is capable of.
#[derive(Debug, Default, Serialize)]
struct Bound {
    /// Floating-point operations of the matrix products of one step, in units of 10⁹.
    gflop_per_step: Option<f64>,
    gflops_median: Option<f64>,
    gflops_best: Option<f64>,
    roofline_gflops: Option<f64>,
    /// Memory that one update must read and write, in units of 10⁹ bytes.
    gbyte_per_step: Option<f64>,
    gbytes_per_s_median: Option<f64>,
    roofline_gbytes_per_s: Option<f64>,
    /// Median rate over the roofline's rate.
    share_of_roofline: f64,
}

impl Bound {
    /// Measures the roofline of a job whose steps took so many seconds.
    fn measure(setting: &Setting, params: usize, median: f64, best: f64) -> Result<Self> {
        let Some(products) = Products::of(setting)? else {
            let gbyte = (params * roofline::UPDATE_BYTES) as f64 / 1e9;
            let roofline = roofline::memory(params);
            return Ok(Self {
                gbyte_per_step: Some(gbyte),
                gbytes_per_s_median: Some(gbyte / median),
                roofline_gbytes_per_s: Some(roofline),
                share_of_roofline: gbyte / median / roofline,
                ..Self::default()
            });
        };
        let gflop = products.flops() / 1e9;
        let roofline = roofline::matrix_products(&products)?;
        Ok(Self {
            gflop_per_step: Some(gflop),
            gflops_median: Some(gflop / median),
            gflops_best: Some(gflop / best),
            roofline_gflops: Some(roofline),
            share_of_roofline: gflop / median / roofline,
            ..Self::default()
        })
    }
}

/// One step's cost.
pub(crate) struct StepCost {
    pub(crate) seconds: f64,
    pub(crate) page_faults: Option<u64>,
    pub(crate) loss: Option<f64>,
}

/// Runs and times one step; reading the loss of an inference is not part of it.
pub(crate) fn timed_step(work: &mut Work) -> Result<StepCost> {
    let faults = process::minor_faults();
    let start = Instant::now();
    let output = work.step()?;
    let seconds = start.elapsed().as_secs_f64();
    let page_faults = faults.and_then(|before| Some(process::minor_faults()? - before));
    Ok(StepCost { seconds, page_faults, loss: work.loss(output)? })
}

/// Runs what the arguments ask for and prints the results.
///
/// # Errors
/// When there is no such model, or a step fails.
pub fn bench(args: &BenchArgs) -> Result<()> {
    if args.steps == 0 {
        bail!("--steps 0 measures nothing");
    }
    let threads = rayon::current_num_threads();
    let other_threads = args.threads.is_some_and(|wanted| wanted != threads);
    match args.jobs.as_slice() {
        [job] if !other_threads => bench_job(args, *job),
        jobs => jobs.iter().try_for_each(|&job| spawn(args, job)),
    }
}

/// The peak of resident memory belongs to a process and the number of threads to its start, so
/// each job gets a process.
fn spawn(args: &BenchArgs, job: Job) -> Result<()> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    command.args(args.child(job));
    if let Some(threads) = args.threads {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    let status = command.status()?;
    if !status.success() {
        bail!("job {}: {status}", job.name());
    }
    Ok(())
}

fn bench_job(args: &BenchArgs, job: Job) -> Result<()> {
    let setting = args.setting(job);
    if let Some(steps) = args.growth {
        return show(args.json, &series::growth(&setting, steps)?);
    }
    if args.scaling {
        let scaling = series::scaling(&setting, args, |batch, img| {
            eprint_progress(job, batch, img);
        })?;
        return show(args.json, &scaling);
    }
    show(args.json, &measure(setting, args)?)
}

#[allow(clippy::print_stderr)] // the results go to standard output
fn eprint_progress(job: Job, batch: usize, img: usize) {
    eprintln!("{} batch {batch} pictures {img}x{img}", job.name());
}

fn measure(setting: Setting, args: &BenchArgs) -> Result<Measurement> {
    let start_bytes = process::resident_bytes();
    let mut work = Work::new(&setting)?;
    for _ in 0..args.warmup {
        timed_step(&mut work)?;
    }
    let costs = (0..args.steps).map(|_| timed_step(&mut work)).collect::<Result<Vec<_>>>()?;
    // Read before the roofline is measured: its operands are no part of the job.
    let peak_bytes = process::peak_bytes();
    let (params, params_trained) = work.parameters();
    drop(work);

    let seconds: Vec<f64> = costs.iter().map(|cost| cost.seconds).collect();
    let (median, best) = (median(&seconds), seconds.iter().copied().fold(f64::INFINITY, f64::min));
    let faults: Option<Vec<f64>> =
        costs.iter().map(|cost| cost.page_faults.map(|faults| faults as f64)).collect();
    let images = (setting.job != Job::Adamw).then_some(setting.batch_size as f64);
    Ok(Measurement {
        system: "vitalight",
        threads: rayon::current_num_threads(),
        params,
        params_trained,
        warmup: args.warmup,
        steps: args.steps,
        seconds_median: median,
        seconds_best: best,
        images_per_s_median: images.map(|images| images / median),
        images_per_s_best: images.map(|images| images / best),
        bound: Bound::measure(&setting, params_trained, median, best)?,
        start_bytes,
        peak_bytes,
        page_faults_per_step: faults.map(|faults| self::median(&faults)),
        first_loss: costs.first().and_then(|cost| cost.loss),
        last_loss: costs.last().and_then(|cost| cost.loss),
        setting,
    })
}

/// The middle value; the mean of the middle two of an even number; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2));
    match (low, high) {
        (Some(low), Some(high)) => (low + high) / 2.,
        _ => f64::NAN,
    }
}

/// A JSON line, or its entries one below the other.
fn show(json: bool, result: &impl Serialize) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(result)?);
        return Ok(());
    }
    let serde_json::Value::Object(mut entries) = serde_json::to_value(result)? else {
        return Ok(());
    };
    let mut text = |name: &str| match entries.remove(name) {
        Some(serde_json::Value::String(text)) => text,
        other => other.map_or_else(String::new, |value| value.to_string()),
    };
    let (job, model, side) = (text("job"), text("model"), text("img_size"));
    println!("{job} {model}, {} pictures of {side}x{side}", text("batch_size"));
    for (name, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
        match (name.as_str(), value) {
            (_, serde_json::Value::Array(rows)) => {
                println!("  {name}:");
                rows.iter().for_each(|row| println!("    {row}"));
            }
            (name, value) if name.ends_with("_bytes") => {
                println!(
                    "  {name:26} {:.3} GiB",
                    value.as_f64().unwrap_or(f64::NAN) / 2f64.powi(30)
                );
            }
            (_, serde_json::Value::Number(number)) if number.is_f64() => {
                println!("  {name:26} {:.4}", number.as_f64().unwrap_or(f64::NAN));
            }
            (_, value) => println!("  {name:26} {}", value.to_string().trim_matches('"')),
        }
    }
    println!();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3., 1., 2.]), 2.);
        assert_eq!(median(&[4., 1., 2., 3.]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
