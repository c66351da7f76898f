//! Profiling steps of `fit`: what `GRADUS_PROFILE` asks for.

use std::path::PathBuf;

use super::record::Recording;
use super::{WARM_UP, trace};
use crate::engine::Handle;
use crate::progress::Progress;
use crate::{Error, Model, environment};

/// Steps that are profiled.
const STEPS: usize = 5;

/// Watches the first steps of a call of `fit`.
pub(crate) struct Profiler<'a> {
    path: PathBuf,
    bar: &'a Progress,
    /// The plan that is profiled: that of the first step.
    program: Option<Handle>,
    seen: usize,
    recording: Recording,
}

impl<'a> Profiler<'a> {
    pub(crate) fn from_env(bar: &'a Progress) -> Result<Option<Self>, Error> {
        let Some(path) = environment::profile()? else {
            return Ok(None);
        };
        // A path that cannot be written stops the training before it begins.
        trace::write(&path, "")?;
        Ok(Some(Self {
            path,
            bar,
            program: None,
            seen: 0,
            recording: Recording::new(),
        }))
    }
}

impl Model {
    /// The same as [`Model::train`]; steps that the profiler wants run one by one and are
    /// recorded. When it has all of them it writes its file and is gone.
    pub(crate) fn train_profiled(
        &mut self,
        profiler: &mut Option<Profiler<'_>>,
        (step, program): (usize, Handle),
        firsts: &[u32],
        samples: usize,
    ) -> Result<(), Error> {
        let wanted = |p: &&mut Profiler<'_>| p.program.is_none_or(|first| first == program);
        let Some(active) = profiler.as_mut().filter(wanted) else {
            return self.train((step, program), firsts, samples);
        };
        active.program = Some(program);
        for &first in firsts {
            if (WARM_UP..WARM_UP + STEPS).contains(&active.seen) {
                self.record(&mut active.recording, (step, program), first, samples)?;
            } else {
                self.train((step, program), &[first], samples)?;
            }
            active.seen += 1;
        }
        if active.seen < WARM_UP + STEPS {
            return Ok(());
        }
        self.finish_profile(profiler)
    }

    /// Writes what was recorded, if that has not been done.
    pub(crate) fn finish_profile(
        &mut self,
        profiler: &mut Option<Profiler<'_>>,
    ) -> Result<(), Error> {
        let Some(profiler) = profiler.take() else {
            return Ok(());
        };
        let text = match profiler.program {
            Some(program) if profiler.seen > WARM_UP => {
                let profile = self.profile_of(program, profiler.recording)?;
                profile.save(&profiler.path)?;
                profile.to_string()
            }
            _ => format!("no profile: it begins after {WARM_UP} steps, and no more were run"),
        };
        profiler.bar.say(&text);
        Ok(())
    }
}
