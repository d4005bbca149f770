//! The audit: on real data, and every kind of finding on made-up data.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::audit::{details, kinds, list, names, run};
use common::{Toy, grey};
use vit_datasets::audit::{
    Audit, AuditOptions, AuditReport, FileList, FindingKind, ListLabels, ListOptions, Severity,
};
use vit_datasets::{
    Dataset, Error, GroupRule, ImageFolder, ImageFolderOptions, InMemory, MedMnist, Phantom,
    PhantomConfig, Split, Subset, Target, Task,
};
use vit_random::Streams;
use vit_transforms::{Filter, Image, Pixels, Resize, ResizeSize, Transform, encode_png};

#[test]
fn gastrovision_names_that_collide() {
    let Some(root) = common::data("endoscopy") else { return };
    let read = |name: &str| FileList::read(&root.join(name), &names("Filename", "Class")).unwrap();
    let mut official = Audit::new(AuditOptions::default());
    for (split, count) in [("train", 4757), ("validate", 1587), ("test", 1586)] {
        let list = read(&format!("gastrovision_{split}.csv"));
        assert_eq!(list.len(), count);
        official = official.list(split, list);
    }
    let official = official.master(read("gastrovision_GastroVision_metadata.csv"));
    let report = run(&official);
    assert_eq!(report.of(FindingKind::NameInClasses).count(), 24);
    let most = report.of(FindingKind::NameInClasses).find(|f| f.detail.contains("'100H0003.jpg'"));
    assert_eq!(most.unwrap().samples.len(), 5);
    // The key (class, name) is in one split only, and every row is in the table of all pictures.
    assert_eq!(kinds(&report), [FindingKind::NameInClasses], "{report}");
    assert_eq!(report.prevalence.len(), 3 * 22);

    let metadata = read("gastrovision_GastroVision_metadata.csv");
    let report = run(&Audit::new(AuditOptions::default()).list("all", metadata));
    assert_eq!(report.of(FindingKind::NameInClasses).count(), 27);
    let most = report.of(FindingKind::NameInClasses).find(|f| f.detail.contains("'100H0003.jpg'"));
    assert_eq!(most.unwrap().samples.len(), 7);
}

#[test]
fn hyperkvasir_folds_share_nothing() {
    let Some(root) = common::data("endoscopy") else { return };
    let mut audit = Audit::new(AuditOptions::default());
    for fold in ["0", "1"] {
        let mut options = names("file-name", "class-name");
        options.delimiter = ';';
        options.filter = Some(("split-index".into(), fold.into()));
        let path = root.join("hyperkvasir_2_fold_split.csv");
        audit = audit.list(fold, FileList::read(&path, &options).unwrap());
    }
    let report = run(&audit);
    let sizes: Vec<_> = report.parts.iter().map(|part| part.samples).collect();
    assert_eq!((sizes, kinds(&report)), (vec![5324, 5338], vec![]));
}

fn medmnist(path: &Path) -> Audit {
    let open = |audit: Audit, split: Split| {
        audit.part(split.name(), Arc::new(MedMnist::open(path, split).unwrap()))
    };
    Split::ALL.into_iter().fold(Audit::new(AuditOptions::default()), open)
}

#[test]
fn medmnist_pictures_in_two_splits() {
    let Some(root) = common::data("medmnist") else { return };
    for (name, count, splits) in
        [("pneumoniamnist.npz", 8, ["train", "val"]), ("breastmnist.npz", 1, ["train", "test"])]
    {
        let report = run(&medmnist(&root.join(name)));
        let found: Vec<_> = report.of(FindingKind::DuplicateAcross).collect();
        assert_eq!(found.len(), count, "{name}");
        for finding in found {
            let mut parts: Vec<&str> = finding.samples.iter().map(|s| s.part.as_str()).collect();
            parts.dedup();
            assert_eq!(parts, splits, "{}", finding.detail);
        }
        assert_eq!(report.worst(), Some(Severity::Error));
        assert_eq!(report.of(FindingKind::NoGroups).count(), 3);
    }
}

/// The split's folder is no part of a name, and neither is that of the class.
#[test]
fn bccd_names_in_several_classes() {
    let Some(root) = common::data("bccd-cells") else { return };
    let options = AuditOptions { pictures: false, ..Default::default() };
    let open = |audit: Audit, split: Split| {
        let options = ImageFolderOptions { split: Some(split), ..Default::default() };
        audit.part(split.name(), Arc::new(ImageFolder::open(&root, &options).unwrap()))
    };
    let report = run(&Split::ALL.into_iter().fold(Audit::new(options), open));
    assert_eq!(report.of(FindingKind::NameInClasses).count(), 410);
}

fn resized(image: Image, side: usize) -> Image {
    let size = ResizeSize::Exact { height: side, width: side };
    let mut unused = Streams::new(0).stream("", 0, 0);
    Resize { size, filter: Filter::Bilinear }.apply(image, &mut unused).unwrap()
}

fn brightened(image: &Image) -> Image {
    let Pixels::U8(values) = image.pixels() else { panic!("8 bits") };
    let values = values.iter().map(|&v| (f32::from(v) * 0.9 + 12.0) as u8).collect();
    Image::new(image.width(), image.height(), image.channels(), Pixels::U8(values)).unwrap()
}

/// Real radiographs are much alike, but not nearly the same; copies in other sizes and brightness
/// are.
#[test]
fn near_duplicates_of_real_radiographs() {
    let Some(root) = common::data("hannover-cxr") else { return };
    let options = ImageFolderOptions::default();
    let data: Arc<dyn Dataset> = Arc::new(ImageFolder::open(&root, &options).unwrap());
    let copies = tempfile::tempdir().unwrap();
    for index in 0..40 {
        let image = data.get(index * 6).unwrap().image;
        let image = if index % 2 == 0 { resized(image, 150) } else { brightened(&image) };
        let path = copies.path().join(format!("{index:02}.png"));
        std::fs::write(path, encode_png(&image).unwrap()).unwrap();
    }
    let copied: Arc<dyn Dataset> = Arc::new(ImageFolder::open(copies.path(), &options).unwrap());
    let audit = Audit::new(AuditOptions::default());
    let report = run(&audit.part("all", Arc::clone(&data)).part("copies", copied));
    let found: Vec<_> = report.of(FindingKind::NearDuplicateAcross).collect();
    assert_eq!(found.len(), 40, "{report}");
    for finding in found {
        let mut files: Vec<_> = finding.samples.iter().map(|s| (&*s.part, &*s.id)).collect();
        files.sort_unstable();
        let copy: usize = files.last().unwrap().1[..2].parse().unwrap();
        let source = data.record(copy * 6).unwrap().id;
        assert!(files.contains(&("all", source.as_str())), "{}", finding.detail);
    }
    // Within the originals, few.
    let alone = run(&Audit::new(AuditOptions::default()).part("all", data));
    assert!(alone.of(FindingKind::NearDuplicateWithin).count() <= 3, "{alone}");
}

#[test]
fn patients_in_two_splits() {
    let task = Task::SingleLabel { classes: vec!["no".into(), "yes".into()] };
    let toy = |groups: &[&str]| -> Arc<dyn Dataset> {
        let rows = groups.iter().enumerate().map(|(i, g)| ((*g).to_owned(), Target::Class(i % 2)));
        Arc::new(Toy::new(task.clone(), rows))
    };
    let options = AuditOptions { pictures: false, ..Default::default() };
    let audit = |test: &[&str]| {
        Audit::new(options.clone()).part("train", toy(&["a", "a", "b"])).part("test", toy(test))
    };
    assert_eq!(run(&audit(&["c", "d"])).findings, []);
    let report = run(&audit(&["c", "b"]));
    let expected = ["patient 'b' has 2 pictures in train, test"];
    assert_eq!(details(&report, FindingKind::SharedGroup), expected);
    assert_eq!((kinds(&report).len(), report.worst()), (1, Some(Severity::Error)));
}

/// One file of each fault, and the finding it must give.
fn damaged(root: &Path) {
    let picture = |seed: u64| {
        let config = PhantomConfig { len: 1, size: 48, seed, ..Default::default() };
        encode_png(&Phantom::new(config).unwrap().get(0).unwrap().image).unwrap()
    };
    for seed in 0..6 {
        std::fs::write(root.join(format!("good{seed}.png")), picture(seed)).unwrap();
    }
    let whole = picture(100);
    std::fs::write(root.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(root.join("empty.png"), b"").unwrap();
    std::fs::write(root.join("text.png"), b"this is no picture at all").unwrap();
    std::fs::write(root.join("flat.png"), encode_png(&grey(48, 48, 7)).unwrap()).unwrap();
    std::fs::write(root.join("named.jpg"), picture(101)).unwrap();
    let colour = Image::new(16, 16, 3, Pixels::U8((0..=255).cycle().take(768).collect())).unwrap();
    std::fs::write(root.join("colour.png"), encode_png(&colour).unwrap()).unwrap();
}

#[test]
fn pictures_with_faults() {
    let folder = tempfile::tempdir().unwrap();
    damaged(folder.path());
    std::fs::write(folder.path().join("gone.png"), b"").unwrap();
    let data = ImageFolder::open(folder.path(), &ImageFolderOptions::default()).unwrap();
    std::fs::remove_file(folder.path().join("gone.png")).unwrap();
    let report = run(&Audit::new(AuditOptions::default()).part("all", Arc::new(data)));
    for (kind, file) in [
        (FindingKind::Truncated, "cut.png"),
        (FindingKind::EmptyFile, "empty.png"),
        (FindingKind::Unreadable, "text.png"),
        (FindingKind::Constant, "flat.png"),
        (FindingKind::WrongExtension, "named.jpg"),
        (FindingKind::WrongMode, "colour.png"),
        (FindingKind::Missing, "gone.png"),
    ] {
        let found: Vec<_> = report.of(kind).collect();
        assert_eq!(found.len(), 1, "{kind:?}: {report}");
        assert_eq!(found[0].samples[0].id, file, "{kind:?}");
        assert!(
            !found[0].detail.contains(&*folder.path().to_string_lossy()),
            "{}",
            found[0].detail
        );
    }
    assert_eq!(kinds(&report).len(), 7, "{report}");
    assert_eq!(report.parts[0].pictures, 9);
}

#[test]
fn the_same_picture_twice() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let picture = |seed| {
        let config = PhantomConfig { len: 1, size: 48, seed, ..Default::default() };
        Phantom::new(config).unwrap().get(0).unwrap().image
    };
    let png = |seed| encode_png(&picture(seed)).unwrap();
    // The same pixels in other bytes: a text chunk more, before the end chunk.
    let mut other = png(1);
    let end = other.split_off(other.len() - 12);
    other.extend([0, 0, 0, 3, b't', b'E', b'X', b't', b'a', 0, b'b']);
    other.extend(crc32fast::hash(b"tEXta\0b").to_be_bytes());
    other.extend(end);
    put("train/sick/p1_a.png", &png(1));
    put("train/sick/p1_b.png", &png(1));
    put("train/well/p2_a.png", &png(2));
    put("train/well/p4_a.png", &other);
    put("val/sick/p3_a.png", &png(3));
    put("val/well/p2_a.png", &png(2));
    let open = |split| {
        let group = GroupRule::FileNamePrefix { separator: '_' };
        let options = ImageFolderOptions { split: Some(split), group, ..Default::default() };
        Arc::new(InMemory::new(
            Arc::new(ImageFolder::open(folder.path(), &options).unwrap()),
            1 << 20,
        ))
    };
    let audit = Audit::new(AuditOptions::default())
        .part("train", open(Split::Train))
        .part("val", open(Split::Val));
    let report = run(&audit);
    let within = details(&report, FindingKind::DuplicateWithin);
    assert_eq!(within.len(), 1, "{report}");
    assert!(within[0].ends_with("other bytes") && within[0].contains("p4_a"), "{}", within[0]);
    let across = details(&report, FindingKind::DuplicateAcross);
    assert_eq!(across.len(), 1);
    assert!(across[0].ends_with("the same bytes"), "{}", across[0]);
    let labels = details(&report, FindingKind::DuplicateLabels);
    assert!(labels.len() == 1 && labels[0].ends_with("sick; well"), "{labels:?}");
    let shared = details(&report, FindingKind::SharedFile);
    assert_eq!(shared, ["'p2_a.png' (well) is in train, val"]);
    let groups = details(&report, FindingKind::SharedGroup);
    assert_eq!(groups, ["patient 'p2' has 2 pictures in train, val"]);
    assert_eq!(kinds(&report).len(), 5, "{report}");
}

#[test]
fn lists_against_a_master_table() {
    let mut options = names("Image Index", "Finding Labels");
    options.labels = ListLabels::Names { column: "Finding Labels".into(), separator: Some('|') };
    let master = list(
        "Image Index,Finding Labels\na.png,Mass|Edema\nb.png,No Finding\nc.png,Hernia\nc.png,Mass\n",
        &options,
    );
    let columns = ListLabels::Columns(vec!["Edema".into(), "Hernia".into(), "Mass".into()]);
    let mut short = ListOptions { labels: columns, ..ListOptions::new("file") };
    short.delimiter = ' ';
    let train = list("file Edema Hernia Mass\na 1 0 1.0\nb 0 0 1\nc 0 0 1\nd 0 1 -1\n", &short);
    let report = run(&Audit::new(AuditOptions::default()).list("train", train).master(master));
    // Matched without extension; one of the two rows of c agrees.
    let expected = ["train: b is 'Mass', in the master table 'No Finding'"];
    assert_eq!(details(&report, FindingKind::LabelDisagreement), expected);
    assert_eq!(details(&report, FindingKind::NotInMaster), ["train: d is not in the master table"]);
    let mass = report.prevalence.iter().find(|row| row.label == "Mass").unwrap();
    assert_eq!((mass.present, mass.known), (3, 3));
}

#[test]
fn subsets_that_are_not_nested() {
    let files = |text: &str| list(text, &ListOptions::new("file"));
    let chain = |small: &str| {
        vec![
            ("1 %".to_owned(), files(small)),
            ("10 %".to_owned(), files("file\na\nb\nc\n")),
            ("100 %".to_owned(), files("file\nd\nc\nb\na\n")),
        ]
    };
    let audit = |small| run(&Audit::new(AuditOptions::default()).nested(chain(small)));
    assert_eq!(audit("file\nb\n").findings, []);
    let report = audit("file\nb\nd\nx\n");
    let expected = ["2 of 1 % are not in 10 %; the first is d"];
    assert_eq!(details(&report, FindingKind::NotNested), expected);
    assert_eq!(report.findings.len(), 1);
}

/// A folder with findings, at a place of its own.
fn faulty() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    std::fs::create_dir(&root).unwrap();
    damaged(&root);
    (folder, root)
}

#[test]
fn the_result_depends_on_the_data_alone() {
    let report = |root: &Path, workers| {
        let data = ImageFolder::open(root, &ImageFolderOptions::default()).unwrap();
        let data: Arc<dyn Dataset> = Arc::new(data);
        let half = |first| {
            let indices = (0..data.len()).filter(|index| index % 2 == first).collect();
            Arc::new(Subset::new(Arc::clone(&data), indices).unwrap())
        };
        let audit = Audit::new(AuditOptions::default()).workers(workers);
        run(&audit.part("even", half(0)).part("odd", half(1)))
    };
    let ((_one, first), (_two, second)) = (faulty(), faulty());
    let expected = report(&first, 0);
    for workers in [1, 4] {
        assert_eq!(report(&first, workers), expected);
        assert_eq!(report(&second, workers), expected);
    }
    assert_eq!(expected.hash().len(), 64);
    let text = serde_json::to_string(&expected).unwrap();
    let mut back: AuditReport = serde_json::from_str(&text).unwrap();
    assert!(back == expected && back.is_intact());
    back.findings.pop();
    assert!(!back.is_intact());
    // One pixel of a good picture.
    let image = grey(48, 48, 9);
    std::fs::write(second.join("good0.png"), encode_png(&image).unwrap()).unwrap();
    assert_ne!(report(&second, 2).hash(), expected.hash());
}

#[test]
fn severities_can_be_set() {
    let (_folder, root) = faulty();
    let data = || Arc::new(ImageFolder::open(&root, &ImageFolderOptions::default()).unwrap());
    let all = FindingKind::ALL.iter().map(|kind| (*kind, Severity::Info)).collect();
    let options = AuditOptions { severities: all, ..Default::default() };
    assert_eq!(run(&Audit::new(options).part("a", data())).worst(), Some(Severity::Info));
    let report = run(&Audit::new(AuditOptions::default()).part("a", data()));
    assert_eq!(report.worst(), Some(Severity::Error));
}

#[test]
fn the_page_holds_pictures_and_no_markup_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let name = "<b>&\"x.png";
    for part in ["a", "b"] {
        let path = folder.path().join(part);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(name), encode_png(&grey(20, 10, 30)).unwrap()).unwrap();
    }
    let open = |part: &str| {
        let path = folder.path().join(part);
        Arc::new(ImageFolder::open(&path, &ImageFolderOptions::default()).unwrap())
    };
    let audit = Audit::new(AuditOptions::default()).part("a", open("a")).part("b", open("b"));
    let report = run(&audit);
    let page = audit.html(&report, "A <title>");
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;&amp;&quot;x.png"));
    assert!(page.contains("A &lt;title&gt;") && page.contains(report.hash()));
    assert!(page.contains("data:image/png;base64,iVBOR"));
    for outside in ["http:", "https:", "<script", "src=\"/", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |options: AuditOptions| {
        let part = Arc::new(Phantom::new(PhantomConfig { len: 2, ..Default::default() }).unwrap());
        match Audit::new(options).part("a", part).run(&|_, _| {}) {
            Err(Error::Config { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    };
    let usual = AuditOptions::default;
    assert_eq!(refused(AuditOptions { near_bits: 257, ..usual() }), "AuditOptions::near_bits");
    for near_correlation in [1.5, -0.1, f32::NAN] {
        let options = AuditOptions { near_correlation, ..usual() };
        assert_eq!(refused(options), "AuditOptions::near_correlation");
    }
    for max_age in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(AuditOptions { max_age, ..usual() }), "AuditOptions::max_age");
    }
    assert_eq!(refused(AuditOptions { age: Some("".into()), ..usual() }), "AuditOptions::age");
    let subgroups = vec!["sex".to_owned(), "sex".to_owned()];
    assert_eq!(refused(AuditOptions { subgroups, ..usual() }), "AuditOptions::subgroups");
}

#[test]
fn parts_have_names_of_their_own() {
    let files = || list("file\na\n", &ListOptions::new("file"));
    let refused = |audit: Audit| match audit.run(&|_, _| {}) {
        Err(Error::Config { option, reason }) => (option, reason),
        other => panic!("{other:?}"),
    };
    let twice = refused(Audit::default().list("train", files()).list("train", files()));
    assert_eq!(twice, ("Audit::part", "two parts have the name 'train'".to_owned()));
    let chain = || vec![("1 %".to_owned(), files()), ("1 %".to_owned(), files())];
    assert_eq!(refused(Audit::default().nested(chain())).0, "Audit::part");
    let alone = chain().into_iter().take(1).collect();
    assert_eq!(refused(Audit::default().nested(alone)).0, "Audit::nested");
    // Nothing to look at is no clean bill.
    assert_eq!(refused(Audit::default()).0, "Audit::part");
    assert_eq!(refused(Audit::default().master(files())).0, "Audit::part");
    assert_eq!(refused(Audit::default().list("a", files()).workers(5000)).0, "Audit::workers");
}

#[test]
fn options_are_part_of_the_result() {
    let report = |options: AuditOptions| {
        let data = Phantom::new(PhantomConfig { len: 3, ..Default::default() }).unwrap();
        let audit = Audit::new(options).part("a", Arc::new(data));
        let report = run(&audit);
        let page = audit.html(&report, "");
        (report, page)
    };
    let (usual, _) = report(AuditOptions::default());
    let changed = AuditOptions { near_bits: 7, near_correlation: 0.9, ..Default::default() };
    let (strict, page) = report(changed.clone());
    assert_eq!(usual.findings, strict.findings);
    assert_ne!(usual.hash(), strict.hash());
    assert_eq!(strict.options, changed);
    let line = "at most 7 of 256 bits differ, correlation from 0.9";
    assert!(strict.to_string().contains(line) && page.contains(line), "{strict}");
    let mut edited = strict.clone();
    edited.options.near_bits = 24;
    assert!(strict.is_intact() && !edited.is_intact());
    let text = serde_json::to_string(&strict).unwrap();
    assert!(serde_json::from_str::<AuditReport>(&text).unwrap().is_intact());
}
