use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use vit_datasets::{Card, Dataset, Description};

use crate::DataArgs;

/// Values of an attribute that are counted one by one; more are summed up.
const MOST_VALUES: usize = 12;

/// Which data to describe.
#[derive(Debug, Clone, Args)]
pub struct DescribeArgs {
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The exit code is 1 where counts differ from those of the card, and where no card says what
    /// they should be.
    #[arg(long)]
    pub strict: bool,
}

/// Prints card, counts found and expected, prevalence, attributes and what was left out; `false`
/// when `--strict` and a count is not that of the card, or nothing could be compared. No picture is
/// read.
///
/// # Errors
/// When the data cannot be opened, or a record cannot be read.
pub fn describe(args: &DescribeArgs) -> Result<bool> {
    let open = args.data.open()?;
    let whole = open.whole.as_ref().map(|whole| ("whole", whole));
    let mut cards = Vec::new();
    let (mut as_expected, mut checked) = (true, false);
    for (name, part) in whole.into_iter().chain(open.parts()) {
        print_cards(part.as_ref(), &mut cards);
        let description = describe_part(name, part)?;
        as_expected &= description.differences().is_empty();
        checked |= description.is_checked();
    }
    if !checked {
        println!("Nothing could be checked: no card says how much there should be.");
    }
    Ok((as_expected && checked) || !args.strict)
}

/// One card for all parts, unless they come from several data sets.
fn print_cards(data: &dyn Dataset, printed: &mut Vec<&'static Card>) {
    if let Some(own) = data.card().filter(|own| !printed.contains(own)) {
        println!("{own}\n");
        printed.push(own);
    }
    for (_, part) in data.constituents() {
        print_cards(part, printed);
    }
}

fn describe_part(name: &str, part: &Arc<dyn Dataset>) -> Result<Description> {
    let description = vit_datasets::describe(part.as_ref())?;
    let origin = if description.name.is_empty() { "" } else { &format!(" ({})", description.name) };
    println!("{name}{origin}");
    print_counts(&description);
    for name in part.attribute_names() {
        println!("  {name}: {}", attribute(part.as_ref(), name)?);
    }
    for entry in &description.left_out {
        println!("  {entry}");
    }
    println!();
    for inner in &description.constituents {
        let origin = if inner.name.is_empty() { "its source" } else { &inner.name };
        println!("of {name}, {origin}");
        print_counts(inner);
        if inner.expected.is_none() {
            println!("  not checked: no card says how much there should be");
        }
        println!();
    }
    Ok(description)
}

fn print_counts(description: &Description) {
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
        let share = prevalence(description, class.present, class.unknown);
        row(&class.name, class.present, class.expected, &share);
    }
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
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: DescribeArgs,
    }

    #[test]
    fn quartiles_count_repetitions() {
        let numbers = vec![(90., 1), (1., 3), (5., 5)];
        assert_eq!(quartiles(numbers), "1 to 90, median 5, quartiles 1 and 5");
    }

    /// The lists of one division of the COVID data, whose sizes the card knows.
    fn list(home: &std::path::Path, part: &str, lines: usize) -> Value {
        let name = format!("{part}-{lines}.txt");
        let mut text = String::new();
        for line in 0..lines {
            text += &format!("{part}{line}.png 1\n");
        }
        std::fs::write(home.join(&name), text).unwrap();
        json!({ "reader": "xray_list", "root": home, "list": home.join(name), "part": part,
            "kind": { "covid": { "repeat": 1 } }, "files": { "missing": "unchecked" } })
    }

    #[test]
    fn strict_passes_only_what_was_compared() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("sources.json");
        let strict = |value: &Value| {
            std::fs::write(&path, value.to_string()).unwrap();
            let args = ["describe", "--strict", "--data", path.to_str().unwrap()];
            describe(&Cli::parse_from(args).args).unwrap()
        };
        let list = |part, lines| list(home.path(), part, lines);
        let table = json!({ "reader": "table", "table": home.path().join("t.csv"),
            "root": home.path(), "file_column": "file", "missing": "unchecked",
            "labels": { "single": { "column": "c", "classes": ["other", "COVID-19"] } } });
        std::fs::write(home.path().join("t.csv"), "file,c\nx.png,other\ny.png,COVID-19\n").unwrap();
        for (train, val, passes) in [
            (list("train", 354), list("val", 51), true),
            (list("train", 354), list("val", 50), false),
            (json!([list("train", 354)]), list("val", 51), true),
            (json!([list("train", 353)]), list("val", 51), false),
            (json!([list("train", 354), table]), list("val", 51), true),
            (json!([table]), table.clone(), false),
            // A tenth of it is no part of the data set, but what it was taken from is.
            (list("train", 354), json!(0.1), true),
            (list("train", 353), json!(0.1), false),
        ] {
            let parts = json!({ "train": train, "val": val, "allow_shared_groups": true });
            assert_eq!(strict(&parts), passes, "{parts}");
        }
        // Common labels hide neither counts nor their absence.
        let findings = |lines: usize| {
            let name = home.path().join(format!("f{lines}.txt"));
            let line = |n| format!("stage_2_train_images/{n}.dcm 1\n");
            std::fs::write(&name, (0..lines).map(line).collect::<String>()).unwrap();
            json!({ "reader": "xray_list", "root": home.path(), "list": name, "kind": "rsna",
                "part": "one_percent", "files": { "missing": "unchecked" },
                "vocabulary_source": "rsna" })
        };
        let words = home.path().join("words.csv");
        std::fs::write(&words, "mine,rsna\nLung opacity,Pneumonia\n").unwrap();
        // 251 rows are right, but not all of them are positive.
        for (lines, differences) in [(251, 1), (250, 3)] {
            let parts = json!({ "vocabulary": words, "train": findings(lines) });
            assert!(!strict(&parts));
            let open = Cli::parse_from(["describe", "--data", path.to_str().unwrap()]);
            let train = open.args.data.open().unwrap().train;
            let description = vit_datasets::describe(train.as_ref()).unwrap();
            assert_eq!(description.differences().len(), differences);
        }
    }
}
