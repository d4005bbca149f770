//! Tables for papers.

use super::text::{interval_text, label, number};
use super::{ClassRow, EvaluationReport};
use crate::Estimate;

/// Columns of the table of classes, in the order of its estimates.
pub(super) const COLUMNS: [&str; 6] =
    ["Recall", "Specificity", "Precision", "F1", "AUROC", "Average precision"];

impl EvaluationReport {
    /// How a measure of the headline is called: the mean over one finding is that finding's value.
    pub(super) fn label_of(&self, estimate: &Estimate) -> String {
        let name = label(&estimate.name);
        match name.strip_suffix(", macro") {
            Some(base) if self.classes.len() == 1 => base.to_owned(),
            _ => name,
        }
    }

    /// The headline and the classes as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            format!("| Measure | Value ({:.0} % interval) |", 100.0 * self.bootstrap.level),
            "|---|---|".to_owned(),
        ];
        let bar = |text: &str| text.replace('|', "\\|");
        lines.extend(
            self.headline
                .iter()
                .map(|e| format!("| {} | {} |", bar(&self.label_of(e)), interval_text(e))),
        );
        lines.extend([String::new(), format!("| Class | n | {} |", COLUMNS.join(" | "))]);
        lines.push(format!("|---|---:|{}", "---|".repeat(COLUMNS.len())));
        lines.extend(self.per_class.iter().map(|row| {
            let cells: Vec<String> = row.estimates.iter().map(interval_text).collect();
            format!("| {} | {} | {} |", bar(&row.name), row.support, cells.join(" | "))
        }));
        lines.join("\n") + "\n"
    }

    /// The headline and the classes as two LaTeX tabulars (package booktabs).
    #[must_use]
    pub fn latex(&self) -> String {
        let mut lines = vec![
            "% needs \\usepackage{booktabs}".to_owned(),
            "\\begin{tabular}{lc}".to_owned(),
            "\\toprule".to_owned(),
            format!("Measure & Value ({:.0}\\,\\% interval) \\\\", 100.0 * self.bootstrap.level),
            "\\midrule".to_owned(),
        ];
        let row = |e: &Estimate| format!("{} & {} \\\\", latex(&self.label_of(e)), latex_value(e));
        lines.extend(self.headline.iter().map(row));
        lines.extend(["\\bottomrule", "\\end{tabular}", ""].map(str::to_owned));
        lines.push(format!("\\begin{{tabular}}{{lr{}}}", "c".repeat(COLUMNS.len())));
        lines.push("\\toprule".to_owned());
        lines.push(format!("Class & $n$ & {} \\\\", COLUMNS.join(" & ")));
        lines.push("\\midrule".to_owned());
        let class = |row: &ClassRow| {
            let cells: Vec<String> = row.estimates.iter().map(latex_value).collect();
            format!("{} & {} & {} \\\\", latex(&row.name), row.support, cells.join(" & "))
        };
        lines.extend(self.per_class.iter().map(class));
        lines.extend(["\\bottomrule", "\\end{tabular}"].map(str::to_owned));
        lines.join("\n") + "\n"
    }
}

/// `0.912 (0.894--0.930)`.
fn latex_value(estimate: &Estimate) -> String {
    let plain = |value| number(value).replace('−', "$-$").replace('–', "--");
    match (estimate.low.defined(), estimate.high.defined()) {
        (Some(_), Some(_)) => {
            format!("{} ({}--{})", plain(estimate.value), plain(estimate.low), plain(estimate.high))
        }
        _ => plain(estimate.value),
    }
}

/// Text with LaTeX's special characters taken literally.
fn latex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' | '>' => {
                escaped.push('$');
                escaped.push(letter);
                escaped.push('$');
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}
