//! The jobs `infer` and `train` on a vision transformer built from candle's own parts, as a user
//! of candle alone would write it. Prints one JSON line with the names of `bench_vit --json`.

mod vit;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss::cross_entropy};

use vit::{Shape, Vit};

type Failure = Box<dyn std::error::Error>;

struct Args(BTreeMap<String, String>);

impl Args {
    fn read() -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        let mut line = std::env::args().skip(1).filter(|arg| arg != "--json");
        while let Some(name) = line.next() {
            let value = line.next().ok_or_else(|| format!("{name} has no value"))?;
            values.insert(name, value);
        }
        Ok(Self(values))
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_string()
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Failure> {
        match self.0.get(name) {
            Some(value) => value.parse().map_err(|_| format!("{name} {value}").into()),
            None => Ok(default),
        }
    }
}

enum Work {
    Infer(Vit),
    Train(Vit, AdamW),
}

impl Work {
    /// One step and its loss, which inference computes outside the time that counts.
    fn step(&mut self, images: &Tensor, targets: &Tensor) -> Result<(f64, f32), Failure> {
        let start = Instant::now();
        let (seconds, loss) = match self {
            Self::Infer(model) => {
                let logits = model.forward(images)?;
                let seconds = start.elapsed().as_secs_f64();
                (seconds, cross_entropy(&logits, targets)?.to_scalar()?)
            }
            Self::Train(model, optimizer) => {
                let loss = cross_entropy(&model.forward(images)?, targets)?;
                let value: f32 = loss.to_scalar()?;
                optimizer.backward_step(&loss)?;
                (start.elapsed().as_secs_f64(), value)
            }
        };
        Ok((seconds, loss))
    }
}

/// The pictures and classes every system gets.
fn batch(size: usize, side: usize) -> Result<(Tensor, Tensor), Failure> {
    let value = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin() as f32;
    let pixels: Vec<f32> = (0..size * 3 * side * side).map(value).collect();
    let images = Tensor::from_vec(pixels, (size, 3, side, side), &Device::Cpu)?;
    let targets: Vec<u32> = (0u32..).take(size).map(|i| i % 1000).collect();
    Ok((images, Tensor::from_vec(targets, size, &Device::Cpu)?))
}

/// A field of `/proc/self/status` in bytes.
fn memory(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.split(':').next() == Some(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn minor_faults() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.
}

fn json(value: Option<f64>) -> String {
    value.map_or_else(|| "null".to_string(), |value| value.to_string())
}

fn main() -> Result<(), Failure> {
    let args = Args::read()?;
    let (job, model) = (args.text("--job", "infer"), args.text("--model", "vit_base_patch16"));
    let (side, size) = (args.number("--img-size", 224)?, args.number("--batch-size", 8)?);
    let (steps, warmup) = (args.number("--steps", 5)?.max(1), args.number("--warmup", 1)?);
    let shape = Shape::by_name(&model, side)?;
    let (images, targets) = batch(size, side)?;

    let start = memory("VmRSS");
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let training = job == "train";
    let mut work = match job.as_str() {
        "train" => {
            let model = Vit::new(&shape, training, vb)?;
            let params = ParamsAdamW { lr: 1e-4, weight_decay: 0.05, ..ParamsAdamW::default() };
            Work::Train(model, AdamW::new(vars.all_vars(), params)?)
        }
        "infer" => {
            // The model is built twice: to create the variables, and from plain tensors that
            // record nothing.
            Vit::new(&shape, training, vb)?;
            let data = vars.data().lock().map_err(|error| error.to_string())?;
            let plain = |(name, var): (&String, &Var)| (name.clone(), var.as_detached_tensor());
            let tensors = data.iter().map(plain).collect();
            let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
            Work::Infer(Vit::new(&shape, training, vb)?)
        }
        _ => return Err(format!("--job {job}: there are infer and train").into()),
    };
    let params: usize = vars.all_vars().iter().map(|var| var.elem_count()).sum();

    let (mut seconds, mut faults, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..warmup + steps {
        let before = minor_faults();
        let (time, loss) = work.step(&images, &targets)?;
        if i >= warmup {
            seconds.push(time);
            losses.push(loss);
            faults.extend(before.zip(minor_faults()).map(|(before, now)| (now - before) as f64));
        }
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let faults = (!faults.is_empty()).then(|| median(&faults));
    println!(
        "{{\"system\":\"stock-candle\",\"job\":\"{job}\",\"model\":\"{model}\",\"img_size\":{side},\
         \"batch_size\":{size},\"threads\":{},\"params\":{params},\"params_trained\":{},\
         \"warmup\":{warmup},\"steps\":{steps},\"seconds_median\":{},\"seconds_best\":{best},\
         \"images_per_s_median\":{},\"images_per_s_best\":{},\"start_bytes\":{},\"peak_bytes\":{},\
         \"page_faults_per_step\":{},\"first_loss\":{},\"last_loss\":{},\
         \"version\":\"candle 0.11.1{}\"}}",
        candle_core::utils::get_num_threads(),
        if training { params } else { 0 },
        median(&seconds),
        size as f64 / median(&seconds),
        size as f64 / best,
        json(start.map(|bytes| bytes as f64)),
        json(memory("VmHWM").map(|bytes| bytes as f64)),
        json(faults),
        json(losses.first().copied().map(f64::from)),
        json(losses.last().copied().map(f64::from)),
        if cfg!(feature = "avx512") { " with avx512" } else { "" },
    );
    Ok(())
}
