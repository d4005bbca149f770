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
}
