//! A report as one page.

use std::collections::HashMap;
use std::fmt::Write;

use data_encoding::BASE64;
use vit_transforms::encode_png;

use super::entries::{Content, Part};
use super::picture::thumbnail;
use super::report::{AuditReport, Finding, FindingKind, Prevalence, SampleRef};

/// Findings of a kind, and samples of a finding, that the page shows; it says how many are left.
const FINDINGS: usize = 50;
const SAMPLES: usize = 12;
/// Longest side of the small pictures.
const SIDE: usize = 96;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --line: #d1d9e0;
  --back: #ffffff; --panel: #f6f8fa; --error: #b3261e; --warning: #8a5a00; --info: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --back: #0d1117; --panel: #161b22; --error: #ff8a80; --warning: #e3b341; --info: #79b8ff; } }
body { margin: 2rem auto; max-width: 66rem; padding: 0 1rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.soft { color: var(--soft); } code { font-size: .85em; overflow-wrap: anywhere; }
td code { white-space: nowrap; }
table { border-collapse: collapse; } .scroll { overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.error { color: var(--error); } .warning { color: var(--warning); } .info { color: var(--info); }
.badge { border: 1px solid currentColor; border-radius: 1rem; padding: 0 .6rem; font-size: .8rem; }
.finding { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem;
  padding: .6rem .8rem; margin: .5rem 0; overflow-wrap: anywhere; }
.samples { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .5rem; }
figure { margin: 0; width: 9rem; } figcaption { font-size: .75rem; color: var(--soft); }
img { image-rendering: auto; max-width: 96px; border: 1px solid var(--line); display: block; }
a { color: inherit; }
";

/// The page.
pub(super) fn page(report: &AuditReport, title: &str, parts: &[Part]) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">";
    // Says to the browser what is true anyway: nothing is loaded, nothing is run.
    page += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'unsafe-inline'\">";
    page +=
        &format!("<title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>", text(title));
    page += &format!("<p class=\"soft\">result <code>{}</code>", text(report.hash()));
    page += &format!("<br>{}</p>", text(&report.options.to_string()));
    page += &summary(report);
    page += &parts_table(report);
    let pictures = Pictures::new(parts);
    for (kind, findings) in report.by_kind() {
        page += &section(kind, findings, &pictures);
    }
    page += &prevalence(&report.prevalence);
    page + "</body></html>\n"
}

fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

fn anchor(kind: FindingKind) -> String {
    format!("{kind:?}")
}

fn summary(report: &AuditReport) -> String {
    if report.findings.is_empty() {
        return "<p>Nothing found.</p>".into();
    }
    let mut out = String::from(
        "<h2>Findings</h2><table><tr><th></th><th></th><th class=\"number\">number</th></tr>",
    );
    for (kind, findings) in report.by_kind() {
        let severity = findings.first().map_or(kind.severity(), |first| first.severity);
        let (link, title, count) = (anchor(kind), kind.title(), findings.len());
        out += &format!(
            "<tr><td><span class=\"badge {severity}\">{severity}</span></td>\
             <td><a href=\"#{link}\">{title}</a></td><td class=\"number\">{count}</td></tr>"
        );
    }
    out + "</table>"
}

fn parts_table(report: &AuditReport) -> String {
    let mut out = String::from(
        "<h2>Parts</h2><div class=\"scroll\"><table><tr><th>part</th><th class=\"number\">samples</th>\
         <th class=\"number\">groups</th><th>pictures</th><th>content</th></tr>",
    );
    for part in &report.parts {
        let modes: Vec<String> =
            part.modes.iter().map(|(mode, count)| format!("{count} {mode}")).collect();
        let modes = if modes.is_empty() { "not read".into() } else { modes.join(", ") };
        let start: String = part.content.chars().take(12).collect();
        out += &format!(
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td>\
             <td><code>{start}</code></td></tr>",
            text(&part.name),
            part.samples,
            part.groups,
            text(&modes)
        );
    }
    out + "</table></div>"
}

fn section(kind: FindingKind, findings: &[Finding], pictures: &Pictures<'_>) -> String {
    let severity = findings.first().map_or(kind.severity(), |first| first.severity);
    let mut out = format!(
        "<h2 id=\"{}\"><span class=\"badge {severity}\">{severity}</span> {} ({})</h2>",
        anchor(kind),
        kind.title(),
        findings.len()
    );
    for finding in findings.iter().take(FINDINGS) {
        out += &format!("<div class=\"finding\">{}", text(&finding.detail));
        if !finding.samples.is_empty() {
            out += "<div class=\"samples\">";
            for sample in finding.samples.iter().take(SAMPLES) {
                out += &figure(sample, pictures);
            }
            out += "</div>";
        }
        out += &more(finding.samples.len(), SAMPLES, "samples");
        out += "</div>";
    }
    out + &more(findings.len(), FINDINGS, "findings")
}

fn more(there: usize, shown: usize, what: &str) -> String {
    match there.saturating_sub(shown) {
        0 => String::new(),
        left => format!("<p class=\"soft\">and {left} more {what}</p>"),
    }
}

fn figure(sample: &SampleRef, pictures: &Pictures<'_>) -> String {
    let mut out = String::from("<figure>");
    if let Some(picture) = pictures.of(sample) {
        out += &format!("<img alt=\"\" src=\"data:image/png;base64,{picture}\">");
    }
    out += &format!("<figcaption>{}: {}", text(&sample.part), text(&sample.id));
    if !sample.label.is_empty() {
        out += &format!("<br>{}", text(&sample.label));
    }
    if sample.group != sample.id {
        out += &format!("<br>patient {}", text(&sample.group));
    }
    out + "</figcaption></figure>"
}

/// Finds samples again by part and id.
struct Pictures<'a> {
    parts: &'a [Part],
    places: HashMap<(&'a str, String), (usize, usize)>,
}

impl<'a> Pictures<'a> {
    fn new(parts: &'a [Part]) -> Self {
        let mut places = HashMap::new();
        for (number, part) in parts.iter().enumerate() {
            if let Content::Pictures(dataset) = &part.content {
                for index in 0..dataset.len() {
                    if let Ok(record) = dataset.record(index) {
                        places.insert((part.name.as_str(), record.id), (number, index));
                    }
                }
            }
        }
        Self { parts, places }
    }

    /// A small PNG in base 64, where there is a picture that can be read.
    fn of(&self, sample: &SampleRef) -> Option<String> {
        let (number, index) = self.places.get(&(sample.part.as_str(), sample.id.clone()))?;
        let Content::Pictures(dataset) = &self.parts.get(*number)?.content else { return None };
        let image = thumbnail(dataset.as_ref(), *index, SIDE).ok()?;
        Some(BASE64.encode(&encode_png(&image).ok()?))
    }
}

/// One table per subgroup column: rows are parts and values, columns are labels.
fn prevalence(rows: &[Prevalence]) -> String {
    let column = |row: &Prevalence| row.subgroup.as_ref().map(|(column, _)| column.clone());
    let mut out = String::new();
    for table in rows.chunk_by(|a, b| column(a) == column(b)) {
        let mut labels: Vec<&str> = Vec::new();
        for row in table {
            if !labels.contains(&row.label.as_str()) {
                labels.push(&row.label);
            }
        }
        let by = table.first().and_then(column);
        let title = by.map_or_else(|| "Labels".into(), |by| format!("Labels by {}", text(&by)));
        out += &format!("<h2>{title}</h2><div class=\"scroll\"><table><tr><th></th>");
        for label in &labels {
            let _ = write!(out, "<th class=\"number\">{}</th>", text(label));
        }
        out += "</tr>";
        for line in table.chunk_by(|a, b| (&a.part, &a.subgroup) == (&b.part, &b.subgroup)) {
            out += &prevalence_line(line, &labels);
        }
        out += "</table></div>";
    }
    out
}

fn prevalence_line(line: &[Prevalence], labels: &[&str]) -> String {
    let name = line.first().map(|row| match &row.subgroup {
        Some((_, value)) => format!("{}, {value}", row.part),
        None => row.part.clone(),
    });
    let mut out = format!("<tr><td>{}</td>", text(&name.unwrap_or_default()));
    for label in labels {
        out += "<td class=\"number\">";
        if let Some(row) = line.iter().find(|row| row.label == *label) {
            let share = 100.0 * row.present as f64 / row.known.max(1) as f64;
            let _ = write!(out, "{} <span class=\"soft\">{share:.1} %</span>", row.present);
        }
        out += "</td>";
    }
    out + "</tr>"
}
