//! The picture size that a compressed frame claims in its own header. Decoders allocate by it, so
//! it has to be known, and be that of the DICOM file, before they see it.

/// Width and height of a JPEG, JPEG-LS or JPEG 2000 stream; `None` for streams that are neither.
pub(super) fn size(stream: &[u8]) -> Option<(u64, u64)> {
    match stream {
        [0xff, 0xd8, rest @ ..] => jpeg_size(rest),
        // A JP2 file around the stream: the stream begins with SOC and SIZ.
        [0, 0, 0, 12, b'j', b'P', ..] => {
            let at = stream.windows(4).position(|window| window == [0xff, 0x4f, 0xff, 0x51])?;
            jpeg2000_size(stream.get(at + 4..)?)
        }
        [0xff, 0x4f, 0xff, 0x51, rest @ ..] => jpeg2000_size(rest),
        _ => None,
    }
}

/// Walks the segments to the frame header (SOF0 to SOF15, SOF55 of JPEG-LS).
fn jpeg_size(stream: &[u8]) -> Option<(u64, u64)> {
    let mut rest = stream;
    loop {
        let start = rest.iter().position(|&byte| byte == 0xff)?;
        rest = rest.get(start + 1..)?;
        let (&marker, after) = rest.split_first()?;
        match marker {
            0xff => {}
            0x00 | 0x01 | 0xd0..=0xd8 => rest = after,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7 => {
                let height = two(after.get(3..)?)?;
                let width = two(after.get(5..)?)?;
                return Some((width, height));
            }
            _ => rest = after.get(two(after)? as usize..)?,
        }
    }
}

/// After the SIZ marker: length, capabilities, then the sides of the grid and its offset.
fn jpeg2000_size(stream: &[u8]) -> Option<(u64, u64)> {
    let at = |offset: usize| four(stream.get(offset..)?);
    let (width, height) = (at(4)?, at(8)?);
    let (x, y) = (at(12)?, at(16)?);
    Some((width.checked_sub(x)?, height.checked_sub(y)?))
}

fn two(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes).into())
}

fn four(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_headers() {
        let jpeg = [
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc0, 0, 11, 8, 1, 0, 2, 3, 1, 1, 1, 0,
        ];
        assert_eq!(size(&jpeg), Some((0x203, 0x100)));
        let mut siz = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for number in [700u32, 500, 10, 20] {
            siz.extend(number.to_be_bytes());
        }
        assert_eq!(size(&siz), Some((690, 480)));
        for length in 0..jpeg.len() - 4 {
            assert_eq!(size(&jpeg[..length]), None, "{length}");
        }
        assert_eq!(size(b"RLE"), None);
    }
}
