//! Transforms of medical pictures.

mod bias;
mod clahe;
mod elastic;
mod frame;
mod histogram;
mod window;

pub use bias::BiasField;
pub use clahe::Clahe;
pub use elastic::ElasticDeformation;
pub use frame::{BlackFrameCrop, BorderCrop};
pub use histogram::HistogramMatch;
pub use window::{VoiFunction, Window, WindowRange};
