//! Work shared between threads, results in order.

use std::collections::BTreeMap;

use crossbeam_channel::bounded;

use crate::{Error, Result};

/// Results that may be waiting for each thread.
const AHEAD: usize = 4;

/// Calls `make` for 0 to below `len` in `workers` threads (0: in this one) and hands the results to
/// `take`, which runs in this thread, in order. An error of `take` ends the work.
///
/// No more than a few results per thread exist at a time. `make` must not panic.
pub(crate) fn ordered<T: Send>(
    len: usize,
    workers: usize,
    make: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let workers = workers.min(len);
    if workers == 0 {
        return (0..len).try_for_each(|index| take(index, make(index)));
    }
    let window = workers.saturating_mul(AHEAD).min(len);
    std::thread::scope(|scope| {
        let (jobs, todo) = bounded::<usize>(window);
        let (done, made) = bounded::<(usize, T)>(window);
        for _ in 0..workers {
            let (todo, done, make) = (todo.clone(), done.clone(), &make);
            scope.spawn(move || {
                for index in todo {
                    if done.send((index, make(index))).is_err() {
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
            take(index, result)?;
            if index + window < len {
                jobs.send(index + window).map_err(|_| gone(()))?;
            }
        }
        Ok(())
    })
}
