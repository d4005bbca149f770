//! Attributes of a data set, missing or malformed ones as such.

use dicom_object::{InMemDicomObject, Tag};

/// A data set's attributes by tag.
pub(super) struct Attributes<'a>(pub(super) &'a InMemDicomObject);

pub(super) const SAMPLES: Tag = Tag(0x0028, 0x0002);
pub(super) const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
pub(super) const FRAMES: Tag = Tag(0x0028, 0x0008);
pub(super) const PLANAR: Tag = Tag(0x0028, 0x0006);
pub(super) const ROWS: Tag = Tag(0x0028, 0x0010);
pub(super) const COLUMNS: Tag = Tag(0x0028, 0x0011);
pub(super) const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
pub(super) const BITS_STORED: Tag = Tag(0x0028, 0x0101);
pub(super) const REPRESENTATION: Tag = Tag(0x0028, 0x0103);
pub(super) const CENTER: Tag = Tag(0x0028, 0x1050);
pub(super) const WIDTH: Tag = Tag(0x0028, 0x1051);
pub(super) const INTERCEPT: Tag = Tag(0x0028, 0x1052);
pub(super) const SLOPE: Tag = Tag(0x0028, 0x1053);
pub(super) const VOI_FUNCTION: Tag = Tag(0x0028, 0x1056);
pub(super) const MODALITY_LUT: Tag = Tag(0x0028, 0x3000);
pub(super) const LUT_DESCRIPTOR: Tag = Tag(0x0028, 0x3002);
pub(super) const LUT_DATA: Tag = Tag(0x0028, 0x3006);
pub(super) const VOI_LUT: Tag = Tag(0x0028, 0x3010);
pub(super) const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

impl Attributes<'_> {
    /// The first number of an attribute.
    pub(super) fn integer(&self, tag: Tag) -> Option<i64> {
        self.0.get(tag)?.to_int().ok()
    }

    /// The first real number of an attribute.
    pub(super) fn real(&self, tag: Tag) -> Option<f64> {
        let values = self.0.get(tag)?.to_multi_float64().ok()?;
        values.first().copied().filter(|value| value.is_finite())
    }

    /// All numbers of an attribute.
    pub(super) fn integers(&self, tag: Tag) -> Option<Vec<i64>> {
        self.0.get(tag)?.to_multi_int().ok()
    }

    /// The text of an attribute without padding.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = self.0.get(tag)?.to_str().ok()?;
        Some(text.trim_end_matches(['\0', ' ']).trim().to_owned())
    }

    /// The first item of a sequence.
    pub(super) fn first_item(&self, tag: Tag) -> Option<Attributes<'_>> {
        self.0.get(tag)?.items()?.first().map(Attributes)
    }
}
