//! Updates of parameters in place.

mod adamw;
pub(crate) mod inplace;
mod momentum;
mod norm;

pub use adamw::{AdamWStep, adamw_step};
pub use momentum::{SgdStep, lars_step, sgd_step};
pub use norm::sum_of_squares;
