use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use vit_metrics::{Inconsistency, Task};

/// A published table to check.
#[derive(Debug, Clone, Args)]
pub struct CheckTableArgs {
    /// Markdown or CSV with a header; columns like P, R, F1, Acc, MCC, kappa, micro-F1, n.
    pub table: PathBuf,
    /// The task has several findings per sample: accuracy and micro-F1 are then different things.
    #[arg(long)]
    pub multi_label: bool,
}

/// Prints every row that cannot be, and gives them.
///
/// # Errors
/// When the file cannot be read or is no table.
pub fn check_table(args: &CheckTableArgs) -> Result<Vec<Inconsistency>> {
    let name = args.table.display();
    let text = std::fs::read_to_string(&args.table).with_context(|| format!("{name}"))?;
    let task = if args.multi_label { Task::MultiLabel } else { Task::SingleLabel };
    let found = vit_metrics::check_table(&text, task).with_context(|| format!("{name}"))?;
    for Inconsistency { row, message } in &found {
        println!("{row}: {message}");
    }
    if found.is_empty() {
        println!("{name}: nothing impossible");
    }
    Ok(found)
}
