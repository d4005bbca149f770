//! From stored values to pictures.

use super::pixels::{DicomPicture, Modality, Voi};
use crate::{Image, Pixels, Result};

/// How many bits a picture of a DICOM file gets.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DicomDepth {
    /// 0 to 255.
    #[default]
    Eight,
    /// 0 to 65535.
    Sixteen,
}

/// How stored values become a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DicomRule {
    /// As the file wants to be shown: modality LUT or rescale, then VOI LUT or the first window
    /// (the frame's smallest to largest value where there is neither), `MONOCHROME1` inverted.
    /// Colour is scaled from the bits stored to full scale.
    Display(DicomDepth),
    /// The rule of the RSNA readers in MED-PEFT and MRM: stored values times 255 / largest value,
    /// rounded (halves to even), `MONOCHROME1` inverted; no table, no window.
    #[serde(rename = "max_to_255")]
    MaxTo255,
    /// Stored values as 16 bits, without any table and not inverted; signed values are moved up
    /// by 2^(bits stored − 1).
    Stored,
}

impl Default for DicomRule {
    /// For display, with 8 bits.
    fn default() -> Self {
        Self::Display(DicomDepth::Eight)
    }
}

impl DicomPicture {
    /// The picture by a rule.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the fields, which are public, do not fit each other.
    pub fn render(&self, rule: DicomRule) -> Result<Image> {
        let pixels = match rule {
            DicomRule::Stored => Pixels::U16(self.values.iter().map(|&v| self.raised(v)).collect()),
            DicomRule::MaxTo255 => Pixels::U8(self.max_to_255()),
            DicomRule::Display(depth) => {
                let shown = self.shown();
                match depth {
                    DicomDepth::Eight => {
                        Pixels::U8(shown.iter().map(|part| (part * 255.0 + 0.5) as u8).collect())
                    }
                    DicomDepth::Sixteen => Pixels::U16(
                        shown.iter().map(|part| (part * 65535.0 + 0.5) as u16).collect(),
                    ),
                }
            }
        };
        Image::new(self.width, self.height, self.channels, pixels)
    }

    fn raised(&self, value: i32) -> u16 {
        let offset = if self.signed { 1 << (self.bits_stored.clamp(1, 16) - 1) } else { 0 };
        value.saturating_add(offset).clamp(0, 65535) as u16
    }

    fn max_to_255(&self) -> Vec<u8> {
        let largest = self.values.iter().copied().max().unwrap_or_default();
        let scale = |value: i32| {
            if largest <= 0 {
                return 0;
            }
            (f64::from(value) * 255.0 / f64::from(largest)).round_ties_even() as u8
        };
        let inverted = self.is_inverted();
        let finish = |value: u8| if inverted { 255 - value } else { value };
        self.values.iter().map(|&value| finish(scale(value))).collect()
    }

    /// Parts of full scale, 0 to 1.
    fn shown(&self) -> Vec<f64> {
        if self.channels == 3 {
            let full = f64::from((1u32 << self.bits_stored.clamp(1, 16)) - 1);
            return self.values.iter().map(|&v| (f64::from(v) / full).clamp(0.0, 1.0)).collect();
        }
        let modality: Vec<f64> = self.values.iter().map(|&value| self.modality(value)).collect();
        let part: Box<dyn Fn(f64) -> f64> = match &self.voi {
            Some(Voi::Table(table)) => {
                let full = f64::from((1u32 << table.bits) - 1);
                Box::new(move |value| (f64::from(table.get(value as i64)) / full).min(1.0))
            }
            Some(Voi::Window { center, width, function }) => {
                Box::new(|value| function.evaluate(value, *center, *width))
            }
            None => {
                let ends = modality
                    .iter()
                    .fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
                let range = (ends.1 - ends.0).max(f64::MIN_POSITIVE);
                Box::new(move |value| (value - ends.0) / range)
            }
        };
        let inverted = self.is_inverted();
        let finish = |part: f64| if inverted { 1.0 - part } else { part };
        modality.into_iter().map(|value| finish(part(value))).collect()
    }

    /// The value of the modality.
    fn modality(&self, value: i32) -> f64 {
        match &self.modality {
            Modality::Linear { slope, intercept } => f64::from(value) * slope + intercept,
            Modality::Table(table) => table.get(value.into()).into(),
        }
    }
}
