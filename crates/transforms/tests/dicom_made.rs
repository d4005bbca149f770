//! DICOM files made here: what no honest file holds has to be refused, by name.
#![cfg(feature = "dicom")]
// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use vit_transforms::{
    DecodeLimits, DecodeOptions, DicomDepth, DicomRule, Error, Pixels, decode_bytes_with,
    deidentification_report, read_dicom,
};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const UNDEFINED: u32 = u32::MAX;

fn tag(group: u16, element: u16) -> Vec<u8> {
    [group.to_le_bytes(), element.to_le_bytes()].concat()
}

/// An explicit element; its value is brought to an even length.
fn element(group: u16, number: u16, representation: &str, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if representation == "UI" { 0 } else { b' ' });
    }
    let mut bytes = tag(group, number);
    bytes.extend(representation.as_bytes());
    if matches!(representation, "OB" | "OW" | "SQ" | "UT") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// A file of this transfer syntax with these elements.
fn file(syntax: &str, elements: &[u8]) -> Vec<u8> {
    let meta = [
        element(2, 1, "OB", &[0, 1]),
        element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.2"),
        element(2, 3, "UI", b"1.2.3"),
        element(2, 0x10, "UI", syntax.as_bytes()),
        element(2, 0x12, "UI", b"1.2.3.4"),
    ]
    .concat();
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element(2, 0, "UL", &(meta.len() as u32).to_le_bytes()));
    bytes.extend(meta);
    bytes.extend(elements);
    bytes
}

/// Nothing but sequences within sequences of undefined length.
fn nested(depth: usize, explicit: bool) -> Vec<u8> {
    let item = [tag(0xfffe, 0xe000), UNDEFINED.to_le_bytes().to_vec()].concat();
    let mut bytes = Vec::new();
    for _ in 0..depth {
        bytes.extend(tag(8, 0x1140));
        if explicit {
            bytes.extend(b"SQ\0\0");
        }
        bytes.extend(UNDEFINED.to_le_bytes());
        bytes.extend(&item);
    }
    for _ in 0..depth {
        bytes.extend([tag(0xfffe, 0xe00d), vec![0; 4], tag(0xfffe, 0xe0dd), vec![0; 4]].concat());
    }
    bytes
}

/// The same with lengths.
fn nested_with_lengths(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| {
        let length = (inner.len() as u32).to_le_bytes().to_vec();
        let item = [tag(0xfffe, 0xe000), length, inner].concat();
        element(8, 0x1140, "SQ", &item)
    })
}

fn report(bytes: &[u8]) -> Result<vit_transforms::DeidentificationReport, Error> {
    deidentification_report("made.dcm", bytes, &DecodeLimits::default())
}

/// The reader calls itself for each level and would run out of stack.
#[test]
fn deep_nesting_is_refused() {
    let deep = |depth| {
        [
            file(EXPLICIT, &nested(depth, true)),
            file(IMPLICIT, &nested(depth, false)),
            file(EXPLICIT, &nested_with_lengths(depth)),
        ]
    };
    for bytes in deep(33).into_iter().chain(deep(8000)) {
        let error = report(&bytes).unwrap_err().to_string();
        assert!(error.contains("made.dcm") && error.contains("nested deeper"), "{error}");
        let limits = DecodeLimits::default();
        let error = read_dicom("made.dcm", &bytes, &limits, 0).unwrap_err().to_string();
        assert!(error.contains("nested deeper"), "{error}");
    }
    for bytes in deep(32) {
        assert!(report(&bytes).unwrap().is_clean());
    }
    // One after the other is no nesting.
    for sequence in [nested(1, true), nested_with_lengths(1)] {
        assert!(report(&file(EXPLICIT, &sequence.repeat(100))).is_ok());
    }
}

fn short(group: u16, number: u16, value: u16) -> Vec<u8> {
    element(group, number, "US", &value.to_le_bytes())
}

/// A grey picture of one row with these 16-bit words, of which so many bits count; `more` are
/// elements of group 0028 behind the layout's.
fn plain(words: &[u16], stored: u16, more: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let elements = [
        short(0x28, 2, 1),
        element(0x28, 4, "CS", b"MONOCHROME2"),
        element(0x28, 8, "IS", b"1"),
        short(0x28, 0x10, 1),
        short(0x28, 0x11, words.len() as u16),
        short(0x28, 0x100, 16),
        short(0x28, 0x101, stored),
        short(0x28, 0x102, stored - 1),
        short(0x28, 0x103, 0),
        more.to_vec(),
        element(0x7fe0, 0x10, "OW", &bytes),
    ];
    file(EXPLICIT, &elements.concat())
}

/// An 8x8 picture with these fragments.
fn compressed(code: &str, samples: u16, allocated: u16, fragments: &[&[u8]]) -> Vec<u8> {
    let photometric: &[u8] = if samples == 3 { b"RGB" } else { b"MONOCHROME2" };
    let mut elements = [
        short(0x28, 2, samples),
        element(0x28, 4, "CS", photometric),
        short(0x28, 6, 0),
        short(0x28, 0x10, 8),
        short(0x28, 0x11, 8),
        short(0x28, 0x100, allocated),
        short(0x28, 0x101, allocated),
        short(0x28, 0x102, allocated - 1),
        short(0x28, 0x103, 0),
        [tag(0x7fe0, 0x10), b"OB\0\0".to_vec(), UNDEFINED.to_le_bytes().to_vec()].concat(),
        [tag(0xfffe, 0xe000), vec![0; 4]].concat(),
    ]
    .concat();
    for fragment in fragments {
        elements.extend(tag(0xfffe, 0xe000));
        elements.extend((fragment.len() as u32).to_le_bytes());
        elements.extend(*fragment);
    }
    elements.extend([tag(0xfffe, 0xe0dd), vec![0; 4]].concat());
    file(&format!("1.2.840.10008.1.2.4.{code}"), &elements)
}

fn jpeg_header(side: u16, precision: u8, components: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xc0, 0, 8 + 3 * components, precision];
    bytes.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
    bytes.push(components);
    (1..=components).for_each(|component| bytes.extend([component, 0x11, 0]));
    bytes.resize(64, 0);
    bytes
}

fn jpeg2000_header(side: u32, depth: u8, components: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0x4f, 0xff, 0x51];
    bytes.extend((38 + 3 * components).to_be_bytes());
    bytes.extend([0, 0]);
    for number in [side, side, 0, 0, side, side, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(components.to_be_bytes());
    (0..components).for_each(|_| bytes.extend([depth - 1, 1, 1]));
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// Transfer syntax, samples per pixel, bits allocated, fragments, and what the refusal says.
type Made<'a> = (&'a str, u16, u16, Vec<&'a [u8]>, &'a str);

#[test]
fn frames_that_are_not_what_the_file_says_are_refused() {
    let large = jpeg_header(40_000, 8, 1);
    let (grey, grey2000) = (jpeg_header(8, 8, 1), jpeg2000_header(8, 8, 1));
    let many = jpeg2000_header(8, 8, 100);
    let cases: [Made<'_>; 8] = [
        // The frame header lies on both sides of the cut.
        ("50", 1, 8, vec![&large[..6], &large[6..]], "40000x40000"),
        ("50", 1, 8, vec![&[0; 64]], "no header"),
        ("90", 1, 8, vec![&[0; 64]], "no header"),
        ("80", 1, 8, vec![&[0; 64]], "no header"),
        ("90", 1, 8, vec![&many], "samples per pixel of a frame: 100 "),
        ("50", 3, 8, vec![&grey], "samples per pixel of a frame: 1 "),
        ("90", 3, 8, vec![&grey2000], "samples per pixel of a frame: 1 "),
        ("50", 1, 16, vec![&grey], "bits of a frame: 8 "),
    ];
    for (code, samples, allocated, fragments, reason) in cases {
        let bytes = compressed(code, samples, allocated, &fragments);
        let error = read_dicom("made.dcm", &bytes, &DecodeLimits::default(), 0).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("made.dcm") && text.contains(reason), "{code}: {text}");
    }
}

#[test]
fn free_text_is_told_from_a_clean_file() {
    let clean = [
        element(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.2"),
        element(8, 0x60, "CS", b"CT"),
        short(0x28, 0x10, 8),
    ]
    .concat();
    assert!(report(&file(EXPLICIT, &clean)).unwrap().is_clean());
    // By tag, by kind of value, and an empty one.
    let text = b"seen by Dr. Example";
    for (added, keyword) in [
        (element(0x40, 0xa160, "UT", text), Some("TextValue")),
        (element(0x18, 0x9185, "ST", text), Some("ST")),
        (element(0x40, 0x4fff, "LT", text), Some("LT")),
        (element(0x12, 0x40, "LO", text), Some("ClinicalTrialSubjectID")),
        (element(0x40, 0xa160, "UT", b""), None),
    ] {
        let found = report(&file(EXPLICIT, &[clean.clone(), added].concat())).unwrap();
        let keywords: Vec<_> = found.identifiers.iter().map(|entry| &*entry.keyword).collect();
        assert_eq!(keywords, keyword.into_iter().collect::<Vec<_>>());
        assert_eq!(found.is_clean(), keyword.is_none());
    }
}

#[test]
fn bits_above_those_stored_are_no_part_of_the_value() {
    let bytes = plain(&[0x0fff, 0x1001, 0xf000, 7], 12, &[]);
    let picture = read_dicom("made.dcm", &bytes, &DecodeLimits::default(), 0).unwrap();
    assert_eq!(picture.values, [0xfff, 1, 0, 7]);
}

/// Unsigned pixels whose intercept makes them negative, as in CT.
#[test]
fn a_lut_may_begin_below_zero() {
    let entries: Vec<u8> = [10u16, 20, 30, 40].iter().flat_map(|e| e.to_le_bytes()).collect();
    for representation in ["SS", "US"] {
        let first = (-1000i16).to_le_bytes();
        let descriptor = [&4u16.to_le_bytes()[..], &first, &16u16.to_le_bytes()].concat();
        let table = [
            element(0x28, 0x3002, representation, &descriptor),
            element(0x28, 0x3006, "US", &entries),
        ]
        .concat();
        let length = (table.len() as u32).to_le_bytes().to_vec();
        let item = [tag(0xfffe, 0xe000), length, table].concat();
        let more = [
            element(0x28, 0x1052, "DS", b"-1024"),
            element(0x28, 0x1053, "DS", b"1"),
            element(0x28, 0x3010, "SQ", &item),
        ]
        .concat();
        let bytes = plain(&[0, 24, 25, 27, 900], 12, &more);
        let rule = DicomRule::Display(DicomDepth::Sixteen);
        let options = DecodeOptions { dicom: rule, ..DecodeOptions::default() };
        let image = decode_bytes_with("made.dcm", &bytes, &options).unwrap();
        let Pixels::U16(values) = image.pixels() else { panic!("{}", image.describe()) };
        assert_eq!(values, &[10, 10, 20, 40, 40], "{representation}");
    }
}

#[test]
fn the_limit_of_bytes_is_for_one_frame() {
    let mut bytes = plain(&[1, 2, 3, 4, 5, 6, 7, 8], 16, &[]);
    let at = bytes.windows(2).rposition(|pair| pair == b"IS").unwrap();
    // All frames that it claims would be more than the limit.
    bytes[at + 4..at + 6].copy_from_slice(b"99");
    let limits = |max_bytes| DecodeLimits { max_bytes, ..DecodeLimits::default() };
    let file = bytes.len() as u64;
    assert!(file < 99 * 8 * 2, "{file}");
    let picture = read_dicom("made.dcm", &bytes, &limits(file), 0).unwrap();
    assert_eq!((picture.frames, picture.values), (99, (1..=8).collect()));
}
