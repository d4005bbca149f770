//! Work shared between threads, results in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::bounded;

use crate::guard::message;
use crate::{Error, Result};

/// Results that may be waiting for each thread.
const AHEAD: usize = 4;

/// Calls `make` for 0 to below `len` in `workers` threads (0: in this one) and hands the results to
/// `take`, which runs in this thread, in order. An error of `take` ends the work.
///
/// No more than a few results per thread exist at a time. A panic of `make` is
/// an error of its index.
pub(crate) fn ordered<T: Send>(
    len: usize,
    workers: usize,
    make: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let workers = workers.min(len);
    if workers == 0 {
        return (0..len).try_for_each(|index| take(index, catch(&make, index)?));
    }
    let window = workers.saturating_mul(AHEAD).min(len);
    std::thread::scope(|scope| {
        let (jobs, todo) = bounded::<usize>(window);
        let (done, made) = bounded::<(usize, Result<T>)>(window);
        for _ in 0..workers {
            let (todo, done, make) = (todo.clone(), done.clone(), &make);
            scope.spawn(move || {
                for index in todo {
                    if done.send((index, catch(make, index))).is_err() {
                        return;
                    }
                }
            });
        }
        // So that `made` ends with the threads.
        drop((todo, done));
        let mut early = BTreeMap::new();
        let gone = |_| Error::Threads { reason: "all have ended".into() };
        for index in 0..window {
            jobs.send(index).map_err(|_| gone(()))?;
        }
        for index in 0..len {
            let result = loop {
                if let Some(result) = early.remove(&index) {
                    break result;
                }
                let (number, result) = made.recv().map_err(|_| gone(()))?;
                early.insert(number, result);
            };
            take(index, result?)?;
            if index + window < len {
                jobs.send(index + window).map_err(|_| gone(()))?;
            }
        }
        Ok(())
    })
}

/// Other threads would wait for ever for the result of one that panicked.
fn catch<T>(make: impl Fn(usize) -> T, index: usize) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| make(index))).map_err(|cause| {
        let (id, message) = (format!("index {index}"), message(cause.as_ref()));
        Error::Panic { id, message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_for_any_number_of_threads() {
        for workers in [0, 1, 2, 5] {
            let make = |index: usize| {
                assert_ne!(index, 7, "seven is broken");
                index
            };
            let mut taken = Vec::new();
            let error = ordered(40, workers, make, |_, made| {
                taken.push(made);
                Ok(())
            })
            .unwrap_err();
            assert!(error.to_string().contains("seven is broken"), "{error}");
            assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6], "{workers}");
        }
    }
}
