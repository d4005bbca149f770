//! What a compressed frame claims in its own header. Decoders allocate by it, so it has to be known,
//! and be that of the DICOM file, before they see it.

use std::borrow::Cow;

/// A frame as its own header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) components: u64,
    /// Bits of a sample.
    pub(super) precision: u64,
    pub(super) jpeg2000: bool,
}

/// The bytes of a frame of encapsulated pixel data, put together as the decoders do: a fragment per
/// frame, or else by the basic offset table.
pub(super) fn assemble<'a>(
    fragments: &'a [Vec<u8>],
    offsets: &[u32],
    frames: u32,
    frame: u32,
) -> Option<Cow<'a, [u8]>> {
    if fragments.len() == 1 || fragments.len() == frames as usize {
        return fragments.get(frame as usize).map(|fragment| Cow::Borrowed(fragment.as_slice()));
    }
    let start = match offsets.get(frame as usize) {
        Some(&start) => start as usize,
        None if frame == 0 => 0,
        None => return None,
    };
    let end = offsets.get(frame as usize + 1).map_or(usize::MAX, |&end| end as usize);
    let mut at = 0;
    let mut joined = Vec::new();
    for fragment in fragments {
        if at >= start {
            joined.extend_from_slice(fragment);
        }
        // An item has a header of 8 bytes.
        at += fragment.len() + 8;
        if at >= end {
            break;
        }
    }
    Some(Cow::Owned(joined))
}

/// What a JPEG, JPEG-LS or JPEG 2000 stream claims; `None` for streams that are neither, or whose
/// header is not whole.
pub(super) fn claim(stream: &[u8]) -> Option<Claim> {
    match stream {
        [0xff, 0xd8, rest @ ..] => jpeg(rest),
        // A JP2 file around the stream: the stream begins with SOC and SIZ.
        [0, 0, 0, 12, b'j', b'P', ..] => {
            let at = stream.windows(4).position(|window| window == [0xff, 0x4f, 0xff, 0x51])?;
            jpeg2000(stream.get(at + 4..)?)
        }
        [0xff, 0x4f, 0xff, 0x51, rest @ ..] => jpeg2000(rest),
        _ => None,
    }
}

/// Walks the segments to the frame header (SOF0 to SOF15, SOF55 of JPEG-LS).
fn jpeg(stream: &[u8]) -> Option<Claim> {
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
                let precision = (*after.get(2)?).into();
                let components = (*after.get(7)?).into();
                return Some(Claim { width, height, components, precision, jpeg2000: false });
            }
            _ => rest = after.get(two(after)? as usize..)?,
        }
    }
}

/// After the SIZ marker: length, capabilities, the sides of the grid and its offset, the tiles', and
/// the components. Those of a coarser grid are not for DICOM.
fn jpeg2000(stream: &[u8]) -> Option<Claim> {
    let at = |offset: usize| four(stream.get(offset..)?);
    let (width, height) = (at(4)?, at(8)?);
    let (x, y) = (at(12)?, at(16)?);
    let components = two(stream.get(36..)?)?;
    let (parts, _) = stream.get(38..)?.as_chunks::<3>();
    let parts = parts.get(..components as usize)?;
    let bits = |&[depth, across, down]: &[u8; 3]| {
        ((across, down) == (1, 1)).then_some(u64::from(depth & 0x7f) + 1)
    };
    let precision = parts.iter().map(bits).collect::<Option<Vec<u64>>>()?.into_iter().max()?;
    let (width, height) = (width.checked_sub(x)?, height.checked_sub(y)?);
    Some(Claim { width, height, components, precision, jpeg2000: true })
}

/// Whether a JPEG 2000 stream has its component transform on; `None` for other streams.
pub(super) fn jpeg2000_transform(stream: &[u8]) -> Option<bool> {
    let start = stream.windows(4).position(|window| window == [0xff, 0x4f, 0xff, 0x51])?;
    if start > 0 && !stream.starts_with(&[0, 0, 0, 12, b'j', b'P']) {
        return None;
    }
    let mut rest = stream.get(start + 2..)?;
    loop {
        match rest {
            // COD: length, style, order of progression, layers (2 bytes), transform.
            [0xff, 0x52, after @ ..] => return after.get(6).map(|&transform| transform != 0),
            // The first tile ends the main header.
            [0xff, 0x90, ..] => return None,
            [0xff, _, after @ ..] => rest = after.get(two(after)? as usize..)?,
            _ => return None,
        }
    }
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
        let found =
            Claim { width: 0x203, height: 0x100, components: 1, precision: 8, jpeg2000: false };
        assert_eq!(claim(&jpeg), Some(found));
        let mut siz = vec![0xff, 0x4f, 0xff, 0x51, 0, 47, 0, 0];
        for number in [700u32, 500, 10, 20, 700, 500, 0, 0] {
            siz.extend(number.to_be_bytes());
        }
        siz.extend([0, 3, 7, 1, 1, 11, 1, 1, 7, 1, 1]);
        let found = Claim { width: 690, height: 480, components: 3, precision: 12, jpeg2000: true };
        assert_eq!(claim(&siz), Some(found));
        for length in 0..jpeg.len() - 4 {
            assert_eq!(claim(&jpeg[..length]), None, "{length}");
        }
        for length in 0..siz.len() {
            assert_eq!(claim(&siz[..length]), None, "{length}");
        }
        assert_eq!(claim(b"RLE"), None);
    }

    #[test]
    fn the_component_transform_is_found() {
        let stream = |transform: u8| {
            let mut bytes = vec![0xff, 0x4f, 0xff, 0x51, 0, 4, 9, 9, 0xff, 0x52, 0, 12];
            bytes.extend([0, 0, 0, 1, transform]);
            bytes
        };
        assert_eq!(jpeg2000_transform(&stream(0)), Some(false));
        assert_eq!(jpeg2000_transform(&stream(1)), Some(true));
        assert_eq!(jpeg2000_transform(&stream(1)[..16]), None);
        assert_eq!(jpeg2000_transform(&[0xff, 0xd8, 0xff, 0x4f, 0xff, 0x51]), None);
    }

    #[test]
    fn frames_are_put_together() {
        let fragments = [vec![1, 2], vec![3, 4], vec![5, 6]];
        let frame = |offsets: &[u32], frames, frame| {
            assemble(&fragments, offsets, frames, frame).map(Cow::into_owned)
        };
        assert_eq!(frame(&[], 3, 1), Some(vec![3, 4]));
        assert_eq!(frame(&[], 1, 0), Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(frame(&[0, 20], 2, 0), Some(vec![1, 2, 3, 4]));
        assert_eq!(frame(&[0, 20], 2, 1), Some(vec![5, 6]));
        assert_eq!(frame(&[], 2, 1), None);
    }
}
