//! Speed and memory of the loader: decode, random resized crop to 224 (bicubic), flip, normalise,
//! from files and from the cache.
//!
//! ```text
//! cargo run --release -p vit-datasets --example bench_loader -- FOLDER...
//! cargo run --release -p vit-datasets --example bench_loader -- --memory 100000 FOLDER
//! ```
//!
//! The first form prints the median and the best of 15 rounds of 256 pictures each, and processor
//! time per picture (Linux), for files and cache in turn and for 0 (in the calling thread), 1 and 2
//! workers. Other programs on the machine change the rates, hardly the processor time. Compare 0 workers with
//! `bench_torchvision.py` beside this file, run in turn with it, and 2 workers with 1. The second
//! form takes so many pictures from the loader and prints the memory used along the way (Linux).
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use vit_datasets::{
    CacheOptions, Cached, Dataset, ImageFolder, ImageFolderOptions, Loader, LoaderConfig, Sampler,
};
use vit_transforms::{IMAGENET_MEAN, IMAGENET_STD, Pipeline};

const ROUNDS: usize = 15;
const PICTURES: usize = 256;
const BATCH: usize = 32;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let memory = match arguments.first().map(String::as_str) {
        Some("--memory") => Some(arguments.drain(..2).nth(1).unwrap_or_default().parse()?),
        _ => None,
    };
    let caches = tempfile::tempdir()?;
    for folder in arguments.iter().map(PathBuf::from) {
        let (files, cached) = open(&folder, caches.path())?;
        match memory {
            Some(pictures) => {
                // The files first: the peak never falls.
                watch_memory("files", &files, pictures)?;
                watch_memory("cache", &cached, pictures)?;
            }
            None => compare(&folder, &files, &cached)?,
        }
    }
    Ok(())
}

type Data = Arc<dyn Dataset>;

fn open(folder: &Path, caches: &Path) -> Result<(Data, Data)> {
    let options = ImageFolderOptions { unlabelled: true, ..Default::default() };
    let files: Data = Arc::new(ImageFolder::open(folder, &options)?);
    let place = caches.join("bench.cache");
    let start = Instant::now();
    let cached = Cached::open(Arc::clone(&files), &place, &CacheOptions::default())?;
    let written = start.elapsed();
    let start = Instant::now();
    Cached::open(Arc::clone(&files), &place, &CacheOptions::default())?;
    println!(
        "{}: {} pictures, cache of {:.1} MB made in {written:.2?}, opened again in {:.2?}",
        folder.display(),
        files.len(),
        std::fs::metadata(&place)?.len() as f64 / 1e6,
        start.elapsed()
    );
    Ok((files, Arc::new(cached)))
}

/// `samples` pictures an epoch, drawn from all.
fn loader(data: &Data, workers: usize, samples: usize) -> Result<Loader> {
    let pipeline = Pipeline::mae_pretrain(224, 0.08, 3, &IMAGENET_MEAN, &IMAGENET_STD)?;
    let config = LoaderConfig { batch_size: BATCH, workers, prefetch: 4, ..Default::default() };
    let sampler = Sampler::Weighted { weights: vec![1.0; data.len()], samples: Some(samples) };
    Ok(Loader::new(Arc::clone(data), Arc::new(pipeline), config)?.with_sampler(&sampler)?)
}

fn compare(folder: &Path, files: &Data, cached: &Data) -> Result<()> {
    let mut rows = Vec::new();
    for (name, data) in [("files", files), ("cache", cached)] {
        for workers in 0..=2 {
            rows.push((name, workers, loader(data, workers, PICTURES)?, Vec::new(), 0.0));
        }
    }
    // All in every round, so that what else the machine does falls on all of them.
    for round in 0..=ROUNDS {
        for (_, _, loader, rates, seconds) in &mut rows {
            let (start, before) = (Instant::now(), processor_seconds()?);
            for batch in loader.epoch(round as u64, 0) {
                std::hint::black_box(batch?.images.first());
            }
            // The first round fills buffers and the system's file cache.
            if round > 0 {
                rates.push(PICTURES as f64 / start.elapsed().as_secs_f64());
                *seconds += processor_seconds()? - before;
            }
        }
    }
    let name = folder.display();
    println!("| {name} | workers | median images/s | best | processor ms |\n|---|---|---|---|---|");
    for (name, workers, _, rates, seconds) in &mut rows {
        rates.sort_by(f64::total_cmp);
        let (median, best) = (rates.get(ROUNDS / 2), rates.last());
        println!(
            "| {name} | {workers} | {:.0} | {:.0} | {:.3} |",
            median.copied().unwrap_or_default(),
            best.copied().unwrap_or_default(),
            *seconds * 1e3 / (ROUNDS * PICTURES) as f64
        );
    }
    Ok(())
}

fn watch_memory(name: &str, data: &Data, pictures: usize) -> Result<()> {
    let start = Instant::now();
    let loader = loader(data, 2, pictures)?;
    let tenth = loader.batches_per_epoch().div_ceil(10);
    println!("| pictures ({name}) | resident MB | peak MB |\n|---|---|---|");
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let seen = batch.number + 1;
        if batch.number == 9 || seen.is_multiple_of(tenth) {
            let (now, peak) = (memory("VmRSS:")?, memory("VmHWM:")?);
            println!("| {} | {now:.0} | {peak:.0} |", seen * BATCH);
        }
    }
    println!("{:.0} images/s", pictures as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// Time that all threads have run, in steps of a hundredth: user and system time are the 14th and
/// 15th field, the second of which is in brackets.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<std::result::Result<f64, _>>();
    Ok(ticks? / 100.0)
}

/// A line of the process's status, in MB.
fn memory(line: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status.split(line).nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(value.ok_or("the system does not tell")?.parse::<f64>()? / 1e3)
}
