//! What a damaged or hostile file can make the reader allocate. One test in a process of its own:
//! the allocator that counts belongs to the whole process.
#![allow(clippy::unwrap_used, reason = "a failing test stops by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use vit_models::WeightFile;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; the counts are beside it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MB: usize = 1 << 20;

/// Bytes at most in use while a file is opened, beyond those before.
fn peak(bytes: &[u8]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    assert!(WeightFile::open(&path).is_err());
    PEAK.load(Relaxed) - before
}

fn zip(pickle: &[u8]) -> Vec<u8> {
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("a/data.pkl", stored).unwrap();
    writer.write_all(pickle).unwrap();
    writer.finish().unwrap().into_inner()
}

fn pickle(parts: &[&[u8]]) -> usize {
    peak(&zip(&[b"\x80\x04".as_slice(), &parts.concat(), b"."].concat()))
}

#[test]
fn memory_is_bounded_by_the_file_and_by_the_steps() {
    // Claims alone allocate nothing.
    for claim in [1u64 << 40, 1 << 60, u64::MAX] {
        let header = [&claim.to_le_bytes()[..], b"{\"a\": 1}"].concat();
        assert!(peak(&header) < MB);
        assert!(pickle(&[b"\x8d", &claim.to_le_bytes(), b"a"]) < MB);
        assert!(pickle(&[b"\x8e", &claim.to_le_bytes(), b"a"]) < MB);
    }
    assert!(pickle(&[b"N", b"r\xff\xff\xff\xff", b"r\xff\xff\xff\x7f"]) < MB);
    // A header is held once as text, and what it says in a few times as much.
    let header = |start: &[u8], each: &[u8], end: &[u8]| {
        let text = [start, &each.repeat(16 * MB / each.len()), end].concat();
        peak(&[&(text.len() as u64).to_le_bytes()[..], &text].concat())
    };
    for (what, start, each, end) in [
        ("sizes", br#"{"a":{"shape":[0"#.as_slice(), b",0".as_slice(), b"]}}".as_slice()),
        ("lists", br#"{"a":{"dtype":"F32","more":[0"#, b",[]", b"]}}"),
        ("metadata", br#"{"__metadata__":{"vitalight":"[0"#, b",0", br#"]"}}"#),
    ] {
        let used = header(start, each, end);
        assert!(used < 96 * MB, "{what}: {} MB", used / MB);
    }
    // As many values as the steps allow, of each kind; a file of some megabytes.
    let steps = 1_900_000;
    for (what, each) in [
        ("nothing", b"N".as_slice()),
        ("lists", b"]"),
        ("dictionaries", b"}"),
        ("marks", b"("),
        ("tuples", b")\x85"),
        ("texts", b"\x8c\x01a"),
        ("memory", b"\x94"),
        ("copies", b"2"),
    ] {
        let used = pickle(&[b"N", &each.repeat(steps / each.len().min(2))]);
        assert!(used < 320 * MB, "{what}: {} MB", used / MB);
    }
    // One long text that is put in for a name or a key again and again.
    let text = [b"X".as_slice(), &(MB as u32).to_le_bytes(), &vec![b'x'; MB], b"q\0"].concat();
    let used = pickle(&[&text, &b"h\0h\0\x930".repeat(50_000)]);
    assert!(used < 16 * MB, "{} MB", used / MB);
    let used = pickle(&[b"}", &text, b"0(", &b"h\0N".repeat(50_000), b"u"]);
    assert!(used < 32 * MB, "{} MB", used / MB);
    // One of the length that names and keys may have: as many names, storages and keys of tensors.
    let text = [b"X\xf4\x01\0\0".as_slice(), &[b'x'; 500], b"q\0"].concat();
    let used = pickle(&[&text, &b"h\0h\0\x93".repeat(steps / 3)]);
    assert!(used < 160 * MB, "names: {} MB", used / MB);
    let storage =
        |key: &[u8]| [b"(X\x07\0\0\0storagectorch\nFloatStorage\n", key, b"NK\0tq\x01Q"].concat();
    let used = pickle(&[&text, b"0", &storage(b"h\0"), &b"h\x01Q".repeat(steps / 2)]);
    assert!(used < 160 * MB, "storages: {} MB", used / MB);
    let tensor =
        [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage(b"h\0")[..], b"K\0))NNtRq\x02"].concat();
    let used = pickle(&[&text, b"0", &tensor, b"0}(", &b"h\0h\x02".repeat(steps / 2), b"u"]);
    assert!(used < 160 * MB, "tensors: {} MB", used / MB);
}
