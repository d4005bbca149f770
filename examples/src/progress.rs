use std::ops::ControlFlow;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use vit_train::{AuditReport, EpochInfo, Observer, SkipInfo, StepInfo};

/// A bar for work that is counted, as of pictures.
pub(crate) fn counter(title: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_string());
    bar
}

/// So much of the work is done.
pub(crate) fn count(bar: &ProgressBar, done: usize, total: usize) {
    bar.set_length(total as u64);
    bar.set_position(done as u64);
}

/// A progress bar over a run, with a line per epoch.
pub struct Progress {
    bar: ProgressBar,
    epochs: u64,
    started: Instant,
}

impl Progress {
    /// For a run of so many epochs.
    #[must_use]
    pub fn new(title: &str, epochs: u64, batches: usize) -> Self {
        let bar = ProgressBar::new(epochs * batches as u64);
        let template = "{prefix:>12} [{bar:30}] {pos}/{len} {elapsed}<{eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_string());
        Self { bar, epochs, started: Instant::now() }
    }

    /// Takes the bar away and gives the seconds since the start.
    #[must_use]
    pub fn finish(self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }

    /// A line above the bar, also where there is no terminal to draw a bar on.
    fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}

impl Observer for Progress {
    fn audited(&mut self, report: &AuditReport) {
        self.line(&format!("gradient-reach audit: {report}"));
    }

    fn step(&mut self, info: &StepInfo) -> ControlFlow<()> {
        self.bar.set_position(info.epoch * info.batches as u64 + info.batch as u64 + 1);
        self.bar.set_message(format!("loss {:.4} lr {:.2e}", info.loss, info.lr));
        ControlFlow::Continue(())
    }

    fn skipped(&mut self, info: &SkipInfo) {
        self.line(&format!(
            "skipped batch {} of epoch {}: {} not finite; samples {}",
            info.batch,
            info.epoch,
            info.non_finite,
            info.ids.join(", ")
        ));
    }

    fn epoch(&mut self, info: &EpochInfo) {
        let mut line = format!("epoch {:>3}/{}", info.epoch + 1, self.epochs);
        if let Some(loss) = info.train_loss {
            line += &format!("  train loss {loss:.4}");
        }
        if let Some(validation) = &info.validation {
            line += &format!("  val loss {:.4}", validation.loss);
            for name in ["accuracy", "auroc_macro"] {
                if let Some(value) = validation.value(name) {
                    line += &format!("  {name} {value:.4}");
                }
            }
        }
        if info.best {
            line += "  *";
        }
        self.line(&format!("{line}  ({:.0} s)", self.started.elapsed().as_secs_f64()));
    }
}
