use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use vit_train::SampleColumns;

use crate::DataArgs;

/// What is known of samples beside picture and label.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnArgs {
    /// Table with what is known of each sample: sex, age, view, site, … (default: the `.csv` of
    /// `--data`).
    #[arg(long)]
    pub attributes: Option<PathBuf>,
    /// Column of `--attributes` with the samples' ids, as predictions.csv has them.
    #[arg(long, default_value = "id")]
    pub attributes_id: String,
}

/// A column as a user names it: `sex`, or `age:40:60` for the bands below 40, 40 to 59, from 60.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    name: String,
    bounds: Vec<f64>,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default().trim().to_string();
        let bound = |part: &str| {
            part.trim().parse::<f64>().ok().filter(|bound| bound.is_finite()).with_context(|| {
                format!("column '{text}': '{part}' is no number; bands are written age:40:60")
            })
        };
        let bounds = parts.map(bound).collect::<Result<Vec<_>>>()?;
        if !bounds.is_sorted_by(|a, b| a < b) {
            bail!("column '{text}': the bounds of bands must rise");
        }
        Ok(Self { name, bounds })
    }

    /// The cell, or the band it is in. What is no number, as an age that nobody noted, is unknown.
    fn value(&self, cell: &str) -> String {
        let (Some(first), Some(last)) = (self.bounds.first(), self.bounds.last()) else {
            return cell.to_string();
        };
        let Some(number) = cell.parse::<f64>().ok().filter(|number| number.is_finite()) else {
            return String::new();
        };
        let after = self.bounds.partition_point(|bound| *bound <= number);
        match (after.checked_sub(1).and_then(|i| self.bounds.get(i)), self.bounds.get(after)) {
            (Some(from), Some(to)) => format!("{from} to below {to}"),
            (None, _) => format!("below {first}"),
            (_, None) => format!("{last} and above"),
        }
    }
}

/// The columns of these names, by the samples' ids. Each is stored under its name as given.
///
/// # Errors
/// When there is no table, or it lacks a column (the error names those it has).
pub(crate) fn sample_columns(
    args: &ColumnArgs,
    data: &DataArgs,
    names: &[String],
) -> Result<SampleColumns> {
    if names.is_empty() {
        return Ok(SampleColumns::new());
    }
    let wanted = names.iter().map(|name| Wanted::parse(name)).collect::<Result<Vec<_>>>()?;
    let path = Path::new(&data.data);
    let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let (table, id, suffix) = match &args.attributes {
        Some(table) => (table.as_path(), args.attributes_id.as_str(), ""),
        None if is_csv => (path, data.csv_file.as_str(), data.csv_suffix.as_str()),
        None => bail!(
            "subgroups by {}: --data {} has no table of attributes; name one with --attributes",
            names.join(", "),
            data.data
        ),
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(table)
        .with_context(|| format!("{}", table.display()))?;
    let header = reader.headers()?.clone();
    let place = |name: &str| {
        header.iter().position(|column| column == name).with_context(|| {
            let known: Vec<&str> = header.iter().collect();
            format!("{} has no column '{name}'; it has {}", table.display(), known.join(", "))
        })
    };
    let id = place(id)?;
    let places = wanted.iter().map(|wanted| place(&wanted.name)).collect::<Result<Vec<_>>>()?;
    let mut columns = vec![HashMap::new(); names.len()];
    for row in reader.records() {
        let row = row.with_context(|| format!("{}", table.display()))?;
        let id = normalised(&format!("{}{suffix}", row.get(id).unwrap_or_default()));
        for ((column, wanted), place) in columns.iter_mut().zip(&wanted).zip(&places) {
            column.insert(id.clone(), wanted.value(row.get(*place).unwrap_or_default()));
        }
    }
    Ok(names.iter().cloned().zip(columns).collect())
}

/// A path as the data sets write it into ids.
fn normalised(name: &str) -> String {
    let parts = Path::new(name).components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_become_bands() {
        let age = Wanted::parse("age:40:60").unwrap();
        assert_eq!(age.name, "age");
        for (cell, band) in [
            ("12", "below 40"),
            ("39.9", "below 40"),
            ("40", "40 to below 60"),
            ("60", "60 and above"),
            ("", ""),
            ("unknown", ""),
            ("NaN", ""),
        ] {
            assert_eq!(age.value(cell), band, "{cell}");
        }
        assert_eq!(Wanted::parse("sex").unwrap().value("f"), "f");
        assert!(Wanted::parse("age:60:40").is_err());
        assert!(Wanted::parse("age:old").unwrap_err().to_string().contains("'old'"));
    }

    #[test]
    fn ids_are_those_of_the_data_sets() {
        assert_eq!(normalised("./a//b.png"), "a/b.png");
        assert_eq!(normalised("b.png"), "b.png");
    }
}
