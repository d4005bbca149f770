use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vit_datasets::audit::AuditReport;
use vit_datasets::{Dataset, describe};
use vit_models::WeightFile;
use vit_train::CHECKPOINT_FILE;
use vit_transforms::{Filter, Image, Pipeline, Pixels, Resize, ResizeSize, Step, encode_png};

use crate::data::OpenData;
use crate::predict::Judge;
use crate::{Card, DataArgs, Kind};

/// Name and value of facts.
pub(crate) type Facts = Vec<(String, String)>;

/// Longest side of a thumbnail.
const THUMBNAIL: usize = 224;
/// Facts taken from an audit file; the rest is counted.
const MOST_FACTS: usize = 60;
/// Entries of a list that are shown.
const MOST_ENTRIES: usize = 6;

#[allow(clippy::needless_pass_by_value)] // most values are made in the call
fn fact(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

/// SHA-256 over part, id and patient of every sample: the same for the same split, in whatever
/// order the samples are read.
///
/// # Errors
/// When a record cannot be read.
pub(crate) fn split_hash(data: &OpenData) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, part) in data.parts() {
        let mut lines = Vec::with_capacity(part.len());
        for index in 0..part.len() {
            let record = part.record(index)?;
            lines.push(format!("{name}\0{}\0{}\n", record.id, record.group));
        }
        lines.sort_unstable();
        lines.iter().for_each(|line| hash.update(line.as_bytes()));
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where the data come from and what each part holds.
pub(crate) fn data_card(args: &DataArgs, data: &OpenData) -> Result<Facts> {
    let mut facts = vec![fact("Source", &args.data)];
    let any = data.whole.as_ref().unwrap_or(&data.train);
    for card in cards(any.as_ref()) {
        facts.push(fact("Data set", format!("{} ({})", card.name, card.link)));
        facts.push(fact("Licence", card.licence));
        facts.push(fact("Terms", card.terms));
        facts.push(fact("To cite", card.citation));
    }
    if let Some(whole) = &data.whole {
        facts.push(fact("Before it was divided here", describe(whole.as_ref())?));
    }
    for (name, part) in data.parts() {
        let what = match name {
            "train" => "Training part",
            "val" => "Validation part",
            _ => "Test part",
        };
        facts.push(fact(what, describe(part.as_ref())?));
    }
    Ok(facts)
}

/// The cards of the data set, or of those that it is put together from, each once.
fn cards(data: &dyn Dataset) -> Vec<&'static vit_datasets::Card> {
    if let Some(card) = data.card() {
        return vec![card];
    }
    let mut all: Vec<&vit_datasets::Card> = Vec::new();
    for card in data.constituents().into_iter().flat_map(|(_, data)| cards(data)) {
        if all.iter().all(|known| known.name != card.name) {
            all.push(card);
        }
    }
    all
}

/// The split, and whether the model was trained with it.
pub(crate) fn split(card: &Card, data: &OpenData, args: &DataArgs) -> Result<Facts> {
    let now = split_hash(data)?;
    let same = match &card.split {
        Some(then) if *then == now => "yes".to_string(),
        Some(then) => format!("no: that has SHA-256 {then}"),
        None => "unknown: the model's file does not say".to_string(),
    };
    Ok(vec![
        fact("SHA-256 of part, id and patient of every sample", now),
        fact("Split that the model was trained with", same),
        fact("Seed, where the data come without a split", args.split_seed),
    ])
}

/// The model and its file.
pub(crate) fn model(judge: &Judge) -> Result<Facts> {
    let path = judge.path();
    let hashes = WeightFile::open(path)?.hashes()?;
    let mut facts = vec![fact("File", path.display())];
    facts.extend(hashes.into_iter().map(|file| fact("SHA-256", file.sha256)));
    facts.push(fact("Parameters", judge.elements()));
    if let Kind::Classifier { config, lora, .. } = &judge.card().model {
        facts.push(fact("Configuration", compact(&serde_json::to_value(config)?)));
        if let Some(lora) = lora {
            facts.push(fact("Adapters", compact(&serde_json::to_value(lora)?)));
        }
    }
    Ok(facts)
}

/// The steps from picture to tensor.
pub(crate) fn preprocessing(pipeline: &Pipeline) -> Result<Facts> {
    let value = serde_json::to_value(pipeline)?;
    // A pipeline is a list of steps, alone or within an object.
    let steps = value.as_array().or_else(|| value.as_object()?.values().find_map(Value::as_array));
    let Some(steps) = steps else { return Ok(vec![fact("Pipeline", compact(&value))]) };
    let step = |(place, step): (usize, &Value)| {
        let mut step = step.clone();
        let name = step.as_object_mut().and_then(|step| step.remove("name"));
        let name = name.as_ref().and_then(Value::as_str).unwrap_or("step").replace('_', " ");
        fact(&format!("{}. {name}", place + 1), compact(&step))
    };
    Ok(steps.iter().enumerate().map(step).collect())
}

/// The result of an audit: in words if the example `audit` wrote it; of any other form, nested
/// names are joined by dots.
pub(crate) fn audit(path: &Path, model: &Path) -> Result<Facts> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let mut facts =
        vec![fact("File", path.display()), fact("SHA-256", hex(&Sha256::digest(&text)))];
    if let Ok(report) = serde_json::from_str::<AuditReport>(&text) {
        facts.extend(audit_report(&report));
        facts.push(fact("Audit that the training began with", run_audit(model, &report)));
        return Ok(facts);
    }
    let mut found = Vec::new();
    flatten("", &value, &mut found);
    let left = found.len().saturating_sub(MOST_FACTS);
    found.truncate(MOST_FACTS);
    facts.extend(found);
    if left > 0 {
        facts.push(fact("…", format!("{left} more in the file")));
    }
    Ok(facts)
}

/// Whether the run beside the model was begun with this audit (`--audit-report`).
fn run_audit(model: &Path, report: &AuditReport) -> String {
    let run = WeightFile::open(&model.with_file_name(CHECKPOINT_FILE)).ok();
    let settings = run.as_ref().and_then(|run| run.metadata().get("settings"));
    match settings.map(|settings| settings.pointer("/data/audit").and_then(Value::as_str)) {
        Some(Some(hash)) if hash == report.hash() => "this one".to_string(),
        Some(Some(hash)) => format!("another one, with the result {hash}"),
        Some(None) => "none".to_string(),
        None => "unknown: the run is not beside the model".to_string(),
    }
}

/// The parts, and of each kind of finding how many there are and the first of them.
fn audit_report(report: &AuditReport) -> Facts {
    let edited = if report.is_intact() { "" } else { ", but the file was EDITED after the audit" };
    let mut facts = vec![fact("Result", format!("{}{edited}", report.hash()))];
    for part in &report.parts {
        let modes = part.modes.iter().map(|(mode, count)| format!("{count} {mode}"));
        let modes: Vec<String> = modes.collect();
        let read = if modes.is_empty() { "no pictures read".into() } else { modes.join(", ") };
        let counts = format!("{} samples, {} groups, {read}", part.samples, part.groups);
        facts.push(fact(&format!("Part {}", part.name), counts));
    }
    for findings in report.findings.chunk_by(|a, b| (a.kind, a.severity) == (b.kind, b.severity)) {
        let Some(first) = findings.first() else { continue };
        let shown = findings.iter().take(MOST_ENTRIES).map(|finding| finding.detail.as_str());
        let more = if findings.len() > MOST_ENTRIES { "; …" } else { "" };
        let details = shown.collect::<Vec<_>>().join("; ");
        let name = format!("{}: {}", first.severity, first.kind.title());
        facts.push(fact(&name, format!("{}: {details}{more}", findings.len())));
    }
    if report.findings.is_empty() {
        facts.push(fact("Findings", "none"));
    }
    facts
}

fn flatten(prefix: &str, value: &Value, facts: &mut Facts) {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let name =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, facts);
            }
        }
        Value::Array(entries) if entries.is_empty() => facts.push(fact(prefix, "none")),
        Value::Array(entries) => {
            let shown: Vec<String> = entries.iter().take(MOST_ENTRIES).map(compact).collect();
            let joined = shown.join(if entries.iter().all(scalar) { ", " } else { "; " });
            let more = entries.len().saturating_sub(MOST_ENTRIES);
            let more =
                if more > 0 { format!(" … ({} in all)", entries.len()) } else { String::new() };
            facts.push(fact(prefix, joined + &more));
        }
        value => facts.push(fact(prefix, compact(value))),
    }
}

/// A value without the quotes and braces that only programs need.
fn compact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_string(),
        Value::Array(entries) => entries.iter().map(compact).collect::<Vec<_>>().join(", "),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| match value {
                Value::Object(_) => format!("{name} ({})", compact(value)),
                value => format!("{name} {}", compact(value)),
            };
            let text = entries.iter().map(entry).collect::<Vec<_>>().join("; ");
            if text.is_empty() { "–".to_string() } else { text }
        }
        // A number of single precision has no more digits than that.
        Value::Number(number) => match number.as_f64() {
            Some(wide) if number.is_f64() && f64::from(wide as f32) == wide => {
                (wide as f32).to_string()
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// What computed the numbers.
pub(crate) fn versions(device: &str) -> Facts {
    let command: Vec<String> = std::env::args().collect();
    vec![
        fact("Vitalight", env!("CARGO_PKG_VERSION")),
        fact("System", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        fact("Device", device),
        fact("Command", command.join(" ")),
    ]
}

/// A small 8-bit picture as PNG. Deep and real-valued pictures are stretched from their darkest to
/// their brightest value.
pub(crate) fn thumbnail(image: Image) -> Result<Vec<u8>> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let image = if matches!(image.pixels(), Pixels::U8(_)) {
        image
    } else {
        let image = image.to_f32();
        let Pixels::F32(values) = image.pixels() else {
            return encode_png(&image).map_err(Into::into);
        };
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (low, high) = (finite().fold(f32::MAX, f32::min), finite().fold(f32::MIN, f32::max));
        let range = (high - low).max(f32::MIN_POSITIVE);
        let byte = |value: &f32| (255. * ((value - low) / range).clamp(0., 1.)).round() as u8;
        Image::new(width, height, channels, Pixels::U8(values.iter().map(byte).collect()))?
    };
    let longest = width.max(height);
    if longest <= THUMBNAIL {
        return Ok(encode_png(&image)?);
    }
    let side = |side: usize| (side * THUMBNAIL / longest).max(1);
    let size = ResizeSize::Exact { height: side(height), width: side(width) };
    let small = Pipeline::new(vec![Step::Resize(Resize { size, filter: Filter::Bilinear })]);
    let mut stream = vit_random::Streams::new(0).stream("thumbnail", 0, 0);
    Ok(encode_png(&small.apply(image, &mut stream)?)?)
}

/// The place of each sample by its id.
pub(crate) fn places(part: &dyn Dataset) -> Result<std::collections::HashMap<String, usize>> {
    (0..part.len()).map(|index| Ok((part.record(index)?.id, index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vit_transforms::{DecodeLimits, decode_bytes};

    #[test]
    fn thumbnails_are_small_and_show_deep_pictures() {
        let pixels = (0..600 * 300).map(|i| 1000. + (i % 600) as f32).collect();
        let image = Image::new(600, 300, 1, Pixels::F32(pixels)).unwrap();
        let small = decode_bytes("thumbnail", &thumbnail(image).unwrap(), &DecodeLimits::default())
            .unwrap();
        assert_eq!((small.width(), small.height()), (224, 112));
        let Pixels::U8(values) = small.pixels() else { panic!("{}", small.describe()) };
        assert!(values.iter().min().unwrap() < &4 && values.iter().max().unwrap() > &251);
        let flat = Image::new(2, 2, 3, Pixels::U16(vec![7; 12])).unwrap();
        let flat =
            decode_bytes("thumbnail", &thumbnail(flat).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!(flat.pixels(), &Pixels::U8(vec![0; 12]));
    }

    #[test]
    fn an_audit_of_any_form_becomes_facts() {
        let value = serde_json::json!({
            "passed": false,
            "splits": { "shared": [], "copies": [["a", "b"], ["c", "d"]] },
            "std": 0.25_f32, "mean": f64::from(0.1_f32), "rows": (0..9).collect::<Vec<_>>(),
        });
        let mut facts = Vec::new();
        flatten("", &value, &mut facts);
        let facts: Vec<(&str, &str)> =
            facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            facts,
            [
                ("mean", "0.1"),
                ("passed", "false"),
                ("rows", "0, 1, 2, 3, 4, 5 … (9 in all)"),
                ("splits.copies", "a, b; c, d"),
                ("splits.shared", "none"),
                ("std", "0.25"),
            ]
        );
    }
}
