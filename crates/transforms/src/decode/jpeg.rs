//! A look at the markers of a JPEG file.

/// Checks that the file's markers reach the end-of-image marker.
///
/// Walks the segments by their lengths, so that the end marker of an embedded thumbnail is not
/// taken for that of the picture. Marker layout: ITU-T T.81, annex B.
pub(crate) fn check_complete(bytes: &[u8]) -> Result<(), &'static str> {
    const TRUNCATED: &str = "the JPEG data end before the end-of-image marker (truncated file)";
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;

    let mut rest = bytes;
    let mut scans = 0usize;
    loop {
        let (marker, after) = next_marker(rest).ok_or(TRUNCATED)?;
        match marker {
            END_OF_IMAGE if scans > 0 => return Ok(()),
            END_OF_IMAGE => return Err("the JPEG file holds no picture data"),
            // Start of image, restarts and TEM have no length.
            0xd8 | 0xd0..=0xd7 | 0x01 => rest = after,
            _ => {
                let length = match after {
                    [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => return Err(TRUNCATED),
                };
                rest = after.get(length..).ok_or(TRUNCATED)?;
                scans += usize::from(marker == START_OF_SCAN);
            }
        }
    }
}

/// The next marker and what follows it. `FF 00` is a data byte of a scan; `FF FF` is padding.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        let start = memchr::memchr(0xff, rest)?;
        rest = rest.get(start + 1..)?;
        match rest {
            [0x00, tail @ ..] => rest = tail,
            [0xff, ..] => {}
            [marker, tail @ ..] => return Some((*marker, tail)),
            [] => return None,
        }
    }
}
