use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use font8x8::UnicodeFonts;
use vit_datasets::{Batch, Dataset, Loader, LoaderConfig, Target, Task};
use vit_models::write_atomic;
use vit_random::Streams;
use vit_transforms::{
    Filter, Image, Pipeline, Pixels, Resize, ResizeSize, Step, ToRgb, Transform, encode_png,
};

use crate::augment::AugmentArgs;
use crate::data::{DataArgs, Split3, measure};

/// A picture of one batch, before and after its transforms.
#[derive(Debug, Clone, Args)]
pub struct ContactSheetArgs {
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Which part.
    #[arg(long, value_enum, default_value_t = Split3::Train)]
    pub split: Split3,
    /// How many samples.
    #[arg(long, default_value_t = 12)]
    pub count: usize,
    #[command(flatten)]
    /// The transforms, by the flags of `finetune`: what it would train on.
    pub augment: AugmentArgs,
    /// The batch of this epoch, the first one.
    #[arg(long, default_value_t = 0)]
    pub epoch: u64,
    /// Seed of order and augmentation.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Channels after the transforms, 1 or 3.
    #[arg(long, default_value_t = 3, value_parser = channels)]
    pub channels: usize,
    /// Where the picture goes.
    #[arg(long, default_value = "batch.png")]
    pub out: PathBuf,
}

/// Writes the sheet and gives its place.
///
/// # Errors
/// When the data cannot be read or the transforms do not fit them.
pub fn contact_sheet(args: &ContactSheetArgs) -> Result<PathBuf> {
    let open = args.data.open()?;
    open.print_left_out();
    let dataset = Arc::clone(open.part(args.split)?);
    let (mean, std) = measure(dataset.as_ref(), args.channels)?;
    let pipeline = args.augment.pipeline(&args.data, args.channels, &mean, &std)?;
    let mixup = args.augment.mix.mixup(dataset.task(), 0.)?;
    let config = LoaderConfig {
        batch_size: args.count.max(1),
        workers: args.data.num_workers,
        seed: args.seed,
        shuffle: true,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(Arc::clone(&dataset), Arc::new(pipeline.clone()), config)?;
    let loader = args.augment.apply(loader, mixup)?;
    let Some(batch) = loader.epoch(args.epoch, 0).next() else { bail!("there are no pictures") };
    let batch = batch?;
    let sheet = sheet(dataset.as_ref(), &batch, &pipeline)?;
    let png = encode_png(&sheet)?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_atomic(&args.out, |file| file.write_all(&png))?;
    println!("{} samples of {:?} -> {}", batch.len(), args.split, args.out.display());
    Ok(args.out.clone())
}

/// Side of the pictures on the sheet.
const SIDE: usize = 160;
const GAP: usize = 8;
const GLYPH: usize = 8;
const LINE: usize = GLYPH + 4;
/// Both pictures side by side, two lines of text below.
const CELL: (usize, usize) = (2 * SIDE + 5 * GAP, SIDE + 3 * GAP + 2 * LINE);
const PAPER: u8 = 255;
const INK: u8 = 32;

/// Before on the left, after on the right, label and id below.
fn sheet(dataset: &dyn Dataset, batch: &Batch, pipeline: &Pipeline) -> Result<Image> {
    let columns = (batch.len() as f64 / 1.6).sqrt().ceil().max(1.) as usize;
    let rows = batch.len().div_ceil(columns);
    let mut canvas = Canvas::new(columns * CELL.0, rows * CELL.1);
    let size: usize = batch.shape.iter().skip(1).product();
    let samples = batch.indices.iter().zip(&batch.repeats).zip(batch.images.chunks_exact(size));
    for (at, ((&index, &repeat), values)) in samples.enumerate() {
        let (left, top) = (at % columns * CELL.0 + GAP, at / columns * CELL.1 + GAP);
        let before = fit(&dataset.get(index)?.image)?;
        let after = fit(&denormalised(values, batch.shape, pipeline)?)?;
        canvas.picture(left, top, &before);
        canvas.picture(left + SIDE + GAP, top, &after);
        let record = dataset.record(index)?;
        let copy = if repeat > 0 { format!(" (copy {repeat})") } else { String::new() };
        let target = mixed(batch, at).unwrap_or(record.target);
        canvas.text(left, top + SIDE + GAP, &label(dataset.task(), &target));
        canvas.text(left, top + SIDE + GAP + LINE, &format!("{}{copy}", record.id));
    }
    canvas.image()
}

/// The numbers of channels that pictures can be brought to.
fn channels(text: &str) -> std::result::Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("must be 1 or 3".into()),
    }
}

/// The labels of a mixed picture: of classes too there are several then.
fn mixed(batch: &Batch, at: usize) -> Option<Target> {
    let rows = batch.mixed.as_ref()?;
    let row = rows.chunks_exact(rows.len() / batch.len().max(1)).nth(at)?;
    let known = |&value: &f32| (!value.is_nan()).then_some(value);
    Some(Target::Labels(row.iter().map(known).collect()))
}

fn label(task: &Task, target: &Target) -> String {
    let name = |class: usize| task.names().get(class).cloned().unwrap_or_else(|| class.to_string());
    match target {
        Target::Class(class) => name(*class),
        Target::Labels(labels) => {
            let present = |(at, label): (usize, &Option<f32>)| {
                let value = label.filter(|value| *value > 0.)?;
                Some(if value < 1. { format!("{} {value:.2}", name(at)) } else { name(at) })
            };
            let present: Vec<String> = labels.iter().enumerate().filter_map(present).collect();
            match present.as_slice() {
                [] if labels.iter().all(Option::is_none) => "unknown".into(),
                [] => "none".into(),
                names => names.join(", "),
            }
        }
        _ => "no label".into(),
    }
}

/// The values of one picture of a batch as they were before the normalisation.
fn denormalised(values: &[f32], shape: [usize; 4], pipeline: &Pipeline) -> Result<Image> {
    let [_, channels, height, width] = shape;
    let normalize = pipeline.steps.iter().find_map(|step| match step {
        Step::Normalize(step) => Some(step),
        _ => None,
    });
    let scale = |channel: usize| match normalize {
        Some(step) => {
            let of = |values: &[f32], missing| values.get(channel).copied().unwrap_or(missing);
            (of(&step.mean, 0.), of(&step.std, 1.))
        }
        None => (0., 1.),
    };
    let mut pixels = vec![0f32; values.len()];
    for (channel, plane) in values.chunks_exact((height * width).max(1)).enumerate() {
        let (mean, std) = scale(channel);
        for (slot, value) in pixels.iter_mut().skip(channel).step_by(channels).zip(plane) {
            *slot = (value * std + mean).clamp(0., 1.);
        }
    }
    Ok(Image::new(width, height, channels, Pixels::F32(pixels))?)
}

/// RGB of 8 bits, the longer side as long as there is room.
fn fit(image: &Image) -> Result<Image> {
    let longest = image.width().max(image.height()).max(1);
    let scaled = |side: usize| (side * SIDE / longest).max(1);
    let size = ResizeSize::Exact { height: scaled(image.height()), width: scaled(image.width()) };
    let filter = if longest > SIDE { Filter::Bilinear } else { Filter::Nearest };
    let mut unused = Streams::new(0).stream("none", 0, 0);
    let image = Resize { size, filter }.apply(image.to_u8(), &mut unused)?;
    Ok(ToRgb.apply(image, &mut unused)?)
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![PAPER; width * height * 3] }
    }

    fn row(&mut self, left: usize, y: usize) -> Option<&mut [u8]> {
        self.pixels.chunks_exact_mut(self.width * 3).nth(y)?.get_mut(left * 3..)
    }

    fn picture(&mut self, left: usize, top: usize, image: &Image) {
        let Pixels::U8(values) = image.pixels() else { return };
        // In the middle of its square.
        let (left, top) = (left + (SIDE - image.width()) / 2, top + (SIDE - image.height()) / 2);
        for (y, from) in values.chunks_exact(image.width() * 3).enumerate() {
            if let Some(row) = self.row(left, top + y) {
                row.iter_mut().zip(from).for_each(|(slot, value)| *slot = *value);
            }
        }
    }

    /// One line, its beginning left out where there is not enough room: names differ at the end.
    fn text(&mut self, left: usize, top: usize, text: &str) {
        let room = (CELL.0 - 3 * GAP) / GLYPH;
        let count = text.chars().count();
        let skip = count.saturating_sub(room);
        for (at, letter) in text.chars().skip(skip).enumerate() {
            let letter = if skip > 0 && at < 2 { '.' } else { letter };
            let Some(glyph) = font8x8::BASIC_FONTS.get(letter) else { continue };
            for (y, bits) in glyph.iter().enumerate() {
                let Some(row) = self.row(left + at * GLYPH, top + y) else { continue };
                let pixels = row.chunks_exact_mut(3).take(GLYPH).enumerate();
                for (_, pixel) in pixels.filter(|(x, _)| bits & (1 << x) != 0) {
                    pixel.fill(INK);
                }
            }
        }
    }

    fn image(self) -> Result<Image> {
        Ok(Image::new(self.width, self.height, 3, Pixels::U8(self.pixels))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_labels_are_not_absent_ones() {
        let task = Task::MultiLabel { findings: vec!["Mass".into(), "Edema".into()] };
        let text = |values: [Option<f32>; 2]| label(&task, &Target::Labels(values.to_vec()));
        assert_eq!(text([None, None]), "unknown");
        assert_eq!(text([None, Some(0.)]), "none");
        assert_eq!(text([Some(1.), None]), "Mass");
    }

    #[test]
    fn pictures_have_one_or_three_channels() {
        assert_eq!((channels("1"), channels("3")), (Ok(1), Ok(3)));
        for other in ["0", "2", "4", "x"] {
            assert!(channels(other).is_err(), "{other}");
        }
    }
}
