//! What a back end does: compile plans and run them over memory it holds.

use std::sync::Arc;

use thiserror::Error;

use crate::plan::{Plan, Role, SlabLayout};
use crate::step_row;
use crate::timeline::Timeline;

/// One row of uniform data; see [`step_row`].
pub type StepRow = [u32; step_row::WORDS];

/// A compiled plan of one [`Runtime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(pub usize);

/// Steps that were submitted and may still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What submitted steps reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// For each step, its row of the ring.
    pub rows: Vec<Vec<f32>>,
    /// For each index check of the plan, the bits of a bad index, or 0. Cleared when reported.
    pub errors: Vec<u32>,
}

/// Sizes of the memory that all plans of a model share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelMemory {
    /// Parameters; gradients and optimizer states mirror them.
    pub slabs: SlabLayout,
    /// Number of optimizer state vectors.
    pub optimizer_states: usize,
    /// Bytes of the model's states.
    pub state_bytes: u64,
}

/// A device with the memory of one model. Everything is made at `compile`; a submitted step
/// allocates nothing and waits for nothing but the step three before it.
pub trait Runtime: Send {
    /// Makes everything a plan needs. Persistent buffers (slabs, states, resident data) are
    /// shared between the plans of a runtime by their [`Role`]; the others belong to the plan,
    /// or are shared where that is invisible.
    ///
    /// # Errors
    /// If the device refuses a buffer or a kernel.
    fn compile(&mut self, plan: Arc<Plan>) -> Result<ProgramId, BackendError>;

    /// Writes words to a persistent buffer, from this element on.
    ///
    /// # Errors
    /// If there is no such buffer, the range is outside, or the device is lost.
    fn write(&mut self, role: &Role, first: u64, words: &[u32]) -> Result<(), BackendError>;

    /// Reads words of a buffer: persistent, or of the plan last run ([`Role::Outputs`]).
    ///
    /// # Errors
    /// As for [`Runtime::write`].
    fn read(
        &mut self,
        program: ProgramId,
        role: &Role,
        first: u64,
        count: u64,
    ) -> Result<Vec<u32>, BackendError>;

    /// Runs one step for each row, in order. `upload` is the content of [`Role::Upload`], the
    /// same for all rows; empty if the data set is resident.
    ///
    /// # Errors
    /// If the device is lost or an earlier error is still to be reported.
    fn submit(
        &mut self,
        program: ProgramId,
        rows: &[StepRow],
        upload: &[u32],
    ) -> Result<Ticket, BackendError>;

    /// Waits for a ticket and gives its report. Each ticket is waited for once, in order.
    ///
    /// # Errors
    /// If the device is lost or does not answer in time.
    fn wait(&mut self, ticket: Ticket) -> Result<Report, BackendError>;

    /// Runs one step kernel by kernel. After each one the observer gets the kernel's number and
    /// the words of its operands: as read before it ran (`None` for those only written), and as
    /// they are after it ran (`None` for those only read).
    ///
    /// # Errors
    /// As for [`Runtime::submit`], or what the observer returns.
    fn step_through(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError>;

    /// Runs one step with the same results as [`Runtime::submit`], and tells when each kernel ran.
    ///
    /// # Errors
    /// As for [`Runtime::submit`].
    fn profile(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
    ) -> Result<(Report, Timeline), BackendError>;

    /// For people: the device and its driver.
    fn describe(&self) -> String;
}

/// Looks at one kernel of a step: its number, operands before, operands after.
pub type Observer<'a> =
    dyn FnMut(usize, &[Option<Vec<u32>>], &[Option<Vec<u32>>]) -> Result<(), BackendError> + 'a;

/// What can go wrong on a device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The device is gone.
    #[error("device lost: {0}; parameters on it are gone too, so load the last checkpoint")]
    DeviceLost(String),
    /// Memory is short.
    #[error("out of memory: {what} needs {bytes} bytes; {advice}")]
    OutOfMemory {
        /// What was to be made.
        what: String,
        /// Its size.
        bytes: u64,
        /// What to do.
        advice: String,
    },
    /// A kernel could not be made or run.
    #[error("kernel `{label}` (plan line {line}): {message}")]
    Kernel {
        /// The kernel.
        label: String,
        /// Its line in the plan, from 0.
        line: usize,
        /// What the device said.
        message: String,
    },
    /// The device did not answer in time.
    #[error("the device did not finish within {seconds} s: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A range that is not inside its buffer, or a buffer that does not exist.
    #[error("{0}")]
    Access(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}
