//! The page.

use std::fmt::Write;

use super::plots::{self, Theme};
use super::tables::COLUMNS;
use super::text::{escape, interval_text, number, reason};
use super::write::area_note;
use super::{ClassCurves, EvaluationReport};
use crate::{Curve, Estimate, IntervalMethod, Measure, Part, Resampling, Task, Value};

const STYLE: &str = include_str!("style.css");

impl EvaluationReport {
    /// One self-contained page: no script, no address outside of itself. It follows the reader's
    /// choice of light or dark and is readable on a phone.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let parts = [
            self.intro(),
            self.headline_table(),
            self.class_table(),
            self.confusion_plot(),
            self.curve_plots(),
            self.reliability_section(),
            self.operating_section(),
            self.subgroup_plots(),
            self.mistake_gallery(),
            self.learning_plots(),
            self.pictures(),
            self.facts(),
        ];
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main>\n{}\n</main></body></html>\n",
            parts.join("\n")
        )
    }

    fn intro(&self) -> String {
        let task = match (self.task, self.classes.len()) {
            (Task::SingleLabel, _) => "exclusive classes",
            (Task::MultiLabel, 1) => "finding",
            (Task::MultiLabel, _) => "findings",
        };
        let part = match self.part {
            Part::Train => "training",
            Part::Validation => "validation",
            Part::Test => "test",
        };
        let patients = self.patients.map_or(String::new(), |n| format!(" of {n} patients"));
        let mut text = format!(
            "<h1>{}</h1><p class=\"muted\">{} samples{patients}, {part} part, {} {task}</p>",
            escape(&self.title),
            self.samples,
            self.classes.len(),
        );
        for found in &self.inconsistencies {
            let _ = write!(text, "<p class=\"warn\">{}</p>", escape(&found.message));
        }
        text
    }

    fn headline_table(&self) -> String {
        let noted = self.headline.iter().any(|estimate| !notes(estimate).is_empty());
        let label = |estimate: &Estimate| {
            let measure = Measure::parse(&estimate.name, &self.classes);
            let lower = measure.is_ok_and(|measure| !measure.higher_is_better());
            self.label_of(estimate) + if lower { " (lower is better)" } else { "" }
        };
        let rows: String =
            self.headline.iter().map(|e| headline_row(e, &label(e), noted)).collect();
        let note_head = if noted { "<th>Notes</th>" } else { "" };
        let method = match self.bootstrap.method {
            IntervalMethod::Percentile => "percentiles",
            IntervalMethod::Bca => "BCa",
        };
        let unit = match self.bootstrap.resampling {
            Resampling::Rows => "samples, each on its own",
            Resampling::Stratified => "samples within their classes",
            Resampling::Clustered if self.patients.is_some() => "patients with all their samples",
            Resampling::Clustered => "samples (no patients are known)",
            Resampling::ClusteredStratified => "patients within their combination of classes",
        };
        format!(
            "<h2>Results</h2><div class=\"wide\"><table><thead><tr><th>Measure</th><th>Value</th>\
             <th>{:.0} % interval</th>{note_head}</tr></thead><tbody>{rows}</tbody></table></div>\
             <p><small>Intervals: bootstrap ({method}), {} resamples of {unit}, seed {}.</small></p>",
            100.0 * self.bootstrap.level,
            self.bootstrap.resamples,
            self.bootstrap.seed,
        )
    }

    fn class_table(&self) -> String {
        let head: String = COLUMNS.iter().map(|name| format!("<th>{name}</th>")).collect();
        let some_unknown = self.per_class.iter().any(|row| (row.known as usize) < self.samples);
        let known = if some_unknown { "<th class=\"r\">Known</th>" } else { "" };
        let mut rows = String::new();
        for row in &self.per_class {
            let known = if some_unknown {
                format!("<td class=\"r\">{}</td>", row.known)
            } else {
                String::new()
            };
            let cells: String = row.estimates.iter().map(class_cell).collect();
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td class=\"r\">{}</td>{known}{cells}</tr>",
                escape(&row.name),
                row.support
            );
        }
        format!(
            "<h2>Classes</h2><div class=\"wide\"><table class=\"class\"><thead><tr><th>Class</th>\
             <th class=\"r\">n</th>{known}{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    }

    fn confusion_plot(&self) -> String {
        self.confusion.as_ref().map_or_else(String::new, |matrix| {
            let svg = plots::confusion(matrix, &self.classes).svg(Theme::Page);
            format!(
                "<h2>Confusion matrix</h2><p class=\"muted\">Shaded by the share of the true class.</p>\
                 <div class=\"wide\">{svg}</div>"
            )
        })
    }

    fn curve_plots(&self) -> String {
        let Some((first, others)) = self.curves.split_first() else { return String::new() };
        let many = others.len() > 4;
        let small: String = others.iter().map(|curves| pair(curves, false)).collect();
        let others = match (others.is_empty(), many) {
            (true, _) => String::new(),
            (false, false) => format!("<div class=\"plots\">{small}</div>"),
            (false, true) => format!(
                "<details><summary>Curves of all {} classes</summary><div class=\"plots\">{small}</div></details>",
                others.len()
            ),
        };
        format!(
            "<h2>ROC and precision–recall curves</h2><p class=\"muted\">Bands hold point by point at \
             {:.0} %.</p><div class=\"plots\">{}</div>{others}",
            100.0 * self.bootstrap.level,
            pair(first, true),
        )
    }

    fn subgroup_plots(&self) -> String {
        if self.subgroups.is_empty() {
            return String::new();
        }
        let mut text = "<h2>Subgroups</h2><div class=\"plots\">".to_owned();
        for groups in &self.subgroups {
            // One subgroup alone is neither the worst nor the best.
            let note = match (groups.worst(), groups.gap()) {
                (Some(worst), Value::Defined(gap)) => {
                    format!("Worst: {}. Gap: {gap:.3}.", escape(&worst.name))
                }
                _ => String::new(),
            };
            let svg = self.subgroup_plot(groups).svg(Theme::Page);
            let _ = write!(text, "<div>{svg}<p><small>{note}</small></p></div>");
        }
        text + "</div>"
    }

    fn mistake_gallery(&self) -> String {
        if self.mistakes.is_empty() {
            return String::new();
        }
        let mut text = "<h2>Largest mistakes</h2><div class=\"gallery\">".to_owned();
        for (place, mistake) in self.mistakes.iter().enumerate() {
            let picture = self.thumbnails.get(place).and_then(Option::as_ref);
            let picture = picture.map_or_else(String::new, |picture| {
                format!("<img src=\"{}\" alt=\"{}\">", picture.address(), escape(picture.caption()))
            });
            let _ = write!(
                text,
                "<figure>{picture}<figcaption><b>{}</b><br>predicted, {:.3}<br>truth: {}<br><small>{}</small>\
                 </figcaption></figure>",
                escape(&mistake.predicted),
                mistake.score,
                escape(&mistake.truth),
                escape(&mistake.id)
            );
        }
        text + "</div>"
    }

    fn learning_plots(&self) -> String {
        if self.learning.is_empty() {
            return String::new();
        }
        let plots: String =
            self.learning.iter().map(|plot| plots::lines(plot).svg(Theme::Page)).collect();
        format!("<h2>Training</h2><div class=\"plots\">{plots}</div>")
    }

    fn pictures(&self) -> String {
        if self.gallery.is_empty() {
            return String::new();
        }
        let figures: String = self
            .gallery
            .iter()
            .map(|picture| {
                let caption = escape(picture.caption());
                format!(
                    "<figure><img src=\"{}\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>",
                    picture.address()
                )
            })
            .collect();
        format!("<h2>Pictures</h2><div class=\"gallery pictures\">{figures}</div>")
    }

    fn facts(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            let _ = write!(text, "<h2>{}</h2><dl class=\"facts\">", escape(&section.title));
            for (name, value) in &section.entries {
                let _ = write!(text, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            text.push_str("</dl>");
        }
        let _ = write!(
            text,
            "<h2>Conventions</h2><dl class=\"facts\"><dt>0/0</dt><dd>{:?}</dd><dt>Undefined AUROC</dt>\
             <dd>{:?}</dd><dt>Scores rounded to</dt><dd>{:?}</dd><dt>Thresholds</dt><dd>{}</dd></dl>",
            self.conventions.zero_division,
            self.conventions.auc_missing,
            self.conventions.metric_dtype,
            match (self.task, self.conventions.thresholds.is_empty()) {
                (Task::SingleLabel, _) => "highest score".to_owned(),
                (Task::MultiLabel, true) => "0.5".to_owned(),
                (Task::MultiLabel, false) => {
                    let texts: Vec<String> =
                        self.conventions.thresholds.iter().map(|t| format!("{t:.3}")).collect();
                    texts.join(", ")
                }
            }
        );
        text
    }
}

fn headline_row(estimate: &Estimate, label: &str, noted: bool) -> String {
    let interval = match (estimate.low.defined(), estimate.high.defined()) {
        (Some(_), Some(_)) => format!("{} to {}", number(estimate.low), number(estimate.high)),
        _ => "–".to_owned(),
    };
    let notes =
        if noted { format!("<td>{}</td>", escape(&notes(estimate))) } else { String::new() };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{interval}</td>{notes}</tr>",
        escape(label),
        number(estimate.value),
    )
}

/// What a reader must know about an estimate.
fn notes(estimate: &Estimate) -> String {
    let mut notes: Vec<String> = reason(estimate).into_iter().collect();
    if estimate.undefined_resamples > 0 && estimate.value.defined().is_some() {
        notes.push(format!("undefined in {} resamples", estimate.undefined_resamples));
    }
    if estimate.partial_resamples > 0 {
        notes.push(format!("fewer classes in {} resamples", estimate.partial_resamples));
    }
    notes.join("; ")
}

/// The value, below it the interval.
pub(super) fn class_cell(estimate: &Estimate) -> String {
    let below = match (estimate.low.defined(), estimate.high.defined()) {
        (Some(_), Some(_)) => {
            let text = interval_text(estimate);
            let inside = text.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
            inside.to_owned()
        }
        _ => reason(estimate).unwrap_or_default(),
    };
    let class = if estimate.low.defined().is_some() { " class=\"n\"" } else { "" };
    format!("<td{class}>{}<span>{}</span></td>", number(estimate.value), escape(&below))
}

/// ROC and precision–recall curve of a class.
fn pair(curves: &ClassCurves, large: bool) -> String {
    let title = curves.class.as_deref().unwrap_or("mean over classes");
    let kinds = [(Curve::Roc, &curves.roc), (Curve::PrecisionRecall, &curves.precision_recall)];
    let plot = |(kind, curve): (Curve, &Option<(crate::Band, Estimate)>)| {
        let (band, area) = curve.as_ref()?;
        let plot = plots::curve(kind, title, &area_note(kind, area), band, large);
        Some(plot.svg(Theme::Page))
    };
    kinds.into_iter().filter_map(plot).collect()
}
