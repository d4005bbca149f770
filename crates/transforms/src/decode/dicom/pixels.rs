//! Stored values of a frame.

use std::borrow::Cow;

use dicom_object::DefaultDicomObject;
use dicom_pixeldata::PixelDecoder;

use super::attributes::{
    Attributes, BITS_ALLOCATED, BITS_STORED, CENTER, COLUMNS, FRAMES, INTERCEPT, LUT_DATA,
    LUT_DESCRIPTOR, MODALITY_LUT, PHOTOMETRIC, PIXEL_DATA, PLANAR, REPRESENTATION, ROWS, SAMPLES,
    SLOPE, VOI_FUNCTION, VOI_LUT, WIDTH,
};
use super::{chain, codestream, fail};
use crate::decode::check_limit;
use crate::{DecodeLimits, Result, VoiFunction};

/// A look-up table of a DICOM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The value that has the first entry; smaller ones have it as well.
    pub first: i64,
    /// Bits of the entries.
    pub bits: u32,
    /// The entries; values beyond have the last one.
    pub entries: Vec<u16>,
}

impl Table {
    /// The entry of a value.
    pub(super) fn get(&self, value: i64) -> u16 {
        let last = self.entries.len().saturating_sub(1) as i64;
        let at = value.saturating_sub(self.first).clamp(0, last);
        self.entries.get(at as usize).copied().unwrap_or_default()
    }
}

/// From stored values to those of the modality (DICOM PS3.3 C.11.1).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Modality {
    /// `slope · value + intercept`; 1 and 0 where the file has none.
    Linear {
        /// Rescale slope.
        slope: f64,
        /// Rescale intercept.
        intercept: f64,
    },
    /// Modality LUT.
    Table(Table),
}

impl Modality {
    /// Whether its results can be negative: what a VOI LUT begins with is read accordingly.
    fn is_signed(&self, pixels: bool) -> bool {
        match self {
            Self::Linear { slope, intercept } => pixels || *slope < 0.0 || *intercept < 0.0,
            Self::Table(_) => false,
        }
    }
}

/// What the file recommends to show (DICOM PS3.3 C.11.2).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Voi {
    /// VOI LUT; it goes before a window.
    Table(Table),
    /// The first window.
    Window {
        /// Window centre.
        center: f64,
        /// Window width.
        width: f64,
        /// VOI LUT function.
        function: VoiFunction,
    },
}

/// One frame of a DICOM file: stored values and what is needed to show them.
#[derive(Debug, Clone, PartialEq)]
pub struct DicomPicture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (RGB, converted from YBR where it was).
    pub channels: usize,
    /// Stored values, interleaved, signs extended; neither rescaled nor inverted.
    pub values: Vec<i32>,
    /// Bits that values use.
    pub bits_stored: u32,
    /// Whether values are signed.
    pub signed: bool,
    /// Photometric interpretation of the file.
    pub photometric: String,
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// Number of frames in the file.
    pub frames: u32,
    /// From stored values to those of the modality.
    pub modality: Modality,
    /// Recommended table or window; none where the file has none.
    pub voi: Option<Voi>,
}

impl DicomPicture {
    /// Whether low values are bright: `MONOCHROME1`.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.photometric == "MONOCHROME1"
    }
}

/// The attributes that say how values are stored.
struct Layout {
    width: usize,
    height: usize,
    samples: usize,
    allocated: u32,
    stored: u32,
    signed: bool,
    planar: bool,
    photometric: String,
    frames: u32,
}

impl Layout {
    fn read(name: &str, attributes: &Attributes<'_>, limits: &DecodeLimits) -> Result<Self> {
        let required = |tag, keyword: &str| {
            let missing = || fail(name, &format!("the DICOM file has no {keyword}"));
            attributes.integer(tag).ok_or_else(missing)
        };
        let bits = |tag, keyword| -> Result<u32> {
            let bits = required(tag, keyword)?;
            u32::try_from(bits).map_err(|_| fail(name, &format!("{keyword} is {bits}")))
        };
        let layout = Self {
            width: required(COLUMNS, "Columns")?.max(0) as usize,
            height: required(ROWS, "Rows")?.max(0) as usize,
            samples: attributes.integer(SAMPLES).unwrap_or(1).max(0) as usize,
            allocated: bits(BITS_ALLOCATED, "BitsAllocated")?,
            stored: bits(BITS_STORED, "BitsStored")?,
            signed: attributes.integer(REPRESENTATION) == Some(1),
            planar: attributes.integer(PLANAR) == Some(1),
            photometric: attributes
                .text(PHOTOMETRIC)
                .ok_or_else(|| fail(name, "the DICOM file has no PhotometricInterpretation"))?,
            frames: attributes.integer(FRAMES).unwrap_or(1).clamp(0, i64::from(u32::MAX)) as u32,
        };
        let pixels = layout.width as u64 * layout.height as u64;
        check_limit(name, "pixels", pixels, limits.max_pixels)?;
        let sample = u64::from(layout.allocated.div_ceil(8));
        // One frame is unpacked, however many the file has.
        let frame = pixels.saturating_mul(layout.samples as u64).saturating_mul(sample);
        check_limit(name, "bytes", frame, limits.max_bytes)?;
        layout.check(name)?;
        Ok(layout)
    }

    /// Names what this crate does not read.
    fn check(&self, name: &str) -> Result<()> {
        let refuse = |reason: String| Err(fail(name, &reason));
        if self.width == 0 || self.height == 0 {
            return refuse(format!("the DICOM picture is {}x{}", self.width, self.height));
        }
        if !matches!(self.allocated, 8 | 16) || !(1..=self.allocated).contains(&self.stored) {
            return refuse(format!(
                "{} bits allocated and {} stored; 8 and 16 bits can be read",
                self.allocated, self.stored
            ));
        }
        let photometric = self.photometric.as_str();
        let known = match self.samples {
            1 => matches!(photometric, "MONOCHROME1" | "MONOCHROME2"),
            3 => photometric == "RGB" || photometric.starts_with("YBR_"),
            _ => false,
        };
        if !known {
            return refuse(format!(
                "the photometric interpretation {photometric} with {} sample(s) per pixel is not \
                 supported",
                self.samples
            ));
        }
        Ok(())
    }
}

pub(super) fn read(
    name: &str,
    object: &DefaultDicomObject,
    limits: &DecodeLimits,
    frame: u32,
) -> Result<DicomPicture> {
    let attributes = Attributes(object);
    let layout = Layout::read(name, &attributes, limits)?;
    if frame >= layout.frames {
        return Err(fail(name, &format!("frame {frame} of {} does not exist", layout.frames)));
    }
    let bytes = frame_bytes(name, object, &layout, frame)?;
    let count = layout.width * layout.height * layout.samples;
    let mut values = unpack(&bytes.data, &layout, count);
    if values.len() != count {
        return Err(fail(
            name,
            &format!(
                "the pixel data end after {} of {count} values (truncated file)",
                values.len()
            ),
        ));
    }
    if layout.samples == 3 && bytes.planar {
        values = interleave(&values, layout.width * layout.height);
    }
    if layout.samples == 3 && bytes.ybr {
        ybr_to_rgb(name, &mut values, &layout)?;
    }
    let modality = modality(&attributes);
    Ok(DicomPicture {
        width: layout.width,
        height: layout.height,
        channels: layout.samples,
        values,
        bits_stored: layout.stored,
        signed: layout.signed,
        photometric: layout.photometric,
        transfer_syntax: transfer_syntax(object),
        frames: layout.frames,
        voi: voi(&attributes, modality.is_signed(layout.signed)),
        modality,
    })
}

fn transfer_syntax(object: &DefaultDicomObject) -> String {
    object.meta().transfer_syntax().trim_end_matches('\0').trim().to_owned()
}

/// The bytes of a frame and what is still to be done with them.
struct FrameBytes<'a> {
    data: Cow<'a, [u8]>,
    planar: bool,
    ybr: bool,
}

const RLE: &str = "1.2.840.10008.1.2.5";

fn frame_bytes<'a>(
    name: &str,
    object: &'a DefaultDicomObject,
    layout: &Layout,
    frame: u32,
) -> Result<FrameBytes<'a>> {
    let element =
        object.get(PIXEL_DATA).ok_or_else(|| fail(name, "the DICOM file holds no pixel data"))?;
    let syntax = transfer_syntax(object);
    let ybr = layout.photometric.starts_with("YBR_");
    if let Some(fragments) = element.fragments() {
        let offsets = element.value().offset_table().unwrap_or_default();
        let stream = codestream::assemble(fragments, offsets, layout.frames, frame)
            .ok_or_else(|| fail(name, &format!("nothing tells where frame {frame} begins")))?;
        check_claim(name, &stream, layout, &syntax)?;
        #[cfg(feature = "turbojpeg")]
        if let Some(data) = baseline_through_turbojpeg(name, &stream, layout, &syntax)? {
            return Ok(FrameBytes { data: Cow::Owned(data), planar: false, ybr: false });
        }
        let decoded = object
            .decode_pixel_data_frame(frame)
            .map_err(|error| fail(name, &format!("transfer syntax {syntax}: {}", chain(&error))))?;
        let ybr = ybr && keeps_ybr(name, &syntax, &stream)?;
        return Ok(FrameBytes { data: Cow::Owned(decoded.into_data()), planar: false, ybr });
    }
    let data = element.to_bytes().map_err(|error| fail(name, &chain(&error)))?;
    let length = layout.width * layout.height * layout.samples * (layout.allocated / 8) as usize;
    let start = length.saturating_mul(frame as usize);
    let end = start.saturating_add(length).min(data.len());
    let data = match data {
        Cow::Borrowed(data) => Cow::Borrowed(data.get(start..end).unwrap_or_default()),
        Cow::Owned(data) => Cow::Owned(data.get(start..end).unwrap_or_default().to_vec()),
    };
    Ok(FrameBytes { data, planar: layout.planar, ybr })
}

/// Whether the decoder leaves YBR as it is: run lengths and JPEG-LS are not about colour, nor is
/// JPEG 2000 without its component transform. DCT JPEG becomes RGB.
fn keeps_ybr(name: &str, syntax: &str, stream: &[u8]) -> Result<bool> {
    match syntax.strip_prefix("1.2.840.10008.1.2.4.") {
        // Whether this decoder converts depends on markers within the stream.
        Some("57" | "70") => {
            Err(fail(name, &format!("transfer syntax {syntax} with YBR colour is not supported")))
        }
        Some("80" | "81") => Ok(true),
        Some(_) => Ok(codestream::jpeg2000_transform(stream) == Some(false)),
        None => Ok(syntax == RLE),
    }
}

/// A compressed frame must be what the file says: decoders allocate by its own header, and what they
/// give is taken for samples of the file's kind.
fn check_claim(name: &str, stream: &[u8], layout: &Layout, syntax: &str) -> Result<()> {
    let code = syntax.strip_prefix("1.2.840.10008.1.2.4.").and_then(|code| code.parse().ok());
    // The JPEG family; other syntaxes have no such header.
    if !matches!(code, Some(50..=93 | 201..=203)) {
        return Ok(());
    }
    let Some(claim) = codestream::claim(stream) else {
        let reason = format!("transfer syntax {syntax}: a frame has no header that can be read");
        return Err(fail(name, &reason));
    };
    let refuse = |what: &str, frame: String, file: String| {
        let reason =
            format!("{what} of a frame: {frame} in its own header, {file} in the DICOM file");
        Err(fail(name, &reason))
    };
    if (claim.width, claim.height) != (layout.width as u64, layout.height as u64) {
        let size = |width: u64, height: u64| format!("{width}x{height}");
        let file = size(layout.width as u64, layout.height as u64);
        return refuse("the size", size(claim.width, claim.height), file);
    }
    if claim.components != layout.samples as u64 {
        let (frame, file) = (claim.components.to_string(), layout.samples.to_string());
        return refuse("the samples per pixel", frame, file);
    }
    // JPEG decoders give bytes up to 8 bits; that of JPEG 2000 fills what is allocated.
    let fits = claim.precision <= layout.allocated.into()
        && (claim.jpeg2000 || layout.allocated == 8 || claim.precision > 8);
    if !fits {
        let file = format!("{} allocated", layout.allocated);
        return refuse("the bits", claim.precision.to_string(), file);
    }
    Ok(())
}

/// JPEG baseline and extended of 8 bits, decoded as Pillow decodes them. `None` leaves the frame
/// to the other decoder.
#[cfg(feature = "turbojpeg")]
fn baseline_through_turbojpeg(
    name: &str,
    stream: &[u8],
    layout: &Layout,
    syntax: &str,
) -> Result<Option<Vec<u8>>> {
    let dct = matches!(syntax, "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51");
    if !dct || layout.allocated != 8 {
        return Ok(None);
    }
    let picture = crate::decode::turbo::decode(name, stream, layout.samples)?;
    Ok(Some(picture))
}

/// Values from bytes (16 bits are in the machine's order), signs extended. Bits above those that are
/// stored may hold overlays (retired, but found) and are no part of the value.
fn unpack(bytes: &[u8], layout: &Layout, count: usize) -> Vec<i32> {
    let unused = 32 - layout.stored;
    let extend = |value: i32| {
        let high = value << unused;
        if layout.signed { high >> unused } else { (high as u32 >> unused) as i32 }
    };
    if layout.allocated == 8 {
        return bytes.iter().take(count).map(|&byte| extend(byte.into())).collect();
    }
    let (words, _) = bytes.as_chunks::<2>();
    let words = words.iter().take(count);
    words.map(|&word| extend(u16::from_ne_bytes(word).into())).collect()
}

/// Planes to interleaved values.
fn interleave(values: &[i32], pixels: usize) -> Vec<i32> {
    let plane = |channel: usize| values.iter().skip(channel * pixels).take(pixels);
    plane(0).zip(plane(1)).zip(plane(2)).flat_map(|((&r, &g), &b)| [r, g, b]).collect()
}

/// DICOM PS3.3 C.7.6.3.1.2: the inverse of YBR_FULL, rounded.
fn ybr_to_rgb(name: &str, values: &mut [i32], layout: &Layout) -> Result<()> {
    if layout.photometric != "YBR_FULL" || layout.stored != 8 {
        let reason = format!(
            "{} of {} bits without JPEG is not supported",
            layout.photometric, layout.stored
        );
        return Err(fail(name, &reason));
    }
    let (pixels, _) = values.as_chunks_mut::<3>();
    for pixel in pixels {
        let [y, b, r] = pixel.map(f64::from);
        let (b, r) = (b - 128.0, r - 128.0);
        let rgb = [
            y + 1.402 * r,
            y - (0.114 * 1.772 / 0.587) * b - (0.299 * 1.402 / 0.587) * r,
            y + 1.772 * b,
        ];
        *pixel = rgb.map(|value| (value + 0.5).floor().clamp(0.0, 255.0) as i32);
    }
    Ok(())
}

fn modality(attributes: &Attributes<'_>) -> Modality {
    let signed = attributes.integer(REPRESENTATION) == Some(1);
    let item = attributes.first_item(MODALITY_LUT);
    if let Some(table) = item.and_then(|item| table(&item, signed)) {
        return Modality::Table(table);
    }
    Modality::Linear {
        slope: attributes.real(SLOPE).unwrap_or(1.0),
        intercept: attributes.real(INTERCEPT).unwrap_or(0.0),
    }
}

fn voi(attributes: &Attributes<'_>, signed: bool) -> Option<Voi> {
    let item = attributes.first_item(VOI_LUT);
    if let Some(table) = item.and_then(|item| table(&item, signed)) {
        return Some(Voi::Table(table));
    }
    let (center, width) = (attributes.real(CENTER)?, attributes.real(WIDTH)?);
    let function = match attributes.text(VOI_FUNCTION).as_deref() {
        Some("LINEAR_EXACT") => VoiFunction::LinearExact,
        Some("SIGMOID") => VoiFunction::Sigmoid,
        _ => VoiFunction::Linear,
    };
    let least = if function == VoiFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
    (width >= least).then_some(Voi::Window { center, width, function })
}

/// The table of an item of a LUT sequence; none where it is malformed.
fn table(item: &Attributes<'_>, signed: bool) -> Option<Table> {
    let descriptor = item.integers(LUT_DESCRIPTOR)?;
    let &[count, first, bits] = descriptor.as_slice() else { return None };
    let count = if count == 0 { 65536 } else { (count & 0xffff) as usize };
    // The second number has the sign of what the table is for, whatever type it was read as.
    let first = if signed { i64::from(first as u16 as i16) } else { i64::from(first as u16) };
    let bits = u32::try_from(bits).ok().filter(|bits| (1..=16).contains(bits))?;
    let mut entries: Vec<u16> =
        item.integers(LUT_DATA)?.into_iter().map(|entry| entry as u16).collect();
    if entries.len() < count {
        return None;
    }
    entries.truncate(count);
    Some(Table { first, bits, entries })
}
