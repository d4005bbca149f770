//! The model's thread: one batch after the other, off the threads that serve connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ServeLimits;
use super::instruments::Instruments;
use crate::embedder::{Embedder, rows};

/// What a request wants to know of its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Features.
    Embedding,
    /// Probabilities of the classes.
    Classes,
}

/// A prepared picture that waits for the model.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) values: Vec<f32>,
    pub(super) reply: oneshot::Sender<Result<Vec<f32>>>,
    /// The place in the queue, given back when the job is done.
    pub(super) place: OwnedSemaphorePermit,
}

/// The way to the model's thread.
pub(super) struct ModelQueue {
    pub(super) jobs: Sender<Job>,
    /// Upgrades as long as the thread runs.
    alive: Weak<()>,
}

impl ModelQueue {
    /// Whether the thread runs.
    pub(super) fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

/// Starts the thread. It ends when the queue is gone and nothing is left to do.
pub(super) fn start(
    embedder: Arc<Embedder>,
    limits: &ServeLimits,
    instruments: Arc<Instruments>,
) -> Result<(ModelQueue, JoinHandle<()>)> {
    let life = Arc::new(());
    let alive = Arc::downgrade(&life);
    let (jobs, todo) = bounded(limits.queue);
    let model = Model {
        embedder,
        features: limits.features,
        max_batch: limits.max_batch,
        max_wait: Duration::from_millis(limits.max_wait_ms),
        instruments,
    };
    let thread = std::thread::Builder::new().name("model".to_string());
    let thread = thread.spawn(move || {
        let _life = life;
        model.work(&todo);
    })?;
    Ok((ModelQueue { jobs, alive }, thread))
}

struct Model {
    embedder: Arc<Embedder>,
    features: crate::embedder::Features,
    max_batch: usize,
    max_wait: Duration,
    instruments: Arc<Instruments>,
}

impl Model {
    fn work(&self, todo: &Receiver<Job>) {
        while let Ok(first) = todo.recv() {
            let (embeddings, classes): (Vec<Job>, Vec<Job>) =
                self.gather(first, todo).into_iter().partition(|job| job.ask == Ask::Embedding);
            self.answer(Ask::Embedding, embeddings);
            self.answer(Ask::Classes, classes);
        }
    }

    /// What has come in by now, and what comes in soon. Those that nobody waits for are left out.
    fn gather(&self, first: Job, todo: &Receiver<Job>) -> Vec<Job> {
        let deadline = Instant::now() + self.max_wait;
        let mut batch = vec![first];
        while batch.len() < self.max_batch {
            match todo.recv_deadline(deadline) {
                Ok(job) if job.reply.is_closed() => {}
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        batch
    }

    fn answer(&self, ask: Ask, mut jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let start = Instant::now();
        // Moved out, so that a picture is not in memory twice for longer than it takes.
        let values: Vec<f32> =
            jobs.iter_mut().flat_map(|job| std::mem::take(&mut job.values)).collect();
        // What the model may do to a batch must not end the thread.
        let answers = catch_unwind(AssertUnwindSafe(|| self.compute(ask, values, jobs.len())))
            .unwrap_or_else(|_| bail_panic());
        self.instruments.batch(jobs.len(), start.elapsed());
        match answers {
            Ok(answers) => {
                for (Job { reply, place, .. }, answer) in jobs.into_iter().zip(answers) {
                    drop(place);
                    // Nobody may be waiting any more.
                    let _ = reply.send(finite(answer));
                }
            }
            Err(error) => {
                for Job { reply, .. } in jobs {
                    let _ = reply.send(Err(anyhow::anyhow!("{error:#}")));
                }
            }
        }
    }

    fn compute(&self, ask: Ask, values: Vec<f32>, count: usize) -> Result<Vec<Vec<f32>>> {
        let images = self.embedder.batch(values)?;
        let answers = match ask {
            Ask::Embedding => rows(&self.embedder.features(&images, self.features)?)?,
            Ask::Classes => self.embedder.probabilities(&images)?,
        };
        if answers.len() != count {
            bail!("{} answers for {count} pictures", answers.len());
        }
        Ok(answers)
    }
}

fn bail_panic<T>() -> Result<T> {
    bail!("the model panicked")
}

/// JSON has no other numbers.
fn finite(answer: Vec<f32>) -> Result<Vec<f32>> {
    if answer.iter().all(|value| value.is_finite()) {
        return Ok(answer);
    }
    bail!("the model's output for this picture is not finite")
}
