//! The fused path: f32 on the CPU, threaded with rayon, vectorised for what the processor has.

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod block;
pub(crate) mod columns;
pub(crate) mod conv;
pub(crate) mod gelu;
pub(crate) mod losses;
pub(crate) mod mat;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod values;

/// Rows per piece of work of the threaded loops. Fixed, so that sums over rows are added up in the
/// same order for any number of threads.
pub(crate) const ROWS: usize = 32;
