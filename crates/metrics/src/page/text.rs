//! Numbers and names as text.

use crate::{Estimate, Value};

/// For HTML and SVG, in text and in attributes. Control characters, which XML forbids, vanish.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            _ if letter.is_control() => {}
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// At most `most` letters; the middle is left out, since endings tell classes apart as well.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most || most < 5 {
        return text.to_owned();
    }
    let (head, tail) = (most.div_ceil(2), most - most.div_ceil(2) - 1);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// Three digits, or a dash.
pub(super) fn number(value: Value) -> String {
    value
        .defined()
        .map_or_else(|| "–".to_owned(), |number| format!("{number:.3}").replace('-', "−"))
}

/// `0.912 (0.894–0.930)`.
pub(super) fn interval_text(estimate: &Estimate) -> String {
    let (value, low, high) = (number(estimate.value), number(estimate.low), number(estimate.high));
    match (estimate.low.defined(), estimate.high.defined()) {
        (Some(ends), Some(_)) if ends < 0.0 => format!("{value} ({low} to {high})"),
        (Some(_), Some(_)) => format!("{value} ({low}–{high})"),
        _ => value,
    }
}

/// Why a value or its interval is missing.
pub(super) fn reason(estimate: &Estimate) -> Option<String> {
    let reason = estimate.value.reason().or(estimate.low.reason())?;
    Some(reason.to_string())
}

/// How a measure is called in a report.
pub(super) fn label(name: &str) -> String {
    let (base, over) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((base, class)) => (base, Some(class)),
        None => (name, None),
    };
    let (base, average) = ["macro", "micro", "weighted"]
        .into_iter()
        .find_map(|average| Some((base.strip_suffix(average)?.strip_suffix('_')?, Some(average))))
        .unwrap_or((base, None));
    let text = match base {
        "auroc" => "AUROC".to_owned(),
        "auroc_ovo" => "AUROC, one-versus-one".to_owned(),
        "ap" => "Average precision".to_owned(),
        "mcc" => "MCC".to_owned(),
        "iou" => "IoU".to_owned(),
        "kappa" => "Cohen's kappa".to_owned(),
        "brier" => "Brier score".to_owned(),
        "ece" | "mce" | "ace" => base.to_uppercase(),
        _ => {
            let plain = base.replace('_', " ");
            let mut letters = plain.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().collect::<String>() + letters.as_str()
            })
        }
    };
    [Some(text.as_str()), average, over].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
