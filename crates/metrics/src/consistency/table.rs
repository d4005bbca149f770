//! Published tables, read from Markdown or CSV.

use super::{Inconsistency, Published, Quantity, check_row};
use crate::{MetricsError, Result, Task};

/// A published table: a name and numbers per row.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedTable {
    /// Rows in their order.
    pub rows: Vec<(String, Vec<Published>)>,
}

/// Reads a table and checks every row. In a Markdown document every table with a known column is
/// checked.
///
/// # Errors
/// As [`PublishedTable::parse`].
pub fn check_table(text: &str, task: Task) -> Result<Vec<Inconsistency>> {
    let mut found = Vec::new();
    for table in PublishedTable::parse_all(text)? {
        found.extend(table.rows.iter().flat_map(|(name, numbers)| check_row(name, numbers, task)));
    }
    Ok(found)
}

impl PublishedTable {
    /// Reads a Markdown table (lines with `|`) or a table separated by tabs, semicolons or commas.
    /// Columns are known by their headers in the usual spellings (`P`, `macro-recall`, `F1`, `Acc`,
    /// `MCC`, `kappa`, `AUC`, `micro-F1`, `n`, …); the others make the row's name. Cells may carry
    /// `%`, emphasis, decimal commas and a spread (`88.56±,62`); dashes and empty cells are no
    /// numbers. If any value of a share is above 1, all are taken for percentages. Of a Markdown
    /// document the first table with a known column is read.
    ///
    /// # Errors
    /// No column is known; a row is longer than the header; a cell of a known column is no number.
    pub fn parse(text: &str) -> Result<Self> {
        let first = Self::parse_all(text)?.into_iter().next();
        first.ok_or(MetricsError::Mismatch { what: "number of tables" })
    }

    /// Every table with a known column; at least one.
    fn parse_all(text: &str) -> Result<Vec<Self>> {
        let tables = tables_of(text);
        if tables.is_empty() {
            return Ok(vec![Self::from_cells(cells_of(text)?)?]);
        }
        let mut parsed = Vec::new();
        let known = |cells: &Vec<Vec<String>>| {
            cells.iter().take(1).flatten().any(|name| quantity(name).is_some())
        };
        let several = tables.iter().any(known);
        for cells in tables {
            // Beside a table of results there may be others; alone it must be one of results.
            if !several || known(&cells) {
                parsed.push(Self::from_cells(cells)?);
            }
        }
        Ok(parsed)
    }

    fn from_cells(cells: Vec<Vec<String>>) -> Result<Self> {
        let mut lines = cells.into_iter();
        let header = lines.next().unwrap_or_default();
        let columns: Vec<Option<Quantity>> = header.iter().map(|name| quantity(name)).collect();
        if columns.iter().all(Option::is_none) {
            let message = format!("no column of {header:?} is a known metric");
            return Err(MetricsError::File { path: "table".to_owned(), message });
        }
        let mut rows = Vec::new();
        for (number, cells) in lines.enumerate() {
            if cells.len() > columns.len() {
                let message = format!(
                    "row {} has {} cells, the header {}",
                    number + 1,
                    cells.len(),
                    columns.len()
                );
                return Err(MetricsError::File { path: "table".to_owned(), message });
            }
            let (mut name, mut numbers) = (Vec::new(), Vec::new());
            for (cell, quantity) in cells.iter().zip(&columns) {
                match quantity {
                    None if !cell.is_empty() => name.push(cell.clone()),
                    None => {}
                    Some(quantity) => numbers.extend(published(*quantity, cell, number + 1)?),
                }
            }
            rows.push((name.join(", "), numbers));
        }
        let mut table = Self { rows };
        table.scale();
        Ok(table)
    }

    /// From percentages to shares.
    fn scale(&mut self) {
        let share = |number: &Published| number.quantity != Quantity::Samples;
        let numbers = || self.rows.iter().flat_map(|row| &row.1).filter(|number| share(number));
        // 1.02 may be a share with a slip, 2 and more is a percentage.
        if !numbers().any(|number| number.value.abs() >= 2.0) {
            return;
        }
        let numbers = self.rows.iter_mut().flat_map(|row| &mut row.1);
        for number in numbers.filter(|number| share(number)) {
            number.value /= 100.0;
            number.rounding /= 100.0;
        }
    }
}

/// The cells of the tables of a Markdown document: a header, a rule below it, and what follows up
/// to a line that is no row.
fn tables_of(text: &str) -> Vec<Vec<Vec<String>>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut tables = Vec::new();
    for (place, pair) in lines.windows(2).enumerate() {
        if let [header, rule] = pair
            && header.contains('|')
            && !is_rule(header)
            && rule.contains('-')
            && is_rule(rule)
        {
            let rows = lines.iter().skip(place + 2).take_while(|line| line.contains('|'));
            let rows = rows.filter(|line| !is_rule(line));
            tables.push(std::iter::once(header).chain(rows).map(|line| cells(line)).collect());
        }
    }
    tables
}

fn is_rule(line: &str) -> bool {
    line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// Without blanks, emphasis and quotation marks.
fn clean(cell: &str) -> String {
    cell.trim().trim_matches(['*', '_', '`', '"']).trim().to_owned()
}

/// The cells of a Markdown row.
fn cells(line: &str) -> Vec<String> {
    let line = line.strip_prefix('|').unwrap_or(line);
    line.strip_suffix('|').unwrap_or(line).split('|').map(clean).collect()
}

/// Rows of trimmed cells of a text that is one table.
fn cells_of(text: &str) -> Result<Vec<Vec<String>>> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.first().copied().unwrap_or_default();
    if first.contains('|') {
        return Ok(lines.into_iter().filter(|line| !is_rule(line)).map(cells).collect());
    }
    let delimiter = ['\t', ';', ','].into_iter().find(|d| first.contains(*d)).unwrap_or(',');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter as u8)
        .from_reader(text.as_bytes());
    let failed = |error: csv::Error| MetricsError::File {
        path: "table".to_owned(),
        message: error.to_string(),
    };
    let records =
        reader.records().map(|record| Ok(record.map_err(failed)?.iter().map(clean).collect()));
    records.collect()
}

/// What a header means.
fn quantity(header: &str) -> Option<Quantity> {
    let name: String = header.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    Some(match name.as_str() {
        "p" | "precision" | "prec" | "macrop" | "macroprecision" | "precisionmacro" => {
            Quantity::MacroPrecision
        }
        "r" | "recall" | "rec" | "sensitivity" | "macror" | "macrorecall" | "recallmacro" => {
            Quantity::MacroRecall
        }
        "f1" | "f1score" | "fscore" | "macrof1" | "macrof1score" | "f1macro" => Quantity::MacroF1,
        "acc" | "accuracy" | "top1" => Quantity::Accuracy,
        "microp" | "microprecision" | "precisionmicro" => Quantity::MicroPrecision,
        "micror" | "microrecall" | "recallmicro" => Quantity::MicroRecall,
        "microf1" | "f1micro" => Quantity::MicroF1,
        "weightedrecall" | "recallweighted" => Quantity::WeightedRecall,
        "balancedaccuracy" | "balancedacc" | "bacc" => Quantity::BalancedAccuracy,
        "mcc" => Quantity::Mcc,
        "kappa" | "cohenkappa" | "cohenskappa" => Quantity::Kappa,
        "auc" | "auroc" | "rocauc" | "mauc" | "aurocmacro" => Quantity::Auroc,
        "n" | "samples" | "images" => Quantity::Samples,
        _ => return None,
    })
}

/// The number of a cell, `None` where there is none.
fn published(quantity: Quantity, cell: &str, row: usize) -> Result<Option<Published>> {
    let main = cell.split(['±', '(']).next().unwrap_or_default();
    let text = main.replace("+-", "").trim().trim_end_matches(['%', '*']).trim().replace(',', ".");
    if text.is_empty() || text.chars().all(|c| matches!(c, '-' | '–' | '—')) || text == "n/a" {
        return Ok(None);
    }
    let value: f64 = text.replace('−', "-").parse().map_err(|_| MetricsError::File {
        path: "table".to_owned(),
        message: format!("row {row}: {cell:?} is no number"),
    })?;
    if !value.is_finite() {
        return Err(MetricsError::NotFinite { row, what: "published number", value });
    }
    let decimals = text.split_once('.').map_or(0, |(_, digits)| digits.len() as i32);
    let rounding = if quantity == Quantity::Samples { 0.0 } else { 0.5 * 10.0_f64.powi(-decimals) };
    Ok(Some(Published { quantity, value, rounding }))
}
