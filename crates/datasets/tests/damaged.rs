//! Damaged and hostile tables and folders: a clear error that names file and row, never a panic.
//! The table of `docs/datasets.md` lists these cases with their messages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::io::Write;
use std::path::Path;

use common::write_png;
use vit_datasets::{
    CsvLabels, CsvOptions, CsvTable, Dataset, Error, FileOptions, ListPart, OnMissing, PathList,
    Result, XrayList, XrayListKind,
};

const TABLE: &str = "file,finding,who\na.png,1,p1\nsub/c.png,0,p2\n";

/// A folder `data` with pictures, and one picture beside it that nothing may reach.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data/a.png", "data/sub/c.png", "secret/s.png"] {
        write_png(&folder.path().join(name), 5);
    }
    folder
}

fn options(root: &Path) -> CsvOptions {
    let mut options = CsvOptions::new(root, "file");
    options.labels = CsvLabels::Multi { columns: vec!["finding".into()] };
    options.group_column = Some("who".into());
    options
}

fn open(folder: &Path, bytes: &[u8]) -> Result<CsvTable> {
    let table = folder.join("table.csv");
    std::fs::write(&table, bytes).unwrap();
    CsvTable::open(&table, &options(&folder.join("data")))
}

#[test]
fn what_does_no_harm() {
    let folder = folder();
    let crlf = TABLE.replace('\n', "\r\n");
    let marked = format!("\u{feff}{TABLE}");
    let blanks = TABLE.replace(',', " , ") + "\n\n";
    let quoted = TABLE.replace("file,", "\"file\",").replace("a.png", "\"a.png\"");
    for text in [TABLE, &crlf, &marked, &blanks, &quoted, TABLE.trim_end()] {
        let data = open(folder.path(), text.as_bytes()).unwrap();
        assert_eq!((data.len(), data.record(1).unwrap().group), (2, "p2".into()), "{text}");
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(crlf.as_bytes()).unwrap();
    assert_eq!(open(folder.path(), &packed.finish().unwrap()).unwrap().len(), 2);
}

/// Name of the damage as in the docs, what the table holds, and the message without the path.
fn damages() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let change = |from: &str, to: &str| TABLE.replacen(from, to, 1).into_bytes();
    let raw = |from: &str, byte: u8| {
        let at = TABLE.find(from).unwrap();
        let mut bytes = TABLE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes
    };
    let mut cut = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    cut.write_all(TABLE.as_bytes()).unwrap();
    let mut cut = cut.finish().unwrap();
    cut.truncate(cut.len() / 2);
    vec![
        ("empty table", Vec::new(), "there is none"),
        ("only a header", b"file,finding,who\n".to_vec(), "holds no rows to use"),
        ("column twice", change("who", "file"), "column 'file' stands twice in the header"),
        (
            "column missing",
            change("who", "whom"),
            "has no column 'who'; it has file, finding, whom",
        ),
        (
            "row cut short",
            change("sub/c.png,0,p2\n", "sub/c.p"),
            "line 3: 1 cell(s), but the header has 3",
        ),
        ("row too long", change("p2", "p2,x"), "line 3: 4 cell(s), but the header has 3"),
        ("header not UTF-8", raw("finding", 0xff), "line 1, column 2: the text is not UTF-8"),
        ("cell not UTF-8", raw("p2", 0xe9), "line 3, column 'who': the text is not UTF-8"),
        ("packed table cut short", cut, "cannot read"),
        ("file twice", change("sub/c.png", "./a.png"), "line 3: file 'a.png' is already in line 2"),
        ("no file name", change("a.png", ""), "line 2: column 'file' has no file name"),
        ("no patient", change("p1", ""), "line 2: the group (patient) is empty"),
        (
            "file that is not there",
            change("a.png", "b.png"),
            "names 1 file(s) that do not exist; the first, in line 2",
        ),
        ("folder for a file", change("a.png", "sub"), "names 1 file(s) that do not exist"),
        (
            "path that climbs out",
            change("a.png", "../secret/s.png"),
            "line 2: '../secret/s.png' is not a path below the root",
        ),
        (
            "path that climbs in between",
            change("a.png", "sub/../../secret/s.png"),
            "is not a path below the root",
        ),
        (
            "absolute path",
            change("a.png", "/etc/passwd"),
            "'/etc/passwd' is not a path below the root",
        ),
        ("backslash in a path", change("sub/c.png", "sub\\c.png"), "is not a path below the root"),
        ("zero byte in a path", change("a.png", "a\0.png"), "is not a path below the root"),
        (
            "label out of range",
            change(",1,", ",2,"),
            "line 2, column 'finding': label '2' is not one of",
        ),
        (
            "label that is no number",
            change(",1,", ",yes,"),
            "column 'finding': label 'yes' is not one of",
        ),
        ("label not finite", change(",1,", ",NaN,"), "column 'finding': label 'NaN' is not one of"),
    ]
}

#[test]
fn every_damage_has_its_message() {
    let folder = folder();
    for (name, bytes, words) in damages() {
        let message = open(folder.path(), &bytes).unwrap_err().to_string();
        assert!(message.contains("table.csv"), "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }
    assert!(matches!(
        CsvTable::open(folder.path(), &options(folder.path())),
        Err(Error::Io { .. })
    ));
}

#[test]
fn the_docs_list_every_damage() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/datasets.md");
    // A packaged crate comes without the workspace's docs.
    let Ok(text) = std::fs::read_to_string(docs) else { return };
    for (name, _, words) in damages() {
        let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("docs/datasets.md does not list '{name}'"));
        assert!(row.contains(words), "{row}");
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_and_links_that_do_not() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let data = folder.path().join("data");
    symlink(folder.path().join("secret/s.png"), data.join("out.png")).unwrap();
    symlink(folder.path().join("secret"), data.join("away")).unwrap();
    symlink("a.png", data.join("in.png")).unwrap();
    symlink("sub", data.join("near")).unwrap();
    symlink("nothing.png", data.join("broken.png")).unwrap();
    for (name, fine) in
        [("in.png", true), ("near/c.png", true), ("out.png", false), ("away/s.png", false)]
    {
        let table = TABLE.replace("a.png", name);
        let result = open(folder.path(), table.as_bytes());
        if fine {
            assert_eq!(result.unwrap().get(0).unwrap().image, common::grey(6, 4, 5), "{name}");
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Outside { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        // Without the look at the files, reading finds it.
        let path = folder.path().join("table.csv");
        let unchecked =
            CsvOptions { missing: OnMissing::Unchecked, ..options(&folder.path().join("data")) };
        let data = CsvTable::open(&path, &unchecked).unwrap();
        assert!(matches!(data.get(0), Err(Error::Outside { .. })), "{name}");
        assert!(data.get(1).is_ok());
    }
    let error = open(folder.path(), TABLE.replace("a.png", "broken.png").as_bytes()).unwrap_err();
    assert!(matches!(error, Error::MissingFiles { .. }), "{error}");
    // The root itself may be a link.
    symlink(&data, folder.path().join("link")).unwrap();
    std::fs::write(folder.path().join("table.csv"), TABLE).unwrap();
    let through = options(&folder.path().join("link"));
    assert_eq!(CsvTable::open(&folder.path().join("table.csv"), &through).unwrap().len(), 2);
}

#[test]
fn a_root_that_is_none() {
    let folder = folder();
    std::fs::write(folder.path().join("table.csv"), TABLE).unwrap();
    for root in ["absent", "table.csv"] {
        let result =
            CsvTable::open(&folder.path().join("table.csv"), &options(&folder.path().join(root)));
        assert!(result.unwrap_err().to_string().contains(root));
    }
}

/// Cut anywhere and changed anywhere: an error or a data set, never a panic.
#[test]
fn tables_cut_or_changed_anywhere() {
    let folder = folder();
    let list = "a.png 1\nsub/c.png 0\n";
    let path = folder.path().join("list.txt");
    let root = folder.path().join("data");
    let read = |data: Result<CsvTable>| {
        if let Ok(data) = data {
            for index in 0..data.len() {
                data.get(index).unwrap();
            }
        }
    };
    let read_list = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let _ = PathList::new(&root, &path).open();
        let _ = XrayList::new(&root, &path, XrayListKind::Rsna, ListPart::Val).open();
    };
    for length in 0..TABLE.len() {
        read(open(folder.path(), &TABLE.as_bytes()[..length]));
    }
    for length in 0..list.len() {
        read_list(&list.as_bytes()[..length]);
    }
    for value in [0x00, 0x0a, 0x22, 0x2c, 0x2e, 0x2f, 0x80, 0xff] {
        for position in 0..TABLE.len() {
            let mut bytes = TABLE.as_bytes().to_vec();
            bytes[position] = value;
            read(open(folder.path(), &bytes));
        }
        for position in 0..list.len() {
            let mut bytes = list.as_bytes().to_vec();
            bytes[position] = value;
            read_list(&bytes);
        }
    }
}

#[test]
fn lists_with_marks_line_ends_and_bytes_that_are_no_text() {
    let folder = folder();
    let path = folder.path().join("list.txt");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let files = FileOptions::default();
        PathList { files, ..PathList::new(folder.path().join("data"), &path) }.open()
    };
    for text in [
        "a.png 1\nsub/c.png 0\n",
        "\u{feff}a.png 1\r\nsub/c.png 0 \r\n\r\n",
        "a.png\t1\n\nsub/c.png  0",
    ] {
        assert_eq!(open(text.as_bytes()).unwrap().len(), 2, "{text:?}");
    }
    for (bytes, words) in [
        (&b"a.png 1\nsub/\xff.png 0\n"[..], "list.txt, line 2, column 1: the text is not UTF-8"),
        (b"a.png 1\nsub/c.png \xff\n", "line 2, column 1: the text is not UTF-8"),
        (b"a.png 1\na.png 1\n", "line 2: file 'a.png' is already in line 1"),
        (b"a.png 1\nb.png 1\n", "names 1 file(s) that do not exist; the first, in line 2"),
        (
            b"a.png 1 \n../secret/s.png 1\n",
            "line 2: '../secret/s.png' is not a path below the root",
        ),
        (b"a.png 99999999999999999999\n", "line 1: label '99999999999999999999' is not one of"),
        (b"", "holds no rows to use"),
    ] {
        let message = open(bytes).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
