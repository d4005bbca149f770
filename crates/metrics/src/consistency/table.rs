//! Published tables, read from Markdown or CSV.

use super::{Inconsistency, Published, Quantity, check_row};
use crate::{MetricsError, Result, Task};

/// A published table: a name and numbers per row.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedTable {
    /// Rows in their order.
    pub rows: Vec<(String, Vec<Published>)>,
}

/// Reads a table and checks every row.
///
/// # Errors
/// As [`PublishedTable::parse`].
pub fn check_table(text: &str, task: Task) -> Result<Vec<Inconsistency>> {
    let table = PublishedTable::parse(text)?;
    Ok(table.rows.iter().flat_map(|(name, numbers)| check_row(name, numbers, task)).collect())
}

impl PublishedTable {
    /// Reads a Markdown table (lines with `|`) or a table separated by tabs, semicolons or commas.
    /// Columns are known by their headers in the usual spellings (`P`, `macro-recall`, `F1`, `Acc`,
    /// `MCC`, `kappa`, `AUC`, `micro-F1`, `n`, …); the others make the row's name. Cells may carry
    /// `%`, emphasis, decimal commas and a spread (`88.56±,62`); dashes and empty cells are no
    /// numbers. If any value of a share is above 1, all are taken for percentages.
    ///
    /// # Errors
    /// No column is known; a row is longer than the header; a cell of a known column is no number.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = cells_of(text)?.into_iter();
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

/// Rows of trimmed cells, without the rule below a Markdown header.
fn cells_of(text: &str) -> Result<Vec<Vec<String>>> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.first().copied().unwrap_or_default();
    let clean = |cell: &str| cell.trim().trim_matches(['*', '_', '`', '"']).trim().to_owned();
    if first.contains('|') {
        let is_rule = |line: &&str| line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
        let cells = |line: &str| {
            let line = line.strip_prefix('|').unwrap_or(line);
            line.strip_suffix('|').unwrap_or(line).split('|').map(clean).collect()
        };
        return Ok(lines.iter().copied().filter(|line| !is_rule(line)).map(cells).collect());
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
