//! The progress bar of `fit`: on a terminal only.

use crate::Scores;
use crate::device::say;

/// Shows how far a training is. Without the feature `progress`, and off a terminal, it is silent.
pub(crate) struct Progress {
    #[cfg(feature = "progress")]
    bar: indicatif::ProgressBar,
    #[cfg(feature = "progress")]
    epochs: usize,
}

#[cfg(feature = "progress")]
impl Progress {
    /// A bar over all samples of all epochs.
    pub(crate) fn new(epochs: usize, samples: usize, show: bool) -> Self {
        use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
        let total = epochs as u64 * samples as u64;
        // Ten times a second is enough for the eye; the target hides itself off a terminal.
        let target = if show {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{prefix} {bar:24} {msg} · {per_sec} · {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                // The bar is only for people: a failed write changes nothing.
                let _ = write!(out, "{:.0} samples/s", state.per_sec());
            };
            bar.set_style(style.with_key("per_sec", rate).progress_chars("━━─"));
        }
        Self { bar, epochs }
    }

    pub(crate) fn epoch(&self, number: usize) {
        self.bar
            .set_prefix(format!("epoch {}/{}", number + 1, self.epochs));
    }

    pub(crate) fn advance(&self, samples: usize, scores: impl FnOnce() -> Scores) {
        if !self.bar.is_hidden() {
            self.bar.set_message(scores().to_string());
        }
        self.bar.inc(samples as u64);
    }

    /// Writes a line above the bar.
    pub(crate) fn line(&self, text: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.println(text());
        }
    }

    /// Writes above the bar; where there is no bar, says it as other things are said.
    pub(crate) fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            say(text);
        } else {
            self.bar.println(text);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line that counts the kernels prepared for a GPU, gone when they are.
#[cfg(all(feature = "progress", feature = "gpu"))]
pub(crate) fn kernels() -> Box<dyn FnMut(usize, usize) + Send> {
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
    // A bar for each plan, made at its first kernel.
    let mut current: Option<ProgressBar> = None;
    Box::new(move |done, all| {
        let bar = current.get_or_insert_with(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(Some(all as u64), target);
            match ProgressStyle::with_template("preparing kernels {pos}/{len}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_position(done as u64);
        if done >= all {
            bar.finish_and_clear();
            current = None;
        }
    })
}

#[cfg(not(feature = "progress"))]
impl Progress {
    pub(crate) fn new(_: usize, _: usize, _: bool) -> Self {
        Self {}
    }

    pub(crate) fn epoch(&self, _: usize) {}

    pub(crate) fn advance(&self, _: usize, _: impl FnOnce() -> Scores) {}

    pub(crate) fn line(&self, _: impl FnOnce() -> String) {}

    pub(crate) fn say(&self, text: &str) {
        say(text);
    }

    pub(crate) fn finish(&self) {}
}
