//! How long a ViT-L takes from a file to a model, and how much memory is resident then.
//!
//! ```text
//! cargo run --release -p vit-models --example bench_load -- [FILE]
//! cargo run --release -p vit-models --example bench_load -- write FILE
//! ```
//!
//! Without a file it writes one of 1.2 GB (random numbers would do no better: nothing is
//! compressed). Each measurement is a process of its own, because a process's peak does not shrink.

// A program for a terminal: what libraries must not do, print, is its purpose.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use vit_models::candle_core::safetensors::MmapedSafetensors;
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::candle_nn::VarBuilder;
use vit_models::{Vit, VitConfig, save_weights};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn config() -> VitConfig {
    VitConfig { num_classes: 1000, ..VitConfig::vit_large(16, 224) }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [way, file] = arguments.as_slice() {
        if way == "write" {
            return write(Path::new(file));
        }
        return measure(way, Path::new(file));
    }
    let (file, ours) = match arguments.first() {
        Some(file) => (PathBuf::from(file), false),
        None => {
            (std::env::temp_dir().join(format!("vit_l_{}.safetensors", std::process::id())), true)
        }
    };
    if ours {
        write(&file)?;
    }
    println!("{}: {:.0} MB", file.display(), std::fs::metadata(&file)?.len() as f64 / 1e6);
    // The page cache is warm from here on.
    for way in
        ["cat", "read", "ours", "candle", "read", "ours", "candle", "read", "ours", "candle", "cat"]
    {
        let status = Command::new(std::env::current_exe()?).arg(way).arg(&file).status()?;
        if !status.success() {
            return Err("a measurement failed".into());
        }
    }
    if ours {
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

/// A ViT-L, each tensor with values of its own so that pages are not shared.
fn write(path: &Path) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (i, spec) in Vit::specs(&config())?.into_iter().enumerate() {
        let count = spec.elements();
        let values: Vec<f32> =
            (0..count).map(|j| ((i * 7919 + j) % 65_537) as f32 * 1e-6).collect();
        tensors.insert(spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu)?);
    }
    Ok(save_weights(path, &tensors, &serde_json::Map::new())?)
}

fn measure(way: &str, path: &Path) -> Result<()> {
    let length = std::fs::metadata(path)?.len() as f64;
    let start = Instant::now();
    let model = match way {
        // What the page cache needs: the bytes once through a buffer.
        "cat" => {
            let mut file = std::fs::File::open(path)?;
            let mut buffer = vec![0; 1 << 20];
            while file.read(&mut buffer)? > 0 {}
            None
        }
        // The least that a program which owns its weights must do: the bytes once into new memory.
        "read" => {
            std::hint::black_box(std::fs::read(path)?);
            None
        }
        "ours" => Some(Vit::from_file(&config(), path, &Device::Cpu)?.0),
        _ => Some(through_candle(path)?),
    };
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        number.map_or(f64::NAN, |kilobytes| kilobytes * 1024. / length)
    };
    println!(
        "{way:<8} {seconds:>7.3} s   resident {:.3}, at most {:.3} of the file",
        resident("VmRSS:"),
        resident("VmHWM:")
    );
    drop(model);
    Ok(())
}

/// candle's own way: the file mapped, each tensor copied out of the map.
fn through_candle(path: &Path) -> Result<Vit> {
    // SAFETY: nobody writes to the file meanwhile.
    #[allow(unsafe_code)]
    let mapped = unsafe { MmapedSafetensors::new(path)? };
    let mut tensors = HashMap::new();
    for (name, _) in mapped.tensors() {
        tensors.insert(name.clone(), mapped.load(&name, &Device::Cpu)?);
    }
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let model = Vit::new(&config(), &vb)?;
    // As a VarBuilder over a map holds it: mapped pages stay resident.
    std::mem::forget(mapped);
    Ok(model)
}
