//! Channels and depth of pictures, decoded and as their files store them.

use std::borrow::Cow;

use vit_transforms::{Image, Pixels};

use super::picture::format_of;

/// `"grey u8"`, `"RGB u16"`, `"grey u8 stored as RGB"`.
pub(super) fn mode(image: &Image) -> String {
    let kind = image.pixels().kind();
    match image.channels() {
        1 => format!("grey {kind}"),
        _ if has_equal_channels(image) => format!("grey {kind} stored as RGB"),
        _ => format!("RGB {kind}"),
    }
}

fn has_equal_channels(image: &Image) -> bool {
    fn equal<T: PartialEq>(values: &[T]) -> bool {
        values.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b)
    }
    image.channels() == 3
        && match image.pixels() {
            Pixels::U8(values) => equal(values),
            Pixels::U16(values) => equal(values),
            Pixels::F32(values) => equal(values),
            _ => false,
        }
}

/// The picture in the plainest mode that holds it: one channel where all are equal, 8 bits where
/// every 16-bit value is an 8-bit one times 257, the ratio of their full scales.
pub(super) fn plainest(image: &Image) -> Cow<'_, Image> {
    let step = if has_equal_channels(image) { 3 } else { 1 };
    let pixels = match image.pixels() {
        Pixels::U16(values) if values.iter().all(|value| value % 257 == 0) => {
            Pixels::U8(values.iter().step_by(step).map(|value| (value / 257) as u8).collect())
        }
        _ if step == 1 => return Cow::Borrowed(image),
        Pixels::U8(values) => Pixels::U8(values.iter().step_by(step).copied().collect()),
        Pixels::U16(values) => Pixels::U16(values.iter().step_by(step).copied().collect()),
        Pixels::F32(values) => Pixels::F32(values.iter().step_by(step).copied().collect()),
        _ => return Cow::Borrowed(image),
    };
    let plain = Image::new(image.width(), image.height(), image.channels() / step, pixels);
    plain.map_or(Cow::Borrowed(image), Cow::Owned)
}

/// What decoding takes away: palettes, transparency, inks and depth, where the header of a PNG,
/// JPEG, WebP or BMP tells. Places are those of the formats' specifications.
pub(super) fn stored(bytes: &[u8]) -> Option<&'static str> {
    match format_of(bytes)? {
        "png" => of_png(bytes),
        "jpg" => of_jpeg(bytes),
        "webp" => of_webp(bytes),
        "bmp" => match bytes.get(28..30)? {
            [1 | 4 | 8, 0] => Some("palette"),
            [16, 0] => Some("16 bits a pixel"),
            [32, 0] => Some("32 bits a pixel"),
            _ => None,
        },
        _ => None,
    }
}

/// `IHDR` has the depth and the type of colour; a chunk `tRNS` makes some colours transparent.
fn of_png(bytes: &[u8]) -> Option<&'static str> {
    let (depth, colour) = (*bytes.get(24)?, *bytes.get(25)?);
    let mut rest = bytes.get(8..)?;
    let mut transparent = false;
    // Length, name, contents, checksum.
    while let Some(([l0, l1, l2, l3, name @ ..], after)) = rest.split_first_chunk::<8>()
        && name != b"IDAT"
    {
        transparent |= name == b"tRNS";
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        rest = length.checked_add(4).and_then(|length| after.get(length..)).unwrap_or_default();
    }
    match (colour, transparent) {
        (3, false) => Some("palette"),
        (3, true) => Some("palette, transparency"),
        (4 | 6, _) | (_, true) => Some("transparency"),
        (0, false) if depth < 8 => Some("fewer than 8 bits"),
        _ => None,
    }
}

/// The first frame header, `FFC0` to `FFCF` but for three of them, has the number of components.
fn of_jpeg(bytes: &[u8]) -> Option<&'static str> {
    let mut rest = bytes.get(2..)?;
    while let [0xff, marker, tail @ ..] = rest {
        match marker {
            // Fill bytes before a marker, and markers without contents.
            0xff => rest = rest.get(1..)?,
            0x01 | 0xd0..=0xd7 => rest = tail,
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(marker) => {
                return (tail.get(7) == Some(&4)).then_some("four inks");
            }
            _ => {
                let length = u16::from_be_bytes(*tail.first_chunk::<2>()?);
                rest = tail.get(usize::from(length)..)?;
            }
        }
    }
    None
}

/// The first chunk is the extended header with flags, or a lossless picture with a bit for alpha.
fn of_webp(bytes: &[u8]) -> Option<&'static str> {
    let transparent = match bytes.get(12..16)? {
        b"VP8X" => bytes.get(20)? & 0x10 != 0,
        b"VP8L" => bytes.get(24)? & 0x10 != 0,
        _ => false,
    };
    transparent.then_some("transparency")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_what_decoding_takes_away() {
        let png = |depth: u8, colour: u8, chunk: &[u8; 4]| {
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01".to_vec();
            bytes.extend([depth, colour, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend([0, 0, 0, 2]);
            bytes.extend(chunk);
            bytes.extend([0; 6]);
            stored(&[&bytes[..], b"\0\0\0\x01IDAT"].concat())
        };
        assert_eq!([png(8, 0, b"tEXt"), png(16, 2, b"tEXt")], [None, None]);
        assert_eq!(png(1, 0, b"tEXt"), Some("fewer than 8 bits"));
        assert_eq!(png(8, 3, b"PLTE"), Some("palette"));
        assert_eq!(png(8, 3, b"tRNS"), Some("palette, transparency"));
        assert_eq!(png(8, 2, b"tRNS"), Some("transparency"));
        assert_eq!([png(8, 4, b"tEXt"), png(16, 6, b"tEXt")], [Some("transparency"); 2]);
        // Behind an application segment; the segment of tables (FFC4) is no frame.
        let jpeg = |components: u8| {
            let mut bytes =
                b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x03c\xff\xff\xc2\0\x08\x08".to_vec();
            bytes.extend([0, 1, 0, 1, components]);
            stored(&bytes)
        };
        assert_eq!([jpeg(1), jpeg(3), jpeg(4)], [None, None, Some("four inks")]);
        assert_eq!(stored(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x10"), Some("transparency"));
        assert_eq!(stored(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\0\0\0\x10"), Some("transparency"));
        assert_eq!(stored(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0"), None);
        let bmp = |bits: u8| stored(&[&b"BM"[..], &[0; 26], &[bits, 0]].concat());
        assert_eq!([bmp(8), bmp(24), bmp(32)], [Some("palette"), None, Some("32 bits a pixel")]);
        // Cut anywhere, it is only less that is known.
        let whole = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x08\x08\0\x01\0\x01\x04";
        assert!((0..whole.len()).all(|length| stored(&whole[..length]).is_none()));
    }
}
