//! The operators themselves: picture and plain numbers in, picture out. The steps of a pipeline
//! and the random policies are made of them.

pub(crate) mod affine;
pub(crate) mod blur;
pub(crate) mod enhance;
pub(crate) mod hue;
pub(crate) mod tone;
