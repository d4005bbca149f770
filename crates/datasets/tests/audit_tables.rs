//! The audit: data against tables, and the tables themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::io::Write;
use std::sync::Arc;

use common::Toy;
use common::audit::{details, kinds, list, names, run};
use vit_datasets::audit::{
    Attributes, Audit, AuditOptions, AuditReport, FileList, FindingKind, ListLabels, ListOptions,
    Severity,
};
use vit_datasets::{
    CsvOptions, CsvTable, Dataset, Error, OnMissing, Phantom, PhantomConfig, Target, Task,
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
    let expected = ["train: a/x.png may be 'x.png', as may others; its label was not compared"];
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

/// Such as those of MedMNIST: a table of file names would be compared with nothing.
#[test]
fn samples_without_files_are_in_no_master_table() {
    let data = Arc::new(Toy::unlabelled(3));
    let options = AuditOptions { pictures: false, ..Default::default() };
    let report = run(&Audit::new(options).part("all", data).master(classes(&[("0.png", "x")])));
    let expected = ["all: no sample has a file, so that none is in the master table"];
    assert_eq!(details(&report, FindingKind::NotInMaster), expected);
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

#[test]
fn ages_and_subgroups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("patients.csv");
    let text = "\u{feff}patient,age,sex\ng0,058Y,F\ng1,412,M\ng2,-1,F\ng3,old,M\ng4,11M,\n";
    std::fs::write(&path, text).unwrap();
    let task = Task::SingleLabel { classes: vec!["no".into(), "yes".into()] };
    let rows = (0..6).map(|i| (format!("g{i}"), Target::Class(i % 2)));
    let options = AuditOptions {
        age: Some("age".into()),
        subgroups: vec!["sex".into()],
        pictures: false,
        ..Default::default()
    };
    let attributes = Attributes::read(&path, "patient", ',').unwrap();
    let audit = |options| {
        Audit::new(options)
            .part("all", Arc::new(Toy::new(task.clone(), rows.clone())))
            .attributes(attributes.clone())
    };
    let report = run(&audit(options.clone()));
    let found = details(&report, FindingKind::ImpossibleAge);
    assert_eq!(
        found,
        ["all: toy/1: age is '412'", "all: toy/2: age is '-1'", "all: toy/3: age is 'old'"]
    );
    let rows: Vec<_> = report
        .prevalence
        .iter()
        .filter(|row| row.subgroup.is_some() && row.label == "yes")
        .map(|row| (row.subgroup.clone().unwrap().1, row.present, row.known))
        .collect();
    let expected = [("F", 0, 2), ("M", 2, 2), ("unknown", 1, 2)];
    assert_eq!(rows, expected.map(|(value, present, known)| (value.to_owned(), present, known)));
    let wrong = AuditOptions { age: Some("Age".into()), ..options.clone() };
    let error = audit(wrong).run(&|_, _| {}).unwrap_err();
    assert!(matches!(&error, Error::Column { column, .. } if column == "Age"), "{error}");
}

#[test]
fn ages_and_subgroups_that_the_data_tell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, "file,age,sex\na.png,412,f\nb.png,40,m\nc.png,,m\n").unwrap();
    let mut options = CsvOptions::new(folder.path(), "file");
    (options.attribute_columns, options.missing) = (vec!["*".into()], OnMissing::Unchecked);
    let data = CsvTable::open(&path, &options).unwrap();
    // Others may tell nothing.
    let nothing = Phantom::new(PhantomConfig { len: 1, ..Default::default() }).unwrap();
    let options = AuditOptions {
        age: Some("age".into()),
        subgroups: vec!["sex".into()],
        pictures: false,
        ..Default::default()
    };
    let report = run(&Audit::new(options).part("all", Arc::new(data)).part("b", Arc::new(nothing)));
    assert_eq!(details(&report, FindingKind::ImpossibleAge), ["all: a.png: age is '412'"]);
    let rows = report.prevalence.iter().filter(|row| row.part == "all");
    let rows = rows.filter_map(|row| Some((row.subgroup.clone()?.1, row.known)));
    assert_eq!(rows.collect::<Vec<_>>(), [("f".to_owned(), 1), ("m".to_owned(), 2)]);
}

/// A table with the ages of files, whose labels are of no interest.
fn aged(folder: &std::path::Path, name: &str, rows: &str) -> Arc<dyn Dataset> {
    let path = folder.join(name);
    std::fs::write(&path, format!("file,age\n{rows}")).unwrap();
    let mut options = CsvOptions::new(folder, "file");
    (options.attribute_columns, options.missing) = (vec!["*".into()], OnMissing::Unchecked);
    Arc::new(CsvTable::open(&path, &options).unwrap())
}

fn with_ages() -> AuditOptions {
    AuditOptions { age: Some("age".into()), pictures: false, ..Default::default() }
}

/// Two hospitals may both have a file `1.png`.
#[test]
fn parts_with_equal_ids_have_attributes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let train = aged(folder.path(), "train.csv", "1.png,40\n2.png,300\n");
    let test = aged(folder.path(), "test.csv", "1.png,400\n2.png,50\n");
    let report = run(&Audit::new(with_ages()).part("train", train).part("test", test));
    let expected = ["train: 2.png: age is '300'", "test: 1.png: age is '400'"];
    assert_eq!(details(&report, FindingKind::ImpossibleAge), expected);
}

#[test]
fn attribute_tables_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ages.csv");
    let audit = |text: &str, files: &[(&str, &str)]| {
        std::fs::write(&path, text).unwrap();
        let table = Attributes::read(&path, "key", ',').unwrap();
        Audit::new(with_ages()).list("train", classes(files)).attributes(table).run(&|_, _| {})
    };
    let files = [("p1/view1.jpg", "x"), ("p2/view1.jpg", "x"), ("p3/view2.jpg", "x")];
    // By patient, but the data do not know patients.
    let report = audit("key,age\n1,40\n2,50\n", &files).unwrap();
    let [unused] = details(&report, FindingKind::AttributesUnused)[..] else { panic!("{report}") };
    assert!(unused.starts_with("ages.csv: none of 3 samples is in it: column 'key' has '1'"));
    assert_eq!(report.worst(), Some(Severity::Error));
    // Some are there.
    let report = audit("key,age\ndata/p1/view1.jpg,200\n", &files).unwrap();
    let expected = ["train: 2 of 3 samples are not in ages.csv; the first is p2/view1.jpg"];
    assert_eq!(details(&report, FindingKind::AttributesMissing), expected);
    let expected = ["train: p1/view1.jpg: age is '200'"];
    assert_eq!(details(&report, FindingKind::ImpossibleAge), expected);
    // One row for several files is taken for none of them.
    let report = audit("key,age\nview1.jpg,200\nview2,300\n", &files).unwrap();
    let unclear = details(&report, FindingKind::AmbiguousName);
    assert_eq!(unclear.len(), 1, "{report}");
    assert!(unclear[0].contains("may be ages.csv's 'view1.jpg', as may others"), "{report}");
    let expected = ["train: p3/view2.jpg: age is '300'"];
    assert_eq!(details(&report, FindingKind::ImpossibleAge), expected);
    // Rows that contradict each other, and rows that do not.
    let rows = "p1/view1,40\np2/view1,50\np3/view2,60\np2/view1,";
    let error = audit(&format!("key,age\n{rows}51\n"), &files).unwrap_err().to_string();
    assert!(error.contains("line 5") && error.contains("'51', but '50' in line 3"), "{error}");
    assert_eq!(kinds(&audit(&format!("key,age\n{rows}50\n"), &files).unwrap()), []);
    std::fs::write(&path, "key,age,age\n").unwrap();
    assert!(matches!(Attributes::read(&path, "key", ','), Err(Error::Header { .. })));
}

#[test]
fn tables_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    let read = |text: &[u8], options: &ListOptions| {
        std::fs::write(&path, text).unwrap();
        FileList::read(&path, options).unwrap_err().to_string()
    };
    let plain = ListOptions::new("file");
    assert!(read(b"name,x\na,1\n", &plain).contains("no column 'file'"));
    assert!(read(b"file,x\na,1,2\n", &plain).contains("line 2"));
    assert!(read(b"file,x\n,1\n", &plain).contains("column 'file' is empty"));
    assert!(read(b"file,x\n\xff\xfe,1\n", &plain).contains("line 2"));
    let columns = ListOptions { labels: ListLabels::Columns(vec!["x".into()]), ..plain.clone() };
    for value in ["yes", "2", "0.7", "-2", "NaN", "inf"] {
        let message = read(format!("file,x\nb,1.0\na,{value}\n").as_bytes(), &columns);
        let expected = format!("list.csv, line 3, column 'x': label '{value}' is not one of 1, 0");
        assert!(message.contains(&expected), "{message}");
    }
    let twice = ListOptions { labels: ListLabels::Columns(vec!["x".into(); 2]), ..plain.clone() };
    assert!(read(b"file,x\na,1\n", &twice).contains("column 'x' is named twice"));
    assert!(read(b"file,x,file\na,1,b\n", &plain).contains("'file' stands twice in the header"));
    assert!(read(b"file,x\n", &plain).contains("no rows to use"));
    let test = Some(("x".to_owned(), "test".to_owned()));
    let none = ListOptions { filter: test, ..plain.clone() };
    assert!(read(b"file,x\na,train\n", &none).contains("no rows to use"));
    let wide = ListOptions { delimiter: '→', ..plain.clone() };
    assert!(read(b"file\n", &wide).contains("not ASCII"));
    let quote = ListOptions { delimiter: '"', ..plain.clone() };
    assert!(read(b"file\n", &quote).contains("cannot stand between"));
    std::fs::write(&path, b"\xef\xbb\xbffile,x\r\n a.png ,1\r\n").unwrap();
    assert_eq!(FileList::read(&path, &plain).unwrap().len(), 1);
    // Packed, as MIMIC's tables are.
    let packed = std::fs::File::create(&path).unwrap();
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
    packed.write_all(b"file,x\na.png,1\nb.png,0\n").unwrap();
    packed.finish().unwrap();
    assert_eq!(FileList::read(&path, &columns).unwrap().len(), 2);
    let absent = folder.path().join("absent.csv");
    assert!(matches!(FileList::read(&absent, &plain), Err(Error::Io { .. })));
}
