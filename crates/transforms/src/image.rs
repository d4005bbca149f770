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
}
