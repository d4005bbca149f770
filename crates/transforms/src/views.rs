//! Several views of one picture, for test-time augmentation.

use serde::{Deserialize, Serialize};

use crate::crop::{Region, crop};
use crate::flip::{mirror_columns, mirror_rows, quarter_turns};
use crate::parameters::check_side;
use crate::{CenterCrop, Error, Image, Result, Transform};

/// Which views a picture is shown in; the predictions are averaged by [`mean_over_views`].
///
/// Views are taken of the picture before normalisation (or after it: all are mere selections and
/// mirror images of pixels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Views {
    /// The picture itself.
    Single,
    /// The picture and its left-right mirror image.
    HorizontalFlip,
    /// The picture, mirrored left-right, top-bottom, and both.
    Flips,
    /// All eight mirror images and quarter turns.
    Dihedral,
    /// The four corners (top left, top right, bottom left, bottom right) and the centre, as
    /// torchvision's `FiveCrop`.
    FiveCrop {
        /// Side of the squares in pixels.
        size: usize,
    },
    /// The five crops and those of the mirror image, as torchvision's `TenCrop`.
    TenCrop {
        /// Side of the squares in pixels.
        size: usize,
        /// Whether the mirror image is top-bottom instead of left-right.
        vertical: bool,
    },
}

impl Views {
    /// How many views a picture has.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Single => 1,
            Self::HorizontalFlip => 2,
            Self::Flips => 4,
            Self::FiveCrop { .. } => 5,
            Self::Dihedral => 8,
            Self::TenCrop { .. } => 10,
        }
    }

    /// The views of a picture, in the order of the variants' descriptions.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the size is 0 or above 65536, [`Error::Kind`] when the picture is
    /// smaller than the crops.
    pub fn of(&self, image: &Image) -> Result<Vec<Image>> {
        match *self {
            Self::Single => Ok(vec![image.clone()]),
            Self::HorizontalFlip => Ok(vec![image.clone(), mirror_columns(image)?]),
            Self::Flips => {
                let flipped = mirror_rows(image)?;
                Ok(vec![
                    image.clone(),
                    mirror_columns(image)?,
                    flipped.clone(),
                    mirror_columns(&flipped)?,
                ])
            }
            Self::Dihedral => {
                let mirrored = mirror_columns(image)?;
                let turned = (0..4).map(|turns| quarter_turns(image.clone(), turns));
                turned.chain((0..4).map(|turns| quarter_turns(mirrored.clone(), turns))).collect()
            }
            Self::FiveCrop { size } => five_crop(image, size),
            Self::TenCrop { size, vertical } => {
                let mirrored = if vertical { mirror_rows(image) } else { mirror_columns(image) }?;
                let mut views = five_crop(image, size)?;
                views.extend(five_crop(&mirrored, size)?);
                Ok(views)
            }
        }
    }
}

fn five_crop(image: &Image, size: usize) -> Result<Vec<Image>> {
    check_side("Views", "size", size)?;
    let (Some(right), Some(bottom)) =
        (image.width().checked_sub(size), image.height().checked_sub(size))
    else {
        return Err(Error::Kind {
            transform: "Views",
            expected: format!("a picture of at least {size}x{size}"),
            got: image.describe(),
        });
    };
    let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
    let mut views = Vec::with_capacity(5);
    for (left, top) in corners {
        views.push(crop(image.clone(), Region { left, top, width: size, height: size })?);
    }
    // The centre crop draws nothing from its stream.
    let rng = &mut vit_random::Streams::new(0).stream("views", 0, 0);
    views.push(CenterCrop { size }.apply(image.clone(), rng)?);
    Ok(views)
}

/// Means of the predictions of every `views` consecutive rows: rows of `classes` values, first all
/// views of the first picture, then those of the second.
///
/// Average probabilities rather than logits for the usual test-time augmentation.
///
/// # Errors
/// [`Error::Parameter`] when a count is 0 or the values do not make whole pictures.
pub fn mean_over_views(predictions: &[f32], views: usize, classes: usize) -> Result<Vec<f32>> {
    let per_picture = views.saturating_mul(classes);
    if per_picture == 0 || !predictions.len().is_multiple_of(per_picture) {
        let reason = format!(
            "{} predictions do not make rows of {classes} classes in {views} views",
            predictions.len()
        );
        return Err(Error::Parameter { transform: "mean_over_views", reason });
    }
    let mut means = Vec::with_capacity(predictions.len() / views);
    for picture in predictions.chunks_exact(per_picture) {
        for class in 0..classes {
            let sum: f64 = picture.iter().skip(class).step_by(classes).map(|&v| f64::from(v)).sum();
            means.push((sum / views as f64) as f32);
        }
    }
    Ok(means)
}
