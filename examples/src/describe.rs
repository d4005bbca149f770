use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use vit_datasets::{Dataset, Description};

use crate::DataArgs;

/// Values of an attribute that are counted one by one; more are summed up.
const MOST_VALUES: usize = 12;

/// Which data to describe.
#[derive(Debug, Clone, Args)]
pub struct DescribeArgs {
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The exit code is 1 where counts differ from those of the card.
    #[arg(long)]
    pub strict: bool,
}

/// Prints card, counts found and expected, prevalence and attributes; `false` when `--strict` and
/// a count is not that of the card. No picture is read.
///
/// # Errors
/// When the data cannot be opened, or a record cannot be read.
pub fn describe(args: &DescribeArgs) -> Result<bool> {
    let open = args.data.open()?;
    let whole = open.whole.as_ref().map(|whole| ("whole", whole));
    let mut card = None;
    let mut as_expected = true;
    for (name, part) in whole.into_iter().chain(open.parts()) {
        // One card for all parts, unless they come from several data sets.
        if let Some(own) = part.card().filter(|own| card != Some(*own)) {
            println!("{own}\n");
            card = Some(own);
        }
        as_expected &= describe_part(name, part)?;
    }
    Ok(as_expected || !args.strict)
}

fn describe_part(name: &str, part: &Arc<dyn Dataset>) -> Result<bool> {
    let description = vit_datasets::describe(part.as_ref())?;
    let origin = if description.name.is_empty() { "" } else { &format!(" ({})", description.name) };
    println!("{name}{origin}");
    let names = description.classes.iter().map(|class| class.name.chars().count());
    let width = names.max().unwrap_or_default().max("samples".len());
    let row = |what: &str, found: usize, expected: Option<usize>, note: &str| {
        let expected = match expected {
            Some(expected) if expected == found => "as expected".to_string(),
            Some(expected) => format!("NOT the expected {expected}"),
            None => String::new(),
        };
        println!("{}", format!("  {what:<width$} {found:>8}  {note:<22}  {expected}").trim_end());
    };
    row("samples", description.len, description.expected.map(|e| e.samples), "");
    let groups = if description.groups == description.len { "each its own" } else { "" };
    row("groups", description.groups, description.expected.and_then(|e| e.groups), groups);
    for class in &description.classes {
        row(
            &class.name,
            class.present,
            class.expected,
            &prevalence(&description, class.present, class.unknown),
        );
    }
    for name in part.attribute_names() {
        println!("  {name}: {}", attribute(part.as_ref(), name)?);
    }
    println!();
    Ok(description.differences().is_empty())
}

/// The share of a label among the samples that are known to have it or not.
fn prevalence(description: &Description, present: usize, unknown: usize) -> String {
    let known = description.len - unknown;
    let share = match known {
        0 => "–".to_string(),
        known => format!("{:.1} %", 100. * present as f64 / known as f64),
    };
    if unknown == 0 { share } else { format!("{share} of {known} known") }
}

/// The values of an attribute: each with its number, or range and number where there are many.
fn attribute(part: &dyn Dataset, name: &str) -> Result<String> {
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    for index in 0..part.len() {
        *values.entry(part.attribute(index, name)?.unwrap_or_default()).or_default() += 1;
    }
    let unknown = values.remove("").unwrap_or_default();
    if values.is_empty() {
        return Ok("unknown".into());
    }
    let missing = if unknown == 0 { String::new() } else { format!("; unknown {unknown}") };
    if values.len() <= MOST_VALUES {
        let counts = values.iter().map(|(value, count)| format!("{value} {count}"));
        let counts: Vec<String> = counts.collect();
        return Ok(counts.join(", ") + &missing);
    }
    let numbers = values.iter().map(|(value, count)| Some((value.parse::<f64>().ok()?, *count)));
    Ok(match numbers.collect::<Option<Vec<_>>>() {
        Some(numbers) => quartiles(numbers) + &missing,
        None => format!("{} different values{missing}", values.len()),
    })
}

/// Smallest, quartiles and largest of numbers with their counts.
fn quartiles(mut numbers: Vec<(f64, usize)>) -> String {
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count: usize = numbers.iter().map(|(_, count)| count).sum();
    let at = |share: f64| {
        let rank = (share * (count.saturating_sub(1)) as f64).round() as usize;
        let mut seen = 0;
        let found = numbers.iter().find(|(_, count)| {
            seen += count;
            seen > rank
        });
        found.map_or(f64::NAN, |(value, _)| *value)
    };
    let [low, first, median, third, high] = [0., 0.25, 0.5, 0.75, 1.].map(at);
    format!("{low} to {high}, median {median}, quartiles {first} and {third}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_count_repetitions() {
        let numbers = vec![(90., 1), (1., 3), (5., 5)];
        assert_eq!(quartiles(numbers), "1 to 90, median 5, quartiles 1 and 5");
    }
}
