//! The executor: runs plans fast.
//!
//! Compiling a plan turns every kernel into something that runs without allocating: a program into
//! steps over tiles ([`program`]), a product into a call of `gemm` and an epilogue over what is
//! still in the cache ([`matmul`]), a convolution into several of them ([`conv`]). A step then runs its kernels one after another on the memory
//! of the model ([`storage`]).

mod attention;
mod context;
mod conv;
mod gemm;
mod kernel;
mod matmul;
mod memory;
mod packed;
mod product;
mod program;
mod regions;
mod scan;
mod scatter;
mod simd;
mod sort;
mod storage;
mod take;
mod update;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gradus_graph::backend::{
    BackendError, ModelMemory, Observer, ProgramId, Report, Runtime, StepRow, Ticket,
};
use gradus_graph::plan::{Plan, Role};
use gradus_graph::timeline::{KernelTime, Span, Stopwatch, Timeline};
use pulp::Arch;

pub use self::gemm::gemm_rows;

use self::context::Context;
use self::kernel::Prepared;
use self::storage::{Storage, size};

/// Floating-point operations below which a whole step stays on one thread: waking others takes
/// longer than they would save.
const THREADS_FROM: u64 = 10_000_000;

/// The CPU as a back end. Steps run when they are submitted, on the calling thread and, if they
/// are large, on those of [`rayon`]'s current pool. The result is the same for any number of
/// threads.
pub struct CpuRuntime {
    storage: Storage,
    programs: Vec<Executable>,
    reports: BTreeMap<Ticket, Report>,
    tickets: u64,
    arch: Arch,
}

/// A plan, ready to run.
struct Executable {
    plan: Arc<Plan>,
    kernels: Vec<Prepared>,
    errors: Vec<AtomicU32>,
    threads: bool,
}

/// What to look at while a step runs.
enum Watch<'a, 'o> {
    Nothing,
    Operands(&'a mut Observer<'o>),
    Time(&'a mut Stopwatch, &'a mut Vec<KernelTime>),
}

impl CpuRuntime {
    /// The memory of one model, zero.
    pub fn new(memory: ModelMemory) -> Self {
        Self {
            storage: Storage::new(&memory),
            programs: Vec::new(),
            reports: BTreeMap::new(),
            tickets: 0,
            arch: Arch::new(),
        }
    }

    /// Overwrites all memory that does not keep its content between steps. Tests use it to see
    /// that nothing is read before it was written.
    pub fn overwrite_transients(&mut self, word: u32) {
        self.storage.overwrite_transients(word);
    }

    fn step(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        mut watch: Watch<'_, '_>,
    ) -> Result<Vec<f32>, BackendError> {
        let executable = self
            .programs
            .get(program.0)
            .ok_or_else(|| unknown(program))?;
        let context = Context {
            arch: self.arch,
            row,
            errors: &executable.errors,
            threads: executable.threads && rayon::current_num_threads() > 1,
        };
        for (line, kernel) in executable.kernels.iter().enumerate() {
            let buffers = &mut self.storage.buffers;
            let before = match &watch {
                Watch::Operands(_) => executable.operands(line, false, buffers),
                Watch::Nothing | Watch::Time(..) => Vec::new(),
            };
            kernel
                .run(context, buffers)
                .map_err(|m| executable.fault(line, m))?;
            match &mut watch {
                Watch::Nothing => {}
                Watch::Operands(observer) => {
                    observer(line, &before, &executable.operands(line, true, buffers))?;
                }
                Watch::Time(clock, times) => times.push(KernelTime {
                    how: kernel.how().into(),
                    span: clock.lap(),
                }),
            }
        }
        let len = executable.plan.ring_row;
        if len == 0 {
            return Ok(Vec::new());
        }
        let ring = self.storage.range(program.0, &Role::Ring, 0, len as u64)?;
        Ok(bytemuck::cast_slice(ring).to_vec())
    }

    /// Runs a program's steps on one of the threads that its kernels share their work with: each
    /// kernel would otherwise wake one, and wait for it to wake the others.
    fn among_threads<T: Send>(
        &mut self,
        program: ProgramId,
        steps: impl FnOnce(&mut Self) -> T + Send,
    ) -> T {
        let shared = self.programs.get(program.0).is_some_and(|p| p.threads);
        if shared && rayon::current_num_threads() > 1 {
            rayon::scope(|_| steps(self))
        } else {
            steps(self)
        }
    }

    fn upload(&mut self, program: ProgramId, upload: &[u32]) -> Result<(), BackendError> {
        if upload.is_empty() {
            return Ok(());
        }
        let buffer = self
            .storage
            .range(program.0, &Role::Upload, 0, upload.len() as u64)?;
        buffer.copy_from_slice(upload);
        Ok(())
    }

    /// The error words of a program, which are zero afterwards.
    fn errors(&self, program: ProgramId) -> Vec<u32> {
        let errors = self.programs.get(program.0).map_or(&[][..], |p| &p.errors);
        errors
            .iter()
            .map(|e| e.swap(0, Ordering::Relaxed))
            .collect()
    }
}

impl Executable {
    fn fault(&self, line: usize, message: String) -> BackendError {
        fault(&self.plan, line, message)
    }

    /// The words of the operands of a kernel: those that it reads, or those that it writes.
    fn operands(
        &self,
        line: usize,
        written: bool,
        buffers: &[words::Words],
    ) -> Vec<Option<Vec<u32>>> {
        let (Some(kernel), Some(prepared)) = (self.plan.kernels.get(line), self.kernels.get(line))
        else {
            return Vec::new();
        };
        let operands = kernel.operands.iter().enumerate().map(|(i, operand)| {
            let value = if written {
                operand.writes
            } else {
                operand.reads
            }?;
            let value = self.plan.values.get(value.index())?;
            Some(prepared.words(i, value.meta.shape.numel(), buffers))
        });
        operands.collect()
    }
}

impl Runtime for CpuRuntime {
    fn compile(&mut self, plan: Arc<Plan>) -> Result<ProgramId, BackendError> {
        let id = self.programs.len();
        let buffers: Vec<usize> = plan
            .buffers
            .iter()
            .map(|b| self.storage.ensure(id, &b.role, size(b.bytes.div_ceil(4))))
            .collect();
        for (value, array) in &plan.literals {
            let value = plan.values.get(value.index());
            let value =
                value.ok_or_else(|| BackendError::Access("a literal has no value".into()))?;
            let words = array.to_words();
            let len = words.len() as u64;
            let place = self
                .storage
                .range(id, &Role::Literals, value.offset / 4, len)?;
            place.copy_from_slice(&words);
        }
        let prepare = |(line, kernel)| {
            let prepared = Prepared::new(kernel, &plan, &buffers, &mut self.storage);
            prepared.map_err(|m| fault(&plan, line, m))
        };
        let kernels = plan
            .kernels
            .iter()
            .enumerate()
            .map(prepare)
            .collect::<Result<_, _>>()?;
        let flops: u64 = plan.kernels.iter().map(|k| k.flops).sum();
        self.programs.push(Executable {
            kernels,
            errors: plan.sites.iter().map(|_| AtomicU32::new(0)).collect(),
            threads: flops >= THREADS_FROM,
            plan,
        });
        Ok(ProgramId(id))
    }

    fn write(&mut self, role: &Role, first: u64, words: &[u32]) -> Result<(), BackendError> {
        // Persistent buffers are the same for every program.
        let place = self.storage.range(0, role, first, words.len() as u64)?;
        place.copy_from_slice(words);
        Ok(())
    }

    fn read(
        &mut self,
        program: ProgramId,
        role: &Role,
        first: u64,
        count: u64,
    ) -> Result<Vec<u32>, BackendError> {
        Ok(self.storage.range(program.0, role, first, count)?.to_vec())
    }

    fn submit(
        &mut self,
        program: ProgramId,
        rows: &[StepRow],
        upload: &[u32],
    ) -> Result<Ticket, BackendError> {
        self.upload(program, upload)?;
        let rows = self.among_threads(program, |runtime| {
            let rows = rows.iter();
            let rows = rows.map(|row| runtime.step(program, row, Watch::Nothing));
            rows.collect::<Result<_, _>>()
        })?;
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.reports.insert(
            ticket,
            Report {
                rows,
                errors: self.errors(program),
            },
        );
        Ok(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Report, BackendError> {
        let report = self.reports.remove(&ticket);
        report.ok_or_else(|| BackendError::Access(format!("there is no submit {}", ticket.0)))
    }

    fn step_through(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError> {
        self.upload(program, upload)?;
        let rows = vec![self.step(program, row, Watch::Operands(observer))?];
        Ok(Report {
            rows,
            errors: self.errors(program),
        })
    }

    fn profile(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
    ) -> Result<(Report, Timeline), BackendError> {
        let mut watch = Stopwatch::start();
        self.upload(program, upload)?;
        let (upload, mut kernels) = (watch.lap(), Vec::new());
        let rows = vec![self.among_threads(program, |runtime| {
            runtime.step(program, row, Watch::Time(&mut watch, &mut kernels))
        })?];
        let run = Span {
            begin: upload.end,
            end: watch.lap().end,
        };
        let report = Report {
            rows,
            errors: self.errors(program),
        };
        let timeline = Timeline {
            clock: "host clock",
            kernels,
            host: vec![("upload", upload), ("run", run)],
        };
        Ok((report, timeline))
    }

    fn describe(&self) -> String {
        let threads = rayon::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!("CPU ({}, {threads} thread{plural})", processor())
    }
}

impl fmt::Debug for CpuRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuRuntime({} programs)", self.programs.len())
    }
}

/// The processor's name, where the system tells.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut names = info.lines().filter(|line| line.starts_with("model name"));
    let name = names.next().and_then(|line| line.split_once(':'));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

fn fault(plan: &Plan, line: usize, message: String) -> BackendError {
    let label = plan
        .kernels
        .get(line)
        .map_or_else(String::new, |k| k.label.clone());
    BackendError::Kernel {
        label,
        line,
        message,
    }
}

fn unknown(program: ProgramId) -> BackendError {
    BackendError::Access(format!("there is no program {}", program.0))
}
