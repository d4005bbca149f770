//! Pickles that are programs: nothing is run, everything is named, memory and time are bounded.

use std::io::Write;

use vit_models::WeightFile;
use vit_models::candle_core::Device;

use crate::families::weights;
use crate::support::{fixture, written};

/// A zip file of PyTorch's layout with these records, stored.
fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in records {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn refused(bytes: &[u8]) -> String {
    let (_folder, path) = written(bytes);
    let error = WeightFile::open(&path).err().unwrap().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    error
}

fn refused_pickle(pickle: &[u8]) -> String {
    refused(&zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 64])]))
}

/// `(storage, offset, shape, strides)` of 16 numbers, named `w` in a dictionary.
fn tensor(offset: &[u8], shape: &[u8], strides: &[u8], elements: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02}X\x01\0\0\0w".as_slice(),
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu",
        elements,
        b"tQ",
        offset,
        shape,
        strides,
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

#[test]
fn a_tensor_made_by_hand_is_read() {
    let good = tensor(b"K\0", b"K\x04K\x04\x86", b"K\x04K\x01\x86", b"K\x10");
    let (_folder, path) = written(&zip(&[("a/data.pkl", &good), ("a/data/0", &[0; 64])]));
    assert_eq!(WeightFile::open(&path).unwrap().shapes()["w"], [4, 4]);
}

/// A call runs nothing: the file that it would make is not there afterwards.
#[test]
fn calls_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("ran");
    let command = format!("touch {}", trace.display());
    let argument = format!(
        "(X{}{command}tR.",
        "\x04\0\0\0".replace('\x04', &char::from(command.len() as u8).to_string())
    );
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("runpy", "_run_code"),
        ("numpy.testing._private.utils", "runstring"),
        ("collections", "namedtuple"),
    ] {
        let by_global =
            [format!("\x7f2c{module}\n{name}\n").as_bytes(), argument.as_bytes()].concat();
        let by_global = [b"\x80\x02".as_slice(), &by_global[2..]].concat();
        let stack = [
            b"\x80\x04\x8c".as_slice(),
            &[module.len() as u8],
            module.as_bytes(),
            b"\x8c",
            &[name.len() as u8],
            name.as_bytes(),
            b"\x93",
            argument.as_bytes(),
        ]
        .concat();
        let new =
            [b"\x80\x02c".as_slice(), format!("{module}\n{name}\n)\x07.").as_bytes()].concat();
        let new: Vec<u8> = new.into_iter().map(|b| if b == 7 { 0x81 } else { b }).collect();
        // Through a call that is allowed.
        let through = [
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c".as_slice(),
            format!("{module}\n{name}\n").as_bytes(),
            b"NX\x01\0\0\0a\x85NtR.",
        ]
        .concat();
        let rebuilt = [
            b"\x80\x02ccopyreg\n_reconstructor\n(c".as_slice(),
            format!("{module}\n{name}\n").as_bytes(),
            b"NNtR.",
        ]
        .concat();
        for pickle in [&by_global, &stack, &new, &through, &rebuilt] {
            let error = refused_pickle(pickle);
            assert!(error.contains(&format!("'{module}.{name}'")), "{error}");
            assert!(error.contains("refused"), "{error}");
        }
    }
    assert!(!trace.exists());
}

#[test]
fn other_ways_to_make_objects_are_refused() {
    for (pickle, word) in [
        (b"\x80\x02(S'touch x'\nios\nsystem\n.".as_slice(), "INST"),
        (b"\x80\x02(cos\nsystem\nS'x'\no.", "INST, OBJ"),
        (b"\x80\x02\x82\x01.", "extension registry"),
        (b"\x80\x02Pstorage\n.", "outside"),
        (b"\x80\x02K\x01K\x02R.", "not a name"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x02\xfe.", "0xfe"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02h\x05.", "no memory 5"),
        (b"\x80\x02tt.", "mark"),
        (b"\x80\x02K\x01K\x02a.", "no list"),
        (b"\x80\x02}K\x01u.", "mark"),
        (b"\x80\x02N.", "no dictionary"),
        (b"\x80\x02}.", "no tensors"),
        (b"\x80\x02}X\x01\0\0\0aK\x01s.", "no tensors"),
    ] {
        let error = refused_pickle(pickle);
        assert!(error.contains(word), "{pickle:?}: {error}");
    }
}

#[test]
fn claims_are_checked_before_memory_is_asked_for() {
    let eight = |n: u64| n.to_le_bytes().to_vec();
    let long = |n: u64| [b"\x8a\x08".as_slice(), &eight(n)].concat();
    let huge = long(1 << 60);
    for pickle in [
        // Texts and bytes longer than the file.
        [b"\x80\x02X\xff\xff\xff\xff".as_slice(), b"a."].concat(),
        [b"\x80\x04\x8d".as_slice(), &eight(1 << 60), b"a."].concat(),
        [b"\x80\x04\x8e".as_slice(), &eight(u64::MAX), b"a."].concat(),
        [b"\x80\x02\x8b\xff\xff\xff\x7f".as_slice(), b"."].concat(),
        // Shapes, places and strides outside of the storage.
        tensor(b"K\0", &[huge.as_slice(), b"\x85"].concat(), b"K\x01\x85", b"K\x10"),
        tensor(b"K\0", &[&huge, &huge[..], b"\x86"].concat(), b"K\x01K\x01\x86", b"K\x10"),
        tensor(b"K\0", &[huge.as_slice(), b"\x85"].concat(), b"K\0\x85", b"K\x10"),
        tensor(&huge, b"K\x04\x85", b"K\x01\x85", b"K\x10"),
        tensor(b"K\x0d", b"K\x04\x85", b"K\x01\x85", b"K\x10"),
        tensor(b"K\0", b"K\x04\x85", &[huge.as_slice(), b"\x85"].concat(), b"K\x10"),
        tensor(b"K\0", b"K\x11\x85", b"K\x01\x85", b"K\xff"),
        tensor(b"K\0", b"K\x04K\x04\x86", b"K\x01\x85", b"K\x10"),
        tensor(b"K\0", b"J\xff\xff\xff\xff\x85", b"K\x01\x85", b"K\x10"),
        tensor(b"J\xff\xff\xff\xff", b"K\x04\x85", b"K\x01\x85", b"K\x10"),
    ] {
        refused_pickle(&pickle);
    }
    // One name for two tensors.
    let one = tensor(b"K\0", b"K\x04\x85", b"K\x01\x85", b"K\x10");
    let middle = &one[9..one.len() - 2];
    let twice = [&one[..one.len() - 1], b"X\x01\0\0\0w", middle, b"s."].concat();
    assert!(refused_pickle(&twice).contains("'w' is there twice"), "{}", refused_pickle(&twice));
    // Zeros of a stride of nothing: as many as the file has bytes, and no more.
    let error = refused_pickle(&tensor(b"K\0", b"M\xff\xff\x85", b"K\0\x85", b"K\x10"));
    assert!(error.contains("'w' claims shape [65535]"), "{error}");
}

/// Structures that hold themselves or each other many times over: an answer, soon.
#[test]
fn structures_that_grow_or_turn_in_circles_are_bounded() {
    // Lists that hold the list before twice: 2^40 items when walked.
    let mut doubling = b"\x80\x02}X\x01\0\0\0a]q\0".to_vec();
    for _ in 0..40 {
        doubling.extend(b"0(h\0h\0lq\0");
    }
    doubling.extend(b"s.");
    assert!(refused_pickle(&doubling).contains("no tensors"));
    // A list in itself, a dictionary in itself, an object that is its own state.
    assert!(refused_pickle(b"\x80\x02}X\x01\0\0\0a]q\0h\0as.").contains("no tensors"));
    assert!(refused_pickle(b"\x80\x02}q\0X\x01\0\0\0ah\0s.").contains("no tensors"));
    let own = b"\x80\x02}X\x01\0\0\0acargparse\nNamespace\n)Rq\0h\0bs.";
    assert!(refused_pickle(own).contains("no tensors"));
    // Nested 900,000 deep: neither reading nor dropping it recurses.
    let deep = [b"\x80\x02".to_vec(), vec![b']'; 900_000], vec![b'a'; 899_999], b".".to_vec()];
    assert!(refused_pickle(&deep.concat()).contains("no dictionary"));
    // More steps than any model needs.
    let many = [b"\x80\x02".to_vec(), b"N0".repeat(1_500_000), b".".to_vec()].concat();
    assert!(refused_pickle(&many).contains("steps"));
    // One long text that is named again and again.
    let text = "x".repeat(1 << 20);
    let mut names = [b"\x80\x04X".as_slice(), &(text.len() as u32).to_le_bytes()].concat();
    names.extend(text.as_bytes());
    names.extend(b"q\0");
    names.extend(b"h\0h\0\x930".repeat(100_000));
    names.push(b'.');
    assert!(refused_pickle(&names).contains("a long one"));
}

#[test]
fn zip_files_that_are_not_pytorchs_are_refused() {
    let good = tensor(b"K\0", b"K\x04\x85", b"K\x01\x85", b"K\x10");
    // Compressed, as a bomb would be.
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let deflated = zip::write::SimpleFileOptions::default();
    let options = deflated.compression_method(zip::CompressionMethod::Deflated);
    writer.start_file("a/data.pkl", options).unwrap();
    writer.write_all(&good).unwrap();
    writer.start_file("a/data/0", options).unwrap();
    writer.write_all(&vec![0; 10 << 20]).unwrap();
    let bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 40_000, "{}", bomb.len());
    assert!(refused(&bomb).contains("compressed"));
    // Without the numbers, with fewer, without a pickle.
    assert!(refused(&zip(&[("a/data.pkl", &good)])).contains("not in the file"));
    let short = zip(&[("a/data.pkl", &good), ("a/data/0", &[0; 8])]);
    assert!(refused(&short).contains("more than the file holds"));
    assert!(refused(&zip(&[("a/data/0", &[0; 8])])).contains("not PyTorch's"));
    // Entries that share bytes.
    let mut overlapping =
        zip(&[("a/data.pkl", &good), ("a/data/0", &[0; 64]), ("a/data/1", &[0; 64])]);
    let second = overlapping.windows(8).rposition(|w| w == b"a/data/1").unwrap();
    let first = overlapping.windows(8).rposition(|w| w == b"a/data/0").unwrap();
    // The place of the local header stands four bytes before the name in the directory.
    let place: Vec<u8> = overlapping[first - 4..first].to_vec();
    overlapping[second - 4..second].copy_from_slice(&place);
    refused(&overlapping);
}

/// Bytes flipped and files cut at places drawn from a fixed stream: an error or other values, and
/// never a panic.
#[test]
fn damage_at_random_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below.max(1)
    };
    let files = [
        weights("types.pth"),
        weights("legacy_types.pth"),
        weights("mae_pretrain.pth"),
        weights("hf_vit/model.safetensors"),
        fixture("ddp_encoder.pth"),
    ];
    for path in files {
        let good = std::fs::read(&path).unwrap();
        // Most of the first part of these files is the pickle or the header.
        let early = good.len().min(6000);
        for round in 0..220 {
            let mut bad = good.clone();
            for _ in 0..=draw(4) {
                let place = if round % 2 == 0 { draw(early) } else { draw(good.len()) };
                bad[place] = draw(256) as u8;
            }
            if round % 5 == 0 {
                bad.truncate(draw(good.len()));
            }
            let (_folder, path) = written(&bad);
            let Ok(file) = WeightFile::open(&path) else { continue };
            for tensor in file.shapes().keys() {
                drop(file.tensor(tensor, &Device::Cpu));
            }
            drop(file.guess());
        }
    }
}

#[test]
fn an_old_file_cut_anywhere_is_refused() {
    let good = std::fs::read(weights("legacy_types.pth")).unwrap();
    for length in (1..good.len()).step_by(37) {
        let (_folder, path) = written(&good[..length]);
        let error = WeightFile::open(&path).err().unwrap_or_else(|| panic!("{length}"));
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let (_folder, path) = written(b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94.\0\0\0\0\0\0");
    assert!(WeightFile::open(&path).err().unwrap().to_string().contains("bare pickle"));
}
