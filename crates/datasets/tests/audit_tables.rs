//! The audit: data against tables, and the tables themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use common::audit::{details, kinds, list, names, run};
use vit_datasets::audit::{
    Audit, AuditOptions, AuditReport, FileList, FindingKind, ListLabels, ListOptions, Severity,
};

/// A table of files and classes.
fn classes(rows: &[(&str, &str)]) -> FileList {
    let rows = rows.iter().map(|(file, class)| format!("{file},{class}\n"));
    list(&format!("file,class\n{}", rows.collect::<String>()), &names("file", "class"))
}

fn columns(text: &str, labels: &[&str]) -> FileList {
    let labels = ListLabels::Columns(labels.iter().map(|&name| name.to_owned()).collect());
    list(text, &ListOptions { labels, ..ListOptions::new("file") })
}

fn against(train: FileList, master: FileList) -> AuditReport {
    run(&Audit::new(AuditOptions::default()).list("train", train).master(master))
}

#[test]
fn a_master_table_is_matched_by_path() {
    // CheXpert: every patient has a file of this name.
    let view = |patient: &str| format!("{patient}/study1/view1_frontal.jpg");
    let (one, two) = (view("patient1"), view("patient2"));
    let train = || classes(&[(&one, "sick"), (&two, "well")]);
    let small = |path: &str| format!("CheXpert-v1.0-small/train/{path}");
    let right = classes(&[(&small(&one), "sick"), (&small(&two), "well")]);
    assert_eq!(kinds(&against(train(), right)), []);
    // Swapped: by name alone, one row would agree.
    let report = against(train(), classes(&[(&small(&one), "well"), (&small(&two), "sick")]));
    assert_eq!(
        details(&report, FindingKind::LabelDisagreement),
        [
            format!("train: {one} is 'sick', in the master table 'well'"),
            format!("train: {two} is 'well', in the master table 'sick'")
        ]
    );
    let report = against(train(), classes(&[(&one, "sick"), (&view("patient3"), "well")]));
    let expected = [format!("train: {two} is not in the master table")];
    assert_eq!(details(&report, FindingKind::NotInMaster), expected);
    assert_eq!(kinds(&report), [FindingKind::NotInMaster], "{report}");
}

#[test]
fn a_name_that_may_be_several_rows_is_told() {
    let rows = [("a/x.png", "sick"), ("b/x.png", "well"), ("c/y.png", "sick")];
    let report = against(classes(&[("x.png", "ill"), ("y", "sick")]), classes(&rows));
    let expected = ["train: x.png may be 'a/x.png' or 'b/x.png'; its label was not compared"];
    assert_eq!(details(&report, FindingKind::AmbiguousName), expected);
    assert_eq!(kinds(&report), [FindingKind::AmbiguousName], "{report}");
    // The table has one row for two files.
    let report = against(classes(&rows), classes(&[("x.png", "sick"), ("y.png", "sick")]));
    let expected =
        ["train: a/x.png may be 'x.png', which several files end in; its label was not compared"];
    assert_eq!(details(&report, FindingKind::AmbiguousName), expected);
    assert_eq!(report.of(FindingKind::AmbiguousName).next().unwrap().samples.len(), 2);
    assert_eq!(report.worst(), Some(Severity::Warning));
    // The folder of the class says which row is meant, on either side.
    let folders = || classes(&[("sick/x.png", "sick"), ("well/x.png", "well")]);
    let bare = || classes(&[("x.png", "sick"), ("x.png", "well")]);
    for (train, master) in [(folders(), bare()), (bare(), folders())] {
        let report = against(train, master);
        assert_eq!(kinds(&report), [FindingKind::NameInClasses], "{report}");
    }
    // The folder of a split is no part of the name, but for names that are in two of them.
    let master = || classes(&[("train/x.png", "sick"), ("test/x.png", "well")]);
    let report = against(classes(&[("train/x.png", "well")]), master());
    assert_eq!(report.of(FindingKind::LabelDisagreement).count(), 1, "{report}");
    assert_eq!(kinds(&against(classes(&[("all/train/x.png", "sick")]), master())), []);
}

#[test]
fn labels_are_compared_where_both_sides_know_them() {
    let separated = ListLabels::Names { column: "labels".into(), separator: Some('|') };
    let separated = ListOptions { labels: separated, ..ListOptions::new("file") };
    let master = || list("file,labels\na,Mass|Hernia\nb,Edema\nc,Nodule\n", &separated);
    // The columns do not tell of hernias and nodules; what is unknown cannot differ.
    let train = || columns("file,Edema,Mass\na,0,1\nb,-1,\nc,0,0\n", &["Edema", "Mass"]);
    assert_eq!(kinds(&against(train(), master())), []);
    assert_eq!(kinds(&against(master(), train())), []);
    let wrong = columns("file,Edema,Mass\na,0,0\nb,1,1\n", &["Edema", "Mass"]);
    let report = against(wrong, master());
    let expected = [
        "train: a is '', in the master table 'Hernia|Mass'",
        "train: b is 'Edema|Mass', in the master table 'Edema'",
    ];
    assert_eq!(details(&report, FindingKind::LabelDisagreement), expected);
    // Labels that no spelling has in common are compared with nothing.
    let report = against(columns("file,mass\na,1\n", &["mass"]), train());
    let expected =
        ["train and the master table have no label in common: 'mass' and 'Edema', 'Mass'"];
    assert_eq!(details(&report, FindingKind::LabelDisagreement), expected);
    // No labels, nothing to compare.
    let bare = list("file\na\nb\n", &ListOptions::new("file"));
    assert_eq!(kinds(&against(bare, master())), []);
    // One class excludes the others, whether the other side knows them or not.
    let report = against(classes(&[("a.png", "Polyp")]), classes(&[("a.png", "Ulcer")]));
    assert!(report.of(FindingKind::LabelDisagreement).count() > 0, "{report}");
}
