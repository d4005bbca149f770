//! Worker threads: jobs out, batches back, put in order again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batch::{Batch, Builder};
use super::{Job, Source};
use crate::{Error, Result};

type Made = (usize, Result<Batch>);

/// Threads of one epoch. Dropping it stops and joins them.
///
/// Both queues hold `capacity` entries and the owner never has more jobs than that outstanding, so
/// neither side ever blocks on sending.
pub(crate) struct Threads {
    jobs: Option<Sender<Job>>,
    made: Receiver<Made>,
    /// Batches that are ready before their turn.
    early: BTreeMap<usize, Result<Batch>>,
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
    /// Why fewer threads than wanted run, if so.
    trouble: Option<String>,
}

impl Threads {
    pub(crate) fn start(source: &Source, count: usize, capacity: usize) -> Self {
        let (jobs, todo) = bounded::<Job>(capacity);
        let (done, made) = bounded::<Made>(capacity);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Self {
            jobs: Some(jobs),
            made,
            early: BTreeMap::new(),
            stop: Arc::clone(&stop),
            handles: Vec::with_capacity(count),
            trouble: None,
        };
        for number in 0..count {
            let builder = Builder::stoppable(source.clone(), Arc::clone(&stop));
            let (todo, done) = (todo.clone(), done.clone());
            let spawned = std::thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || work(&builder, &todo, &done));
            match spawned {
                Ok(handle) => threads.handles.push(handle),
                // The threads that did start can do all the work.
                Err(error) => {
                    tracing::warn!(number, %error, "a loader thread could not be started");
                    threads.trouble = Some(format!("thread {number} did not start: {error}"));
                    break;
                }
            }
        }
        threads
    }

    /// Hands out a job.
    pub(crate) fn order(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only when no thread is left, which `take` reports.
            let _ = jobs.send(job);
        }
    }

    /// Waits for the batch of this number, which must have been ordered.
    pub(crate) fn take(&mut self, number: usize) -> Result<Batch> {
        loop {
            if let Some(result) = self.early.remove(&number) {
                return result;
            }
            match self.made.recv() {
                Ok((made, result)) => {
                    self.early.insert(made, result);
                }
                Err(_) => {
                    let reason = self.trouble.clone();
                    let reason = reason.unwrap_or_else(|| "all have ended".into());
                    return Err(Error::Threads { reason });
                }
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Without a sender the threads find the queue closed and end.
        self.jobs = None;
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                tracing::error!("a loader thread panicked");
            }
        }
    }
}

fn work(builder: &Builder, todo: &Receiver<Job>, done: &Sender<Made>) {
    for job in todo {
        let number = job.number;
        if done.send((number, builder.batch(&job))).is_err() {
            return;
        }
    }
}
