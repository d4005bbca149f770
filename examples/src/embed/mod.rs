//! Pictures to features, in a run that can be interrupted.

mod partial;
mod pictures;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use vit_datasets::{Batch, Dataset, Loader, LoaderConfig, Record};
use vit_transforms::Pipeline;

use crate::embedder::{Embedder, Features, ModelArgs, rows};
use crate::features::{Origin, Writer, already_there};
use crate::{DeviceArgs, Skipped};
use partial::Partial;
pub use pictures::PictureArgs;
use pictures::Prepared;

/// Features of pictures.
#[derive(Debug, Clone, Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    /// The model.
    pub model: ModelArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    #[command(flatten)]
    /// The pictures.
    pub pictures: PictureArgs,
    /// Which numbers of the model.
    #[arg(long, value_enum, default_value_t = Features::Class)]
    pub features: Features,
    /// Pictures per batch.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Threads that decode and prepare pictures. The result does not depend on it.
    #[arg(long, default_value_t = 2)]
    pub num_workers: usize,
    /// Leave out pictures that cannot be read, and list them, instead of stopping at the first.
    #[arg(long)]
    pub skip_errors: bool,
    /// Where to write: .safetensors, .npy or .parquet; a .csv and a .json come beside it. An interrupted run
    /// is continued.
    #[arg(long)]
    pub out: PathBuf,
}

/// What became of the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Rows of features.
    pub rows: usize,
    /// Numbers per row.
    pub dim: usize,
    /// Pictures left out.
    pub skipped: Vec<Skipped>,
    /// Pictures that an earlier run had done.
    pub resumed: usize,
}

/// Embeds pictures and writes the feature file.
///
/// # Errors
/// When model or pictures cannot be read, or files not written. What was done is kept: the same
/// command goes on from there.
pub fn embed(args: &EmbedArgs) -> Result<Option<Embedded>> {
    let writer = Writer::new(&args.out)?;
    let embedder = Arc::new(Embedder::open(&args.model, &args.device.open()?)?);
    let pictures = args.pictures.open()?;
    let records = (0..pictures.len()).map(|i| Ok(pictures.record(i)?));
    let records = records.collect::<Result<Vec<_>>>()?;
    let origin = args.origin(&embedder, pictures.as_ref(), &records)?;
    if already_there(&args.out, &origin)? {
        println!("{} is already there", args.out.display());
        return Ok(None);
    }
    let mut partial = Partial::open(&args.out, &origin)?;
    let resumed = partial.batches() * args.batch_size;
    let prepared = Arc::new(Prepared::new(Arc::clone(&pictures), Arc::clone(&embedder)));
    let loader = args.loader(Arc::clone(&prepared) as Arc<dyn Dataset>)?;
    let bar = progress(records.len());
    bar.set_position(resumed.min(records.len()) as u64);
    for batch in loader.epoch(0, partial.batches()) {
        let batch = batch?;
        let faults = prepared.take_faults(&batch.indices);
        if let (Some(fault), false) = (faults.first(), args.skip_errors) {
            bar.abandon();
            bail!(
                "{}: {}\n{} pictures are done; repair the picture and run the same command again, \
                 or leave such pictures out with --skip-errors",
                fault.skipped.id,
                fault.skipped.reason,
                partial.rows()
            );
        }
        let count = batch.len();
        let done = args.embed_batch(&embedder, batch, &faults)?;
        partial.append(&done, faults.into_iter().map(|fault| fault.skipped).collect())?;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    let done = Embedded {
        rows: partial.rows(),
        dim: partial.dim().unwrap_or(0),
        skipped: partial.skipped().to_vec(),
        resumed: resumed.min(records.len()),
    };
    if done.rows == 0 {
        bail!("none of the {} pictures could be read", records.len());
    }
    let left: Vec<Record> = kept(records, &done.skipped);
    let mut numbers = partial.numbers()?;
    writer.write(origin, done.dim, &mut numbers, &left, pictures.task(), done.skipped.clone())?;
    partial.remove()?;
    println!("{} rows of {} numbers -> {}", done.rows, done.dim, args.out.display());
    for Skipped { id, reason } in &done.skipped {
        println!("left out: {id}: {reason}");
    }
    Ok(Some(done))
}

impl EmbedArgs {
    fn origin(
        &self,
        embedder: &Embedder,
        dataset: &dyn Dataset,
        records: &[Record],
    ) -> Result<Origin> {
        let mut pictures = Sha256::new();
        // The same names may stand for other pictures, elsewhere or in another archive. A picture
        // file on its own may have been mended since.
        let root = self.pictures.csv_root.as_ref().unwrap_or(&self.pictures.data);
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        pictures.update(format!("{root:?}\n"));
        if dataset.file(0).is_none() {
            let about = std::fs::metadata(&root).with_context(|| root.display().to_string())?;
            pictures.update(format!("{:?}\n", (about.len(), about.modified().ok())));
        }
        for record in records {
            pictures.update(format!("{:?}\n", (&record.id, &record.group, &record.target)));
        }
        Ok(Origin {
            model: embedder.name.clone(),
            model_sha256: embedder.sha256.clone(),
            configuration: embedder.config.clone(),
            preprocessing: embedder.preprocessing()?,
            features: self.features,
            batch_size: self.batch_size,
            pictures: format!("{:x}", pictures.finalize()),
        })
    }

    fn loader(&self, prepared: Arc<dyn Dataset>) -> Result<Loader> {
        let config = LoaderConfig {
            batch_size: self.batch_size,
            workers: self.num_workers,
            prefetch: 2 * self.num_workers.max(1),
            ..LoaderConfig::default()
        };
        Ok(Loader::new(prepared, Arc::new(Pipeline::default()), config)?)
    }

    /// Features of a batch without the rows of pictures that could not be read. Those are computed
    /// too, from a black picture, so that the others' rounding is that of a whole batch.
    fn embed_batch(
        &self,
        embedder: &Embedder,
        batch: Batch,
        faults: &[pictures::Fault],
    ) -> Result<Vec<Vec<f32>>> {
        let indices = batch.indices;
        let images = embedder.batch(batch.images.into_vec())?;
        let features = rows(&embedder.features(&images, self.features)?)?;
        let is_good = |index: &usize| faults.iter().all(|fault| fault.index != *index);
        let good = features.into_iter().zip(&indices).filter(|(_, index)| is_good(index));
        let good: Vec<(Vec<f32>, usize)> = good.map(|(row, index)| (row, *index)).collect();
        if let Some((_, index)) = good.iter().find(|(row, _)| !row.iter().all(|v| v.is_finite())) {
            bail!("the features of picture {index} are not finite");
        }
        Ok(good.into_iter().map(|(row, _)| row).collect())
    }
}

/// The records that were not left out, in their order.
fn kept(records: Vec<Record>, skipped: &[Skipped]) -> Vec<Record> {
    let out: std::collections::HashSet<&str> = skipped.iter().map(|s| s.id.as_str()).collect();
    records.into_iter().filter(|record| !out.contains(record.id.as_str())).collect()
}

fn progress(pictures: usize) -> ProgressBar {
    let bar = ProgressBar::new(pictures as u64);
    let template = "embedding [{bar:30}] {pos}/{len} {elapsed}<{eta} {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
