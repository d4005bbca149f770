use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vit_models::{Diagnosis, DoctorOptions, DoctorRow, Family, Layout, Outcome, WeightFile};

/// A weight file to look at.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The file: safetensors, PyTorch's `.pth`, an index of shards, or a folder with one of these.
    pub file: PathBuf,
    /// Compare with this model (timm's names, `retfound_mae`, `mae_vit_large_patch16`, …) and not
    /// with the one that is guessed.
    #[arg(long)]
    pub model: Option<String>,
    /// Whose names the file has, where the guess is wrong: timm, mae, dino_v2, hf_vit, …
    #[arg(long)]
    pub family: Option<String>,
    /// The dictionary of a PyTorch file to take, such as `model_ema`.
    #[arg(long)]
    pub section: Option<String>,
    /// One row for each tensor instead of a summary.
    #[arg(long)]
    pub all: bool,
    /// The whole diagnosis as JSON.
    #[arg(long)]
    pub json: bool,
    /// Fail when less of the model gets values than this share.
    #[arg(long, default_value_t = 0.95)]
    pub min_coverage: f64,
    /// Write the model into a folder under another library's names.
    #[arg(long, num_args = 2, value_names = ["LAYOUT", "OUT"])]
    pub convert: Option<Vec<String>>,
}

/// Names to write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LayoutName {
    Timm,
    Mae,
    Hf,
}

/// Prints the diagnosis, converts if asked to, and says whether the file is healthy.
///
/// # Errors
/// When the file cannot be read, a name is not known, or it cannot be converted.
pub fn doctor(args: &DoctorArgs) -> Result<bool> {
    let family = match &args.family {
        None => None,
        Some(name) => Some(Family::by_name(name).with_context(|| {
            let names = Family::ALL.map(Family::name).join(", ");
            format!("no family '{name}'; there are {names}")
        })?),
    };
    let file = WeightFile::open_section(&args.file, args.section.as_deref())?;
    let options = DoctorOptions { model: args.model.clone(), family, ..DoctorOptions::default() };
    let diagnosis = file.diagnose(&options)?;
    let healthy = diagnosis.is_healthy(args.min_coverage);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&diagnosis)?);
    } else {
        print(&diagnosis, args);
        println!("{}", if healthy { "healthy" } else { "NOT HEALTHY" });
    }
    if let Some([layout, folder]) = args.convert.as_deref() {
        let layout = match LayoutName::from_str(layout, true) {
            Ok(LayoutName::Timm) => Layout::Timm,
            Ok(LayoutName::Mae) => Layout::Mae,
            Ok(LayoutName::Hf) => Layout::HuggingFace,
            Err(_) => bail!("--convert writes timm, mae or hf, not '{layout}'"),
        };
        let report = file.convert(folder.as_ref(), layout, family)?;
        if !args.json {
            println!("written: {} tensors to {}", report.loaded(), report.path.display());
            for (reason, names) in report.dropped() {
                println!("  left out ({}): {reason}", names.len());
            }
        }
    }
    Ok(healthy)
}

fn print(diagnosis: &Diagnosis, args: &DoctorArgs) {
    let row = |title: &str, text: String| println!("{title:<13}{text}");
    let Diagnosis { bytes, container, section, .. } = diagnosis;
    row(
        "file",
        format!("{} ({:.1} MB, {container:?})", diagnosis.path.display(), *bytes as f64 / 1e6),
    );
    if !section.is_empty() || diagnosis.sections.len() > 1 {
        let other = diagnosis.sections.iter().filter(|(name, _)| name != section);
        let other: Vec<String> = other.map(|(name, n)| format!("{name} ({n})")).collect();
        let beside = if other.is_empty() { "nothing".to_string() } else { other.join(", ") };
        row("taken from", format!("'{section}'; tensors beside it: {beside}"));
    }
    row("family", format!("{}: {}", diagnosis.family, diagnosis.variant));
    if !diagnosis.prefix.is_empty() {
        row("prefix", diagnosis.prefix.clone());
    }
    let name = diagnosis.guess.as_ref().map_or("none", |guess| guess.name.as_str());
    row("guess", name.to_string());
    if let Some(config) = diagnosis.guess.as_ref().and_then(|guess| guess.vit()) {
        row(
            "",
            format!(
                "{} px, patch {}, width {}, {} blocks, {} heads, {} channels, {} classes, eps {:e}",
                config.img_size,
                config.patch_size,
                config.embed_dim,
                config.depth,
                config.num_heads,
                config.in_chans,
                config.num_classes,
                config.layer_norm_eps,
            ),
        );
    }
    for note in &diagnosis.notes {
        row("note", note.clone());
    }
    let types: Vec<String> = diagnosis.types.iter().map(|(t, n)| format!("{n} {t}")).collect();
    row("numbers", types.join(", "));
    println!();
    if args.all {
        rows(&diagnosis.rows);
    } else {
        summary(&diagnosis.rows);
    }
    println!();
    let coverage = diagnosis.coverage;
    row(
        "coverage",
        format!(
            "{} of {} tensors, {} of {} numbers of {}: {:.2} %",
            coverage.tensors_loaded,
            coverage.tensors,
            coverage.values_loaded,
            coverage.values,
            diagnosis.compared_with.as_deref().unwrap_or("no model"),
            100. * coverage.share(),
        ),
    );
    list("at first value", &diagnosis.left_at_first_value);
    list("all zero", &diagnosis.zeros);
    for (name, fault) in &diagnosis.faults {
        row("FAULT", format!("{name}: {fault}"));
    }
}

fn rows(rows: &[DoctorRow]) {
    let width = |text: fn(&DoctorRow) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let name = width(|row| row.name.len());
    let shape = width(|row| format!("{:?}", row.shape).len());
    for row in rows {
        let shape_text = format!("{:?}", row.shape);
        let line = format!(
            "{:<10} {:<name$} {shape_text:<shape$} {}",
            row.outcome.word(),
            row.name,
            row.outcome
        );
        println!("{}", line.trim_end());
    }
}

/// Rows of the same kind in one line; a number in a name becomes `#`.
fn summary(rows: &[DoctorRow]) {
    let mut kinds: BTreeMap<(&str, String), (usize, Vec<String>)> = BTreeMap::new();
    for row in rows {
        let reason = match &row.outcome {
            Outcome::Dropped { reason } => reason.clone(),
            Outcome::Adapted { how, .. } => how.clone(),
            Outcome::Resized { .. } => row.outcome.to_string(),
            _ => String::new(),
        };
        let (count, names) = kinds.entry((row.outcome.word(), reason)).or_default();
        *count += 1;
        let name = folded(&row.name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for ((word, reason), (count, names)) in kinds {
        let shown = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let more =
            if names.len() > 8 { format!(", … ({} kinds)", names.len()) } else { String::new() };
        println!("{word:<10} {count:>5}  {shown}{more}");
        if !reason.is_empty() {
            println!("{:<18}{reason}", "");
        }
    }
}

fn folded(name: &str) -> String {
    let part = |part: &str| match part.trim_end_matches(|c: char| c.is_ascii_digit()) {
        // The second bias of a block is not its first.
        plain if plain.is_empty() || plain.ends_with("layer") || plain.ends_with("block") => {
            if plain.len() < part.len() {
                format!("{plain}#")
            } else {
                part.to_string()
            }
        }
        _ => part.to_string(),
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn list(title: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let shown = names.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > 6 { ", …" } else { "" };
    println!("{title:<13} {shown}{more} ({})", names.len());
}
