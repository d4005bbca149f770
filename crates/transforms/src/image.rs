use crate::{Error, Result};

/// Pixel values, interleaved row by row: index `(y * width + x) * channels + c`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Pixels {
    /// 8-bit values, 0 to 255.
    U8(Vec<u8>),
    /// 16-bit values, 0 to 65535.
    U16(Vec<u16>),
    /// Real values: 0 to 1 after conversion from integers, any range after normalisation.
    F32(Vec<f32>),
}

impl Pixels {
    /// Number of values (width × height × channels).
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `"u8"`, `"u16"` or `"f32"`, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::U16(_) => "u16",
            Self::F32(_) => "f32",
        }
    }
}

/// A picture in memory: grey (1 channel) or RGB (3 channels), never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Pixels,
}

impl Image {
    /// A picture from interleaved values.
    ///
    /// # Errors
    /// [`Error::Shape`] when a side is zero, the channels are neither 1 nor 3, or the number of
    /// values is not `width * height * channels`.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Pixels) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(channels));
        let valid = width > 0 && height > 0 && (channels == 1 || channels == 3);
        if !valid || expected != Some(pixels.len()) {
            return Err(Error::Shape { width, height, channels, values: pixels.len() });
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (RGB).
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The interleaved values.
    #[must_use]
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The interleaved values, giving up the picture.
    #[must_use]
    pub fn into_pixels(self) -> Pixels {
        self.pixels
    }

    /// `"u8 640x480x3"` (kind, width, height, channels), for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} {}x{}x{}", self.pixels.kind(), self.width, self.height, self.channels)
    }

    /// The picture with real values: integers divided by their full scale (255 or 65535), as
    /// torchvision's `ToTensor`; real values stay as they are.
    #[must_use]
    pub fn to_f32(&self) -> Self {
        let values = match &self.pixels {
            Pixels::U8(values) => values.iter().map(|&v| unit_u8(v)).collect(),
            Pixels::U16(values) => values.iter().map(|&v| unit_u16(v)).collect(),
            Pixels::F32(values) => values.clone(),
        };
        Self { pixels: Pixels::F32(values), ..*self }
    }

    /// The picture with 8-bit values: 16-bit values divided by 257 and rounded, real values
    /// clamped to 0..=1, multiplied by 255 and rounded (half up; not-a-number gives 0).
    #[must_use]
    pub fn to_u8(&self) -> Self {
        let values = match &self.pixels {
            Pixels::U8(values) => values.clone(),
            Pixels::U16(values) => {
                values.iter().map(|&v| ((u32::from(v) + 128) / 257) as u8).collect()
            }
            // `as` clamps to 0..=255 and maps not-a-number to 0.
            Pixels::F32(values) => values.iter().map(|&v| (v * 255.0 + 0.5) as u8).collect(),
        };
        Self { pixels: Pixels::U8(values), ..*self }
    }

    /// Writes the picture plane by plane (index `(c * height + y) * width + x`), integers divided
    /// by their full scale (255 or 65535).
    ///
    /// # Errors
    /// [`Error::Buffer`] when `out` does not hold exactly channels × height × width values.
    pub fn write_chw(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.pixels.len() {
            return Err(Error::Buffer { expected: self.pixels.len(), got: out.len() });
        }
        match &self.pixels {
            Pixels::U8(values) => write_planes(values, self.channels, out, |_| unit_u8),
            Pixels::U16(values) => write_planes(values, self.channels, out, |_| unit_u16),
            Pixels::F32(values) => write_planes(values, self.channels, out, |_| |v| v),
        }
        Ok(())
    }
}

/// 8-bit value as part of full scale.
pub(crate) fn unit_u8(value: u8) -> f32 {
    f32::from(value) / 255.0
}

/// 16-bit value as part of full scale.
pub(crate) fn unit_u16(value: u16) -> f32 {
    f32::from(value) / 65535.0
}

/// Writes interleaved values plane by plane, each converted by its channel's rule.
pub(crate) fn write_planes<T: Copy, F: Fn(T) -> f32>(
    values: &[T],
    channels: usize,
    out: &mut [f32],
    rule: impl Fn(usize) -> F,
) {
    if channels != 3 {
        let convert = rule(0);
        for (slot, &value) in out.iter_mut().zip(values) {
            *slot = convert(value);
        }
        return;
    }
    let (pixels, _) = values.as_chunks::<3>();
    for (channel, plane) in out.chunks_exact_mut(pixels.len().max(1)).take(3).enumerate() {
        let convert = rule(channel);
        for (slot, pixel) in plane.iter_mut().zip(pixels) {
            *slot = convert(pixel[channel % 3]);
        }
    }
}

/// Applies one expression to the values of whichever kind they are; the kind stays the same.
macro_rules! map_pixels {
    ($pixels:expr, $values:ident => $result:expr) => {
        match $pixels {
            $crate::Pixels::U8($values) => $crate::Pixels::U8($result),
            $crate::Pixels::U16($values) => $crate::Pixels::U16($result),
            $crate::Pixels::F32($values) => $crate::Pixels::F32($result),
        }
    };
}
pub(crate) use map_pixels;
