use std::fmt;

use serde::{Deserialize, Serialize};

/// Height and width of pictures, in pixels. In files one number stands for a square, else
/// `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct ImageSize {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Square(usize),
    Sides([usize; 2]),
}

impl ImageSize {
    /// Rows and columns of patches; 0 for patches of no size.
    #[must_use]
    pub fn grid(&self, patch_size: usize) -> (usize, usize) {
        let patches = |side: usize| side.checked_div(patch_size).unwrap_or(0);
        (patches(self.height), patches(self.width))
    }
}

impl From<Form> for ImageSize {
    fn from(form: Form) -> Self {
        match form {
            Form::Square(side) => side.into(),
            Form::Sides([height, width]) => Self { height, width },
        }
    }
}

impl From<ImageSize> for Form {
    fn from(ImageSize { height, width }: ImageSize) -> Self {
        if height == width { Self::Square(height) } else { Self::Sides([height, width]) }
    }
}

impl From<usize> for ImageSize {
    fn from(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl From<(usize, usize)> for ImageSize {
    fn from((height, width): (usize, usize)) -> Self {
        Self { height, width }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == self.width {
            write!(f, "{}", self.height)
        } else {
            write!(f, "{}×{}", self.height, self.width)
        }
    }
}
