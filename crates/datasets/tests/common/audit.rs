//! Short ways to make and read audits.

use vit_datasets::audit::{Audit, AuditReport, FileList, FindingKind, ListLabels, ListOptions};

pub(crate) fn run(audit: &Audit) -> AuditReport {
    audit.run(&|_, _| {}).unwrap()
}

pub(crate) fn details(report: &AuditReport, kind: FindingKind) -> Vec<&str> {
    report.of(kind).map(|finding| finding.detail.as_str()).collect()
}

/// Kinds of the findings but for the remark on missing patients.
pub(crate) fn kinds(report: &AuditReport) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds.retain(|kind| *kind != FindingKind::NoGroups);
    kinds
}

pub(crate) fn names(file: &str, class: &str) -> ListOptions {
    let labels = ListLabels::Names { column: class.into(), separator: None };
    ListOptions { labels, ..ListOptions::new(file) }
}

pub(crate) fn list(text: &str, options: &ListOptions) -> FileList {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    std::fs::write(&path, text).unwrap();
    FileList::read(&path, options).unwrap()
}
