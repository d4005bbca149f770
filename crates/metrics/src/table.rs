//! The report as an aligned text table.

use std::fmt::{self, Display, Formatter};

use crate::{ClassReport, ConfusionMatrix, Report, Summary, Task, Undefined, Value};

/// Between two columns.
const GAP: &str = "  ";

/// Summary lines, one line per class and, up to 30 classes, the confusion matrix.
///
/// `-` stands for an undefined value; the reasons follow the table.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "samples: {}", self.samples)?;
        let lines = Self::NAMES.iter().filter_map(|name| Some((*name, self.summary(name)?)));
        let rows: Vec<Vec<String>> =
            lines.map(|(name, summary)| vec![name.to_owned(), summary_text(summary)]).collect();
        for line in align(&rows, 2) {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
        write_classes(f, self)?;
        match &self.confusion {
            Some(matrix) if matrix.classes() <= 30 => write_confusion(f, matrix, &self.classes),
            _ => Ok(()),
        }
    }
}

/// The value, and how many classes it covers if some are left out.
fn summary_text(summary: &Summary) -> String {
    match &summary.mean_over {
        Some(coverage) if coverage.defined < coverage.of => {
            format!("{} (mean over {} of {} classes)", summary.value, coverage.defined, coverage.of)
        }
        _ => summary.value.to_string(),
    }
}

/// One line per class, then the reasons for the dashes.
fn write_classes(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let several = report.task == Task::MultiLabel;
    let mut head = vec!["class", "support"];
    head.extend(several.then_some("known"));
    head.extend(["precision", "recall", "f1", "specificity"]);
    head.extend(several.then_some("accuracy"));
    head.extend(several.then_some("mcc"));
    head.extend(["auroc", "ap"]);
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    rows.extend(report.classes.iter().map(|class| class_cells(class, several)));
    for line in align(&rows, 1) {
        writeln!(f, "{line}")?;
    }
    for class in &report.classes {
        if let Some(reasons) = reasons(class, several) {
            writeln!(f, "- {}: {reasons}", class.name)?;
        }
    }
    Ok(())
}

/// The cells of one class, in the order of the header.
fn class_cells(class: &ClassReport, several: bool) -> Vec<String> {
    let mut cells = vec![class.name.clone(), class.support.to_string()];
    cells.extend(several.then(|| class.known.to_string()));
    cells.extend(class_values(class, several).into_iter().map(|(_, value)| cell(value)));
    cells
}

/// The values shown for a class.
fn class_values(class: &ClassReport, several: bool) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("precision", class.precision),
        ("recall", class.recall),
        ("f1", class.f1),
        ("specificity", class.specificity),
    ];
    if several {
        values.extend([("accuracy", class.accuracy), ("mcc", class.mcc)]);
    }
    values.extend([("auroc", class.auroc), ("ap", class.average_precision)]);
    values
}

/// The undefined values of a class, grouped by reason.
fn reasons(class: &ClassReport, several: bool) -> Option<String> {
    let mut groups: Vec<(Undefined, Vec<&str>)> = Vec::new();
    for (name, value) in class_values(class, several) {
        let Some(reason) = value.reason() else { continue };
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => groups.push((reason, vec![name])),
        }
    }
    let texts: Vec<String> =
        groups.iter().map(|(reason, names)| format!("{} ({reason})", names.join(", "))).collect();
    (!texts.is_empty()).then(|| format!("undefined: {}", texts.join("; ")))
}

/// The matrix with the names of the true classes; predictions are numbered like the rows.
fn write_confusion(
    f: &mut Formatter<'_>,
    matrix: &ConfusionMatrix,
    classes: &[ClassReport],
) -> fmt::Result {
    writeln!(f, "\nconfusion (rows: truth, columns: prediction)")?;
    let mut head = vec![String::new(), String::new()];
    head.extend((0..matrix.classes()).map(|class| class.to_string()));
    let mut rows = vec![head];
    for (index, (class, counts)) in classes.iter().zip(matrix.rows()).enumerate() {
        let mut row = vec![class.name.clone(), index.to_string()];
        row.extend(counts.iter().map(u64::to_string));
        rows.push(row);
    }
    for line in align(&rows, 1) {
        writeln!(f, "{line}")?;
    }
    Ok(())
}

/// A value in a narrow column.
fn cell(value: Value) -> String {
    value.defined().map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

/// Pads the first `left` columns on the right and the others on the left.
fn align(rows: &[Vec<String>], left: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (text, &width))| {
            if column < left { format!("{text:<width$}") } else { format!("{text:>width$}") }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
