//! The audit: which names are the same file or the same patient.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::sync::Arc;

use common::audit::{details, kinds, list, names, run};
use vit_datasets::audit::{Audit, AuditOptions, FileList, FindingKind, ListLabels, ListOptions};
use vit_datasets::{CsvOptions, CsvTable, Dataset, Subset};

fn pairs(files: &[(&str, &str, &str)]) -> FileList {
    let rows = files.iter().map(|(file, label, patient)| format!("{file},{label},{patient}\n"));
    let text = format!("file,class,patient\n{}", rows.collect::<String>());
    list(&text, &ListOptions { group: Some("patient".into()), ..names("file", "class") })
}

#[test]
fn the_same_name_in_other_folders_is_another_file() {
    let audit = |train: &[(&str, &str, &str)], test: &[(&str, &str, &str)]| {
        run(&Audit::new(AuditOptions::default())
            .list("train", pairs(train))
            .list("test", pairs(test)))
    };
    let train = [("p1/s1/view1.jpg", "sick", "1"), ("p2/s1/view1.jpg", "well", "2")];
    let report = audit(&train, &[("p3/s1/view1.jpg", "sick", "3")]);
    assert_eq!(kinds(&report), [], "{report}");
    // One path ends in the other.
    let report = audit(&train, &[("data/p2/s1/view1.jpg", "well", "4")]);
    assert_eq!(details(&report, FindingKind::SharedFile), ["'view1.jpg' (well) is in train, test"]);
    // A bare name that only one file has, and one that several have.
    let report = audit(&[("a/x.jpg", "sick", "1")], &[("x.jpg", "sick", "2")]);
    assert_eq!(report.of(FindingKind::SharedFile).count(), 1, "{report}");
    let report = audit(&train, &[("view1.jpg", "sick", "3")]);
    assert_eq!(report.of(FindingKind::SharedFile).count(), 0, "{report}");
    // The folder of the class does not make another name of it.
    let report = audit(&[("A/x.jpg", "A", "1"), ("B/x.jpg", "B", "2")], &[("x.jpg", "B", "3")]);
    assert_eq!(report.of(FindingKind::NameInClasses).count(), 1, "{report}");
    assert_eq!(details(&report, FindingKind::SharedFile), ["'x.jpg' (B) is in train, test"]);
}

#[test]
fn patients_written_in_another_way_or_not_at_all() {
    let train = pairs(&[("a", "x", "00000001"), ("b", "x", ""), ("c", "x", "p2"), ("d", "x", "7")]);
    let test = pairs(&[("e", "x", "1"), ("f", "x", ""), ("g", "x", "P2"), ("h", "x", "70")]);
    let report = run(&Audit::new(AuditOptions::default()).list("train", train).list("test", test));
    assert_eq!(report.of(FindingKind::SharedGroup).count(), 0, "{report}");
    let expected =
        ["patients '00000001', '1' in train, test", "patients 'P2', 'p2' in train, test"];
    assert_eq!(details(&report, FindingKind::SimilarGroup), expected);
}

#[test]
fn different_pictures_of_one_name_are_no_shared_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let open = |part: &str, files: &[(&str, u8)]| -> Arc<dyn Dataset> {
        for (file, value) in files {
            common::write_png(&root.join(part).join(file), *value);
        }
        let table = root.join(format!("{part}.csv"));
        let rows = files.iter().map(|(file, _)| format!("{file}\n")).collect::<String>();
        std::fs::write(&table, format!("file\n{rows}")).unwrap();
        let options = CsvOptions::new(root.join(part), "file");
        Arc::new(CsvTable::open(&table, &options).unwrap())
    };
    let shared = |train, test| {
        let audit = Audit::new(AuditOptions::default()).part("train", train).part("test", test);
        run(&audit).of(FindingKind::SharedFile).count()
    };
    // The equal pair lies within one part.
    let once = open("train", &[("x.png", 9)]);
    let twice: Arc<dyn Dataset> = Arc::new(Subset::new(once, vec![0, 0]).unwrap());
    assert_eq!(shared(Arc::clone(&twice), open("test", &[("x.png", 90)])), 0);
    assert_eq!(shared(twice, open("same", &[("x.png", 9)])), 1);
    // Nothing is known of what cannot be read.
    let gone = |part: &str| {
        let data = open(part, &[("y.png", 1)]);
        std::fs::remove_file(root.join(part).join("y.png")).unwrap();
        data
    };
    assert_eq!(shared(gone("gone"), gone("lost")), 0);
}

#[test]
fn no_finding_is_the_empty_set() {
    let separated = ListLabels::Names { column: "labels".into(), separator: Some('|') };
    let master = ListOptions { labels: separated, ..ListOptions::new("file") };
    let master = list("file,labels\na,No Finding\nb,Mass\n", &master);
    let columns = ListLabels::Columns(vec!["Edema".into(), "Mass".into()]);
    let columns = ListOptions { labels: columns, ..ListOptions::new("file") };
    let part = list("file,Edema,Mass\na,0,0\nb,0,0\n", &columns);
    let report = run(&Audit::new(AuditOptions::default()).list("train", part).master(master));
    let expected = ["train: b is '', in the master table 'Mass'"];
    assert_eq!(details(&report, FindingKind::LabelDisagreement), expected);
}
