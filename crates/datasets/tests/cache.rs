//! The cache: what it holds, when it is made anew, several processes, and killed writers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "a child process reports to its parent")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Act, Toy, npy, write_npz};
use vit_datasets::{
    CacheOptions, Cached, Concat, CsvOptions, CsvTable, Dataset, Error, ImageFolder,
    ImageFolderOptions, InMemory, MedMnist, Phantom, PhantomConfig, PhantomKind, Record, Result,
    Sample, Split, Subset, Task,
};
use vit_random::Streams;
use vit_transforms::{Filter, Image, Pixels, Resize, ResizeSize, Transform, encode_png};

fn noise(width: usize, height: usize, channels: usize, seed: u64, wide: bool) -> Image {
    use vit_random::rand::RngCore;
    let mut stream = Streams::new(seed).stream("noise", 0, 0);
    let count = width * height * channels;
    let pixels = if wide {
        Pixels::U16((0..count).map(|_| stream.next_u32() as u16).collect())
    } else {
        Pixels::U8((0..count).map(|_| stream.next_u32() as u8).collect())
    };
    Image::new(width, height, channels, pixels).unwrap()
}

/// PNG files of 8 and 16 bits, grey and colour, larger and smaller than the cache's side.
fn folder(root: &Path) -> Arc<dyn Dataset> {
    for (name, image) in [
        ("a.png", noise(60, 40, 3, 1, false)),
        ("b.png", noise(33, 50, 1, 2, true)),
        ("c.png", noise(10, 12, 1, 3, false)),
        ("d.png", noise(64, 64, 3, 4, true)),
    ] {
        std::fs::write(root.join(name), encode_png(&image).unwrap()).unwrap();
    }
    open_folder(root)
}

fn open_folder(root: &Path) -> Arc<dyn Dataset> {
    Arc::new(ImageFolder::open(root, &ImageFolderOptions::default()).unwrap())
}

fn options() -> CacheOptions {
    CacheOptions { short_side: Some(20), ..Default::default() }
}

/// Opens and tells whether the cache had to be made.
fn open(data: &Arc<dyn Dataset>, path: &Path, options: &CacheOptions) -> (Cached, bool) {
    let made = AtomicUsize::new(0);
    let note = |done, of| {
        assert!(done <= of);
        made.fetch_add(1, Ordering::SeqCst);
    };
    let cached = Cached::open_with_progress(Arc::clone(data), path, options, &note).unwrap();
    (cached, made.load(Ordering::SeqCst) > 0)
}

#[test]
fn the_cache_holds_what_resizing_the_decoded_picture_gives() {
    let (pictures, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder(pictures.path());
    for workers in [0, 3] {
        let path = caches.path().join(format!("{workers}.cache"));
        let options = CacheOptions { workers, ..options() };
        let (cached, made) = open(&data, &path, &options);
        assert!(made);
        assert_eq!((cached.len(), cached.cached(), cached.task()), (4, 4, data.task()));
        let sides: Vec<_> = (0..4)
            .map(|index| {
                let sample = cached.get(index).unwrap();
                let source = data.get(index).unwrap();
                assert_eq!(sample.record, source.record);
                assert_eq!(cached.file(index), data.file(index));
                let image = source.image;
                let expected = if image.width().min(image.height()) > 20 {
                    let size = ResizeSize::ShorterSide(20);
                    let mut unused = Streams::new(0).stream("", 0, 0);
                    Resize { size, filter: Filter::Bicubic }.apply(image, &mut unused).unwrap()
                } else {
                    image
                };
                assert_eq!(sample.image, expected);
                (sample.image.width(), sample.image.height(), sample.image.pixels().kind())
            })
            .collect();
        let expected = [(30, 20, "u8"), (20, 30, "u16"), (10, 12, "u8"), (20, 20, "u16")];
        assert_eq!(sides, expected);
        assert!(matches!(cached.get(4), Err(Error::Index { index: 4, len: 4 })));
    }
    // The same file whatever the threads, and nothing else lies about but the locks.
    let read = |name: &str| std::fs::read(caches.path().join(name)).unwrap();
    assert_eq!(read("0.cache"), read("3.cache"));
    assert_eq!(std::fs::read_dir(caches.path()).unwrap().count(), 4);
}

#[test]
fn it_is_made_once_and_anew_when_a_source_changes() {
    let (pictures, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder(pictures.path());
    let path = caches.path().join("c");
    let (first, made) = open(&data, &path, &options());
    assert!(made);
    let key = first.key().to_owned();
    assert_eq!(key.len(), 64);
    let (again, made) = open(&data, &path, &options());
    assert!(!made && again.key() == key);

    // Other options.
    let lanczos = CacheOptions { filter: Filter::Lanczos, ..options() };
    let (other, made) = open(&data, &path, &lanczos);
    assert!(made && other.key() != key);
    let (back, made) = open(&data, &path, &options());
    assert!(made && back.key() == key);

    // Written again with the same contents: the times differ, the pictures do not.
    let file = pictures.path().join("a.png");
    let bytes = std::fs::read(&file).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&file, &bytes).unwrap();
    let (same, made) = open(&data, &path, &options());
    assert!(!made && same.key() == key);

    // Another picture under the same name.
    std::fs::write(&file, encode_png(&noise(60, 40, 3, 9, false)).unwrap()).unwrap();
    let (changed, made) = open(&data, &path, &options());
    assert!(made && changed.key() != key);
    assert_eq!(changed.get(0).unwrap().image.width(), 30);
    // Those who had the old file open still see the old picture.
    assert_ne!(first.get(0).unwrap().image, changed.get(0).unwrap().image);

    // One picture more, and one under another name.
    std::fs::write(pictures.path().join("e.png"), &bytes).unwrap();
    let (more, made) = open(&open_folder(pictures.path()), &path, &options());
    assert!(made && more.len() == 5);
    std::fs::rename(pictures.path().join("e.png"), pictures.path().join("f.png")).unwrap();
    let (renamed, made) = open(&open_folder(pictures.path()), &path, &options());
    assert!(made && renamed.key() != more.key());
}

#[test]
fn a_change_that_keeps_size_and_time_is_found_by_looking_at_everything() {
    let (pictures, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // More pictures than are looked at anyway; the bytes of noise hardly compress.
    for index in 0..40 {
        let image = Image::new(30, 30, 1, Pixels::U8(vec![index; 900])).unwrap();
        let bytes = encode_png(&image).unwrap();
        std::fs::write(pictures.path().join(format!("{index:02}.png")), bytes).unwrap();
    }
    let data = open_folder(pictures.path());
    let path = caches.path().join("c");
    open(&data, &path, &options());
    let file = pictures.path().join("01.png");
    let metadata = std::fs::metadata(&file).unwrap();
    let other = std::fs::read(pictures.path().join("02.png")).unwrap();
    assert_eq!(other.len() as u64, metadata.len());
    std::fs::write(&file, other).unwrap();
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(metadata.modified().unwrap()).unwrap();
    assert!(!open(&data, &path, &options()).1);
    assert!(open(&data, &path, &CacheOptions { verify_all: true, ..options() }).1);
    assert!(!open(&data, &path, &CacheOptions { verify_all: true, ..options() }).1);
}

#[test]
fn data_sets_pass_on_which_file_a_picture_is_in() {
    let pictures = tempfile::tempdir().unwrap();
    let data = folder(pictures.path());
    let table = pictures.path().join("table.csv");
    std::fs::write(&table, "file\nc.png\na.png\n").unwrap();
    let options = CsvOptions::new(pictures.path(), "file");
    let csv = Arc::new(CsvTable::open(&table, &options).unwrap());
    let subset = Subset::new(Arc::clone(&data), vec![2, 0]).unwrap();
    let parts: [Arc<dyn Dataset>; 3] =
        [csv, Arc::new(subset), Arc::new(InMemory::new(Arc::clone(&data), 9))];
    for (part, files) in parts.iter().zip([&["c.png", "a.png"][..], &["c.png"], &["a.png"]]) {
        for (index, file) in files.iter().enumerate() {
            assert_eq!(part.file(index), Some(pictures.path().join(file)));
        }
        assert_eq!(part.file(9), None);
    }
}

#[test]
fn data_sets_without_files_are_watched_by_their_pictures() {
    let caches = tempfile::tempdir().unwrap();
    let path = caches.path().join("c");
    let phantom = |contrast| -> Arc<dyn Dataset> {
        let config = PhantomConfig { len: 30, contrast, ..Default::default() };
        Arc::new(Phantom::new(config).unwrap())
    };
    assert!(open(&phantom(1.0), &path, &options()).1);
    assert!(!open(&phantom(1.0), &path, &options()).1);
    assert!(open(&phantom(0.5), &path, &options()).1);
}

/// A file of 40 pictures for training, one of which has another value than its place.
fn medmnist(path: &Path, odd: Option<(usize, u8)>) -> Arc<dyn Dataset> {
    let mut pixels: Vec<u8> = (0..40).flat_map(|at| vec![at; 36]).collect();
    if let Some((at, value)) = odd {
        pixels[at * 36..(at + 1) * 36].fill(value);
    }
    let labels: Vec<u8> = (0..40).map(|at| at % 2).collect();
    let mut arrays = vec![
        npy("train_images", "|u1", "(40, 6, 6)", pixels),
        npy("train_labels", "|u1", "(40, 1)", labels),
    ];
    for split in ["val", "test"] {
        arrays.push(npy(&*format!("{split}_labels").leak(), "|u1", "(2, 1)", vec![0, 1]));
    }
    write_npz(path, &arrays);
    Arc::new(MedMnist::open(path, Split::Train).unwrap())
}

#[test]
fn a_file_of_many_pictures_is_watched_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (npz, path) = (folder.path().join("toy.npz"), folder.path().join("c"));
    let data = medmnist(&npz, None);
    assert_eq!(data.container(39), Some(npz.clone()));
    assert_eq!(data.container(40), None);
    assert!(open(&data, &path, &options()).1);
    assert!(!open(&data, &path, &options()).1);
    // Sample 1 is not among those that are looked at anyway.
    let changed = medmnist(&npz, Some((1, 200)));
    let (cached, made) = open(&changed, &path, &options());
    assert!(made);
    assert_eq!(cached.get(1).unwrap().image, changed.get(1).unwrap().image);
    // The same bytes at another time are the same file.
    let bytes = std::fs::read(&npz).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&npz, bytes).unwrap();
    assert!(!open(&changed, &path, &options()).1);
    // Through what wraps it.
    let whole: Vec<usize> = (0..40).collect();
    let wrap = |data: Arc<dyn Dataset>| -> Arc<dyn Dataset> {
        let data: Arc<dyn Dataset> = Arc::new(Subset::new(data, whole.clone()).unwrap());
        let data: Arc<dyn Dataset> = Arc::new(Concat::new(vec![("toy".into(), data)]).unwrap());
        Arc::new(InMemory::new(data, 0))
    };
    let wrapped = wrap(changed);
    assert_eq!(wrapped.container(7), Some(npz.clone()));
    assert!(open(&wrapped, &path, &options()).1);
    assert!(open(&wrap(medmnist(&npz, Some((4, 9)))), &path, &options()).1);
}

#[test]
fn pictures_in_no_file_are_all_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut toy = Toy::unlabelled(40);
    toy.acts[1] = Act::Fine;
    assert!(open(&(Arc::new(toy) as Arc<dyn Dataset>), &path, &options()).1);
    let mut toy = Toy::unlabelled(40);
    toy.acts[1] = Act::OtherSize;
    assert!(open(&(Arc::new(toy) as Arc<dyn Dataset>), &path, &options()).1);
}

#[test]
fn a_file_that_is_no_cache_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(3));
    let path = folder.path().join("thesis.txt");
    for text in ["years of work", "x", "VITCACH3"] {
        std::fs::write(&path, text).unwrap();
        let error = Cached::open(Arc::clone(&data), &path, &options()).err().unwrap();
        assert!(matches!(&error, Error::Cache { .. }), "{error}");
        assert!(error.to_string().contains("another name"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // A folder cannot be read as a file.
    let error = Cached::open(Arc::clone(&data), folder.path(), &options()).err().unwrap();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    for start in ["", "VITC", "VITCACHE of another time"] {
        std::fs::write(&path, start).unwrap();
        assert!(open(&data, &path, &options()).1, "'{start}'");
    }
}

#[test]
fn samples_that_cannot_be_read_give_their_own_error() {
    let caches = tempfile::tempdir().unwrap();
    let mut toy = Toy::unlabelled(5);
    toy.acts[1] = Act::Fail;
    toy.acts[3] = Act::Panic;
    let data: Arc<dyn Dataset> = Arc::new(toy);
    let (cached, _) = open(&data, &caches.path().join("c"), &options());
    assert_eq!((cached.len(), cached.cached()), (5, 3));
    let error = cached.get(1).unwrap_err();
    assert!(error.to_string().contains("it is broken"), "{error}");
    assert_eq!(cached.get(2).unwrap(), data.get(2).unwrap());
    assert!(!open(&data, &caches.path().join("c"), &options()).1);
}

#[test]
fn a_damaged_file_is_never_believed() {
    let (pictures, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder(pictures.path());
    let path = caches.path().join("c");
    let (expected, _) = open(&data, &path, &options());
    let whole = std::fs::read(&path).unwrap();
    // Written beside and renamed, as the cache does: the file in use stays what it is.
    let put = |bytes: &[u8]| {
        let beside = caches.path().join("beside");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, &path).unwrap();
    };
    for tenth in 0..10 {
        put(&whole[..whole.len() * tenth / 10]);
        assert!(open(&data, &path, &options()).1, "cut at {tenth} tenths");
        assert_eq!(std::fs::read(&path).unwrap().len(), whole.len());
    }
    // A file whose first bytes are others is not known for a cache, and left alone.
    for position in (MAGIC..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        put(&bytes);
        let (cached, _) = open(&data, &path, &options());
        for index in 0..4 {
            assert_eq!(cached.get(index).unwrap(), expected.get(index).unwrap(), "{position}");
        }
    }
}

#[test]
fn a_picture_that_rots_behind_our_back_is_an_error() {
    let caches = tempfile::tempdir().unwrap();
    let path = caches.path().join("c");
    let config = PhantomConfig { len: 40, ..Default::default() };
    let data: Arc<dyn Dataset> = Arc::new(Phantom::new(config).unwrap());
    let (cached, _) = open(&data, &path, &options());
    let size = cached.get(1).unwrap().image.pixels().len();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + size + 5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Sample 1 is not among the few that are looked at when the file is opened.
    let (cached, made) = open(&data, &path, &options());
    assert!(!made);
    assert!(cached.get(0).is_ok());
    let error = cached.get(1).unwrap_err();
    assert!(matches!(error, Error::Cache { .. }) && error.to_string().contains("sample 1"));
}

#[test]
fn errors_of_writing() {
    let data: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(3));
    let nowhere = Path::new("/nonexistent-folder/c");
    let error = Cached::open(Arc::clone(&data), nowhere, &options()).err().unwrap();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("nonexistent-folder"));
    let zero = CacheOptions { short_side: Some(0), ..Default::default() };
    let error = Cached::open(data, nowhere, &zero).err().unwrap();
    assert!(matches!(error, Error::Config { option: "CacheOptions::short_side", .. }));
}

/// Stops for good at one sample, so that there is something to kill.
struct Stuck {
    data: Phantom,
    at: Option<usize>,
}

impl Stuck {
    fn new(at: Option<usize>) -> Self {
        let config = PhantomConfig {
            kind: PhantomKind::Endoscopy,
            len: 100,
            size: 128,
            ..PhantomConfig::default()
        };
        Self { data: Phantom::new(config).unwrap(), at }
    }
}

impl Dataset for Stuck {
    fn len(&self) -> usize {
        self.data.len()
    }
    fn task(&self) -> &Task {
        self.data.task()
    }
    fn record(&self, index: usize) -> Result<Record> {
        self.data.record(index)
    }
    fn get(&self, index: usize) -> Result<Sample> {
        if self.at == Some(index) {
            println!("stuck");
            loop {
                std::thread::park();
            }
        }
        self.data.get(index)
    }
}

const CHILD: &str = "VIT_DATASETS_TEST_CACHE";
const STUCK_AT: &str = "VIT_DATASETS_TEST_STUCK_AT";

fn unshrunk() -> CacheOptions {
    CacheOptions { short_side: None, ..Default::default() }
}

/// Not a test of its own: what the child processes below run.
#[test]
#[ignore = "run by other tests in a process of its own"]
fn child_process() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let at = std::env::var(STUCK_AT).ok().map(|at| at.parse().unwrap());
    let data: Arc<dyn Dataset> = Arc::new(Stuck::new(at));
    let wrote = std::sync::atomic::AtomicBool::new(false);
    let note = |_, _| wrote.store(true, Ordering::SeqCst);
    let path = Path::new(&path);
    let cached = Cached::open_with_progress(data, path, &unshrunk(), &note).unwrap();
    println!("key {} wrote {}", cached.key(), wrote.load(Ordering::SeqCst));
}

fn spawn(path: &Path, stuck_at: Option<usize>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_process", "--exact", "--ignored", "--nocapture"]).env(CHILD, path);
    if let Some(at) = stuck_at {
        command.env(STUCK_AT, at.to_string());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Bytes by which a cache is known.
const MAGIC: usize = 8;

fn partials(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".partial-")).collect()
}

#[test]
fn a_killed_writer_leaves_nothing_half_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    // Before the first picture, in the middle, and before the last one.
    for (stuck_at, written) in [(0, 0), (60, 1 << 20), (99, 3 << 20)] {
        let mut child = spawn(&path, Some(stuck_at));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // libtest prints its own words before.
        assert!(lines.any(|line| line.unwrap().ends_with("stuck")), "it never came so far");
        while std::fs::metadata(&partials(folder.path())[0]).unwrap().len() < written {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!path.exists(), "there is a cache after {stuck_at} pictures");
        // What the writer before left is gone, what this one leaves is there.
        assert_eq!(partials(folder.path()).len(), 1);
    }
    let data: Arc<dyn Dataset> = Arc::new(Stuck::new(None));
    let (cached, made) = open(&data, &path, &unshrunk());
    assert!(made && partials(folder.path()).is_empty());
    for index in 0..data.len() {
        assert_eq!(cached.get(index).unwrap(), data.get(index).unwrap());
    }
}

#[test]
fn processes_that_come_at_once_write_once_and_see_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let children: Vec<Child> = (0..3).map(|_| spawn(&path, None)).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let reports: Vec<String> = outputs
        .map(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
            let report = text.split("key ").nth(1).unwrap_or_else(|| panic!("{text}"));
            report.lines().next().unwrap().to_owned()
        })
        .collect();
    let wrote = reports.iter().filter(|report| report.ends_with("wrote true")).count();
    assert_eq!(wrote, 1, "{reports:?}");
    let keys: std::collections::HashSet<_> = reports.iter().map(|report| &report[..64]).collect();
    assert_eq!(keys.len(), 1, "{reports:?}");
}
