//! One kernel of a plan, ready to run.

use gradus_graph::plan::{Kernel, KernelKind, Plan};
use gradus_graph::{DType, bf16};

use super::attention::Attention;
use super::context::Context;
use super::conv::Conv;
use super::matmul::MatMul;
use super::memory::{MAX_WRITTEN, Memory};
use super::packed::Packed;
use super::program::Compiled;
use super::regions::{Regions, Span};
use super::scan::Scan;
use super::scatter::Scatter;
use super::sort::Sort;
use super::storage::{Storage, size};
use super::take::Take;
use super::update::Update;
use super::words::Words;

/// One kernel of a plan, ready to run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What it writes.
    regions: Regions,
    /// Its operands.
    spans: Vec<Span>,
    /// Those of them that lie packed.
    packed: Vec<Packed>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Program(Compiled),
    MatMul(Box<MatMul>),
    Conv(Box<Conv>),
    Attention(Box<Attention>),
    Scatter(Scatter),
    Scan(Scan),
    Sort(Sort),
    Update(Update),
    Take(Take),
}

impl Prepared {
    /// Prepares a kernel of a plan, whose buffers have these numbers in the storage.
    ///
    /// # Errors
    /// If it is malformed or reaches outside of its operands.
    pub(super) fn new(
        kernel: &Kernel,
        plan: &Plan,
        buffers: &[usize],
        storage: &mut Storage,
    ) -> Result<Self, String> {
        let mut spans = spans(kernel, plan, buffers)?;
        let packed = unpacked(kernel, plan, &mut spans, storage);
        let (regions, places) = Regions::new(&spans)?;
        let dtype = |operand: usize| {
            let read = kernel.operands.get(operand).and_then(|o| o.reads);
            let value = read.and_then(|v| plan.values.get(v.index()));
            value
                .map(|v| v.meta.dtype)
                .ok_or_else(|| format!("operand {operand} is not read"))
        };
        let body = match &kernel.kind {
            KernelKind::Program(program) => Body::Program(Compiled::new(program, &places)?),
            KernelKind::MatMul(matmul) => Body::MatMul(Box::new(MatMul::new(matmul, &places)?)),
            KernelKind::Conv(conv) => Body::Conv(Box::new(Conv::new(conv, &places)?)),
            KernelKind::Attention(attention) => {
                let mask = attention.mask.map(|m| dtype(m.operand)).transpose()?;
                let mask = mask.unwrap_or(DType::Bool);
                let attention = Attention::new(attention, mask, kernel.flops, &places)?;
                Body::Attention(Box::new(attention))
            }
            KernelKind::Scatter(scatter) => {
                let dtype = scatter.x.map_or(Ok(DType::I32), dtype)?;
                Body::Scatter(Scatter::new(scatter, dtype, &places)?)
            }
            KernelKind::Scan(scan) => Body::Scan(Scan::new(scan, dtype(scan.x)?, &places)?),
            KernelKind::Sort(sort) => Body::Sort(Sort::new(sort, dtype(sort.x)?, &places)?),
            KernelKind::Update(update) => Body::Update(Update::new(update, &places)?),
            KernelKind::Take(take) => Body::Take(Take::new(take, &places)?),
        };
        Ok(Self {
            regions,
            spans,
            packed,
            body,
        })
    }

    /// Computes it.
    ///
    /// # Errors
    /// If the step asks for what there is not.
    pub(super) fn run(&self, context: Context<'_>, buffers: &mut [Words]) -> Result<(), String> {
        for packed in self.packed.iter().filter(|p| p.reads) {
            packed.unpack(context, buffers);
        }
        let mut taken: [Words; MAX_WRITTEN] = Default::default();
        exchange(&self.regions.taken, buffers, &mut taken);
        let mut memory = Memory::new(buffers, &mut taken, &self.regions.regions);
        let done = match &self.body {
            Body::Program(program) => {
                program.run(context, &mut memory, 0..program.rows());
                Ok(())
            }
            Body::MatMul(matmul) => matmul.run(context, &mut memory),
            Body::Conv(conv) => conv.run(context, &mut memory),
            Body::Attention(attention) => attention.run(context, &mut memory),
            Body::Scatter(scatter) => {
                scatter.run(&mut memory);
                Ok(())
            }
            Body::Scan(scan) => {
                scan.run(&mut memory);
                Ok(())
            }
            Body::Sort(sort) => {
                sort.run(&mut memory);
                Ok(())
            }
            Body::Update(update) => {
                update.run(&mut memory);
                Ok(())
            }
            Body::Take(take) => take.run(context, &mut memory),
        };
        exchange(&self.regions.taken, buffers, &mut taken);
        for packed in self.packed.iter().filter(|p| p.writes) {
            packed.pack(context, buffers);
        }
        done
    }

    /// How it is computed, for people.
    pub(super) const fn how(&self) -> &'static str {
        match self.body {
            Body::Program(_) => "program",
            Body::MatMul(_) | Body::Conv(_) | Body::Attention(_) => "gemm",
            Body::Scatter(_) => "scatter",
            Body::Scan(_) => "scan",
            Body::Sort(_) => "sort",
            Body::Update(_) => "update",
            Body::Take(_) => "take",
        }
    }

    /// The first elements of an operand, each as a word.
    pub(super) fn words(&self, operand: usize, len: usize, buffers: &[Words]) -> Vec<u32> {
        if let Some(packed) = self.packed.iter().find(|p| p.operand == operand) {
            return packed.elements(buffers);
        }
        let words = self.spans.get(operand).and_then(|span| {
            let start = span.words.start;
            buffers.get(span.buffer)?.get(start..start + len)
        });
        words.unwrap_or_default().to_vec()
    }
}

/// Exchanges the buffers that are written with those in `taken`.
fn exchange(written: &[usize], buffers: &mut [Words], taken: &mut [Words]) {
    for (&id, taken) in written.iter().zip(taken) {
        if let Some(buffer) = buffers.get_mut(id) {
            std::mem::swap(buffer, taken);
        }
    }
}

/// Where the operands of a kernel lie.
fn spans(kernel: &Kernel, plan: &Plan, buffers: &[usize]) -> Result<Vec<Span>, String> {
    let spans = kernel.operands.iter().map(|operand| {
        let binding = kernel
            .bindings
            .get(operand.binding)
            .ok_or("an operand has no binding")?;
        let buffer = buffers
            .get(binding.buffer.index())
            .ok_or("a binding has no buffer")?;
        let first = size(binding.offset / 4);
        let start = first + operand.base;
        let value = operand.writes.or(operand.reads);
        let value = value.and_then(|v| plan.values.get(v.index()));
        let words = value.map_or(0, |v| v.meta.shape.numel());
        Ok::<_, String>(Span {
            buffer: *buffer,
            words: start..start + words,
            end: first + size(binding.bytes / 4),
            writes: operand.writes.is_some(),
        })
    });
    spans.collect()
}

/// Moves the spans of packed operands to where they are unpacked.
fn unpacked(
    kernel: &Kernel,
    plan: &Plan,
    spans: &mut [Span],
    storage: &mut Storage,
) -> Vec<Packed> {
    let mut all: Vec<Packed> = Vec::new();
    for (operand, (o, span)) in kernel.operands.iter().zip(spans).enumerate() {
        let value = o
            .writes
            .or(o.reads)
            .and_then(|v| plan.values.get(v.index()));
        if !value.is_some_and(|v| v.packed) {
            continue;
        }
        let (len, start) = (span.words.len(), span.words.start);
        let room = len.next_multiple_of(4);
        let packed = Packed {
            operand,
            buffer: span.buffer,
            words: start..start + bf16::words(len),
            unpacked: storage.unpacked(all.len(), room),
            len,
            reads: o.reads.is_some(),
            writes: o.writes.is_some(),
        };
        *span = Span {
            buffer: packed.unpacked,
            words: 0..len,
            end: room,
            writes: packed.writes,
        };
        all.push(packed);
    }
    all
}
