use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use vit_datasets::Dataset;
use vit_train::SampleColumns;

/// What is known of samples beside picture and label.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnArgs {
    /// Table with what is known of each sample: sex, age, view, site, … (default: what the data
    /// themselves say; for tables that is every column).
    #[arg(long)]
    pub attributes: Option<PathBuf>,
    /// Column of `--attributes` with the samples' ids, as predictions.csv has them.
    #[arg(long, default_value = "id")]
    pub attributes_id: String,
}

/// Bands of ages where none are named: below 18, 18 to below 40, and so on.
const AGE_BANDS: [f64; 4] = [18., 40., 65., 80.];

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

    /// With the usual bands if this is an age in years without bands: as many subgroups as years
    /// would leave too few samples in each.
    fn with_age_bands(mut self, cells: &Cells) -> Self {
        let years = |cell: &String| cell.is_empty() || cell.parse::<f64>().is_ok();
        if self.bounds.is_empty()
            && self.name.eq_ignore_ascii_case("age")
            && cells.values().all(years)
        {
            self.bounds = AGE_BANDS.to_vec();
        }
        self
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

/// Cells of one column by the samples' ids.
type Cells = HashMap<String, String>;

/// The columns of these names, by the samples' ids. Each is stored under its name as given. They
/// come from the table of `--attributes`, else from what the data say of the samples of `part`.
///
/// # Errors
/// When there is no such column (the error names those there are).
pub(crate) fn sample_columns(
    args: &ColumnArgs,
    part: &dyn Dataset,
    names: &[String],
) -> Result<SampleColumns> {
    if names.is_empty() {
        return Ok(SampleColumns::new());
    }
    let wanted = names.iter().map(|name| Wanted::parse(name)).collect::<Result<Vec<_>>>()?;
    let cells = match &args.attributes {
        Some(table) => of_table(table, &args.attributes_id, &wanted)?,
        None => of_data(part, &wanted)?,
    };
    let banded = wanted.into_iter().zip(cells).map(|(wanted, cells)| {
        let wanted = wanted.with_age_bands(&cells);
        cells.into_iter().map(|(id, cell)| (id, wanted.value(&cell))).collect()
    });
    Ok(names.iter().cloned().zip(banded).collect())
}

fn of_data(part: &dyn Dataset, wanted: &[Wanted]) -> Result<Vec<Cells>> {
    let known = part.attribute_names();
    if let Some(Wanted { name, .. }) = wanted.iter().find(|wanted| !known.contains(&wanted.name)) {
        let known = if known.is_empty() { "nothing".into() } else { known.join(", ") };
        bail!(
            "subgroups by {name}: beside labels the data tell {known}; a table with more is named \
             with --attributes"
        );
    }
    let mut columns = vec![Cells::new(); wanted.len()];
    for index in 0..part.len() {
        let id = part.record(index)?.id;
        for (column, wanted) in columns.iter_mut().zip(wanted) {
            let cell = part.attribute(index, &wanted.name)?.unwrap_or_default();
            column.insert(id.clone(), cell);
        }
    }
    Ok(columns)
}

fn of_table(table: &Path, id: &str, wanted: &[Wanted]) -> Result<Vec<Cells>> {
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
    let mut columns = vec![Cells::new(); wanted.len()];
    for row in reader.records() {
        let row = row.with_context(|| format!("{}", table.display()))?;
        let id = normalised(row.get(id).unwrap_or_default());
        for (column, place) in columns.iter_mut().zip(&places) {
            column.insert(id.clone(), row.get(*place).unwrap_or_default().to_string());
        }
    }
    Ok(columns)
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
        let cells = |cell: &str| Cells::from([("a".into(), cell.into()), ("b".into(), "".into())]);
        let banded = |name: &str, cell: &str| {
            Wanted::parse(name).unwrap().with_age_bands(&cells(cell)).value(cell)
        };
        for (years, band) in [("17", "below 18"), ("18", "18 to below 40"), ("80", "80 and above")]
        {
            assert_eq!(banded("age", years), band);
        }
        assert_eq!(banded("age:50", "17"), "below 50", "bands that are named");
        assert_eq!(banded("age", "old"), "old", "groups that the table has made");
        assert_eq!(banded("day", "17"), "17");
        assert!(Wanted::parse("age:60:40").is_err());
        assert!(Wanted::parse("age:old").unwrap_err().to_string().contains("'old'"));
    }

    #[test]
    fn ids_are_those_of_the_data_sets() {
        assert_eq!(normalised("./a//b.png"), "a/b.png");
        assert_eq!(normalised("b.png"), "b.png");
    }
}
