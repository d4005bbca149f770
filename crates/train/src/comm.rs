use crate::{Gradients, Result};

/// How several processes train one model together.
pub trait Communicator {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn world_size(&self) -> usize;

    /// Replaces every gradient by its sum over all processes.
    ///
    /// # Errors
    /// When a process is gone.
    fn all_reduce_sum(&self, gradients: &mut Gradients) -> Result<()>;

    /// Waits until every process has come this far.
    ///
    /// # Errors
    /// When a process is gone.
    fn barrier(&self) -> Result<()>;
}

/// One process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Communicator for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _: &mut Gradients) -> Result<()> {
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}
