//! Single kernels: a plan around one, and a device that runs it.
#![allow(dead_code, reason = "each user takes what it needs")]

use gradus_graph::ops::Meta;
use gradus_graph::plan::{
    Bill, Binding, Buffer as PlanBuffer, BufferId, Fragment, Kernel, KernelKind, Operand, Plan,
    Role, SlabLayout, Value, ValueId,
};
use gradus_graph::{DType, Shape, Target};
use gradus_tensor::kernels::Shader;
use gradus_tensor::{
    BindGroup, Buffer, Commands, Device, Dispatch, STEP_ROW_BYTES, Source, compile,
};

/// An operand in a buffer of its own.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) dtype: DType,
    /// What the buffer holds before the kernel runs.
    pub(crate) words: Vec<u32>,
    /// Elements before the operand's first.
    pub(crate) base: usize,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) role: Role,
}

impl Memory {
    pub(crate) fn input(dtype: DType, words: Vec<u32>) -> Self {
        Self {
            dtype,
            words,
            base: 0,
            reads: true,
            writes: false,
            role: Role::Slot(0),
        }
    }

    pub(crate) fn floats(values: &[f32]) -> Self {
        Self::input(DType::F32, values.iter().map(|v| v.to_bits()).collect())
    }

    /// An output, full of NaN.
    pub(crate) fn output(dtype: DType, elements: usize) -> Self {
        Self {
            reads: false,
            writes: true,
            ..Self::input(dtype, vec![0x7fc0_0000; elements])
        }
    }

    /// Error words, all 0: not an operand, only a binding.
    pub(crate) fn errors(sites: usize) -> Self {
        Self {
            role: Role::Errors,
            reads: false,
            ..Self::input(DType::U32, vec![0; sites])
        }
    }
}

/// A plan with one kernel over these operands. Those with [`Role::Errors`] come last.
pub(crate) fn plan(target: Target, kind: KernelKind, memory: &[Memory]) -> (Plan, Kernel) {
    let mut values = Vec::new();
    let (mut buffers, mut operands, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    for (i, m) in memory.iter().enumerate() {
        let buffer = BufferId(i as u32);
        let bytes = (m.words.len() * 4).next_multiple_of(16).max(16) as u64;
        buffers.push(PlanBuffer {
            role: m.role.clone(),
            bytes,
        });
        let is_errors = m.role == Role::Errors;
        bindings.push(Binding {
            buffer,
            offset: 0,
            bytes,
            writes: m.writes || is_errors,
        });
        if is_errors {
            continue;
        }
        let shape = Shape::try_new(&[m.words.len() - m.base]).unwrap_or(Shape::SCALAR);
        let value = ValueId(values.len() as u32);
        values.push(Value {
            name: format!("operand {i}"),
            meta: Meta::new(shape, m.dtype),
            buffer,
            offset: m.base as u64 * 4,
            packed: false,
        });
        operands.push(Operand {
            reads: m.reads.then_some(value),
            writes: m.writes.then_some(value),
            binding: i,
            base: m.base,
        });
    }
    let kernel = Kernel {
        label: "test".into(),
        kind,
        operands,
        bindings,
        errors: memory.iter().position(|m| m.role == Role::Errors),
        meaning: Fragment::default(),
        flops: 0,
        again: false,
    };
    let plan = Plan {
        recomputed: None,
        sparse: Vec::new(),
        name: "test".into(),
        target,
        kernels: Vec::new(),
        values,
        buffers,
        inputs: Vec::new(),
        outputs: Vec::new(),
        readbacks: Vec::new(),
        ring_row: 0,
        sites: Vec::new(),
        literals: Vec::new(),
        slabs: SlabLayout::default(),
        resident: None,
        bill: Bill::default(),
    };
    (plan, kernel)
}

/// A shader on a device, over buffers with this content.
pub(crate) struct Ready {
    device: Device,
    dispatch: Dispatch,
    buffers: Vec<Buffer>,
    step_row: Option<BindGroup>,
}

impl Ready {
    pub(crate) fn new(
        device: &Device,
        shader: &Shader,
        memory: &[Memory],
        step_row: &[u32; 64],
        trusted: bool,
    ) -> anyhow::Result<Self> {
        let mut source = if trusted {
            Source::trusted("test", shader)
        } else {
            Source::checked("test", shader)
        };
        source.label = format!("test/{}", shader.entry);
        let pipeline = compile(device, &source)?;
        let words = |m: &Memory| {
            let mut words = m.words.clone();
            words.resize(words.len().next_multiple_of(4).max(4), 0);
            words
        };
        let buffers: Vec<_> = memory
            .iter()
            .map(|m| Buffer::from_bytes(device, "operand", bytemuck::cast_slice(&words(m))))
            .collect::<Result<_, _>>()?;
        let ranges: Vec<_> = buffers.iter().map(Buffer::whole).collect();
        let dispatch = Dispatch::new(device, "test", &pipeline, &ranges, shader.grid)?;
        let step_row = if shader.step_row {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let rows = Buffer::new(device, "step row", STEP_ROW_BYTES, usage)?;
            rows.write(0, bytemuck::cast_slice(step_row))?;
            Some(BindGroup::step_row(device, &rows, 0)?)
        } else {
            None
        };
        Ok(Self {
            device: device.clone(),
            dispatch,
            buffers,
            step_row,
        })
    }

    /// Dispatches `times` times and waits.
    pub(crate) fn run(&self, times: u32) -> anyhow::Result<()> {
        let mut commands = Commands::new(&self.device, "test")?;
        let mut pass = commands.pass("test");
        if let Some(row) = &self.step_row {
            pass.set_step_row(row);
        }
        for _ in 0..times {
            pass.dispatch(&self.dispatch);
        }
        drop(pass);
        Ok(commands.submit()?.wait()?)
    }

    /// The words of a buffer.
    pub(crate) fn read(&self, buffer: usize) -> anyhow::Result<Vec<u32>> {
        Ok(bytemuck::cast_slice(&self.buffers[buffer].read()?).to_vec())
    }

    /// Gives a buffer its first content again.
    pub(crate) fn reset(&self, buffer: usize, memory: &Memory) -> anyhow::Result<()> {
        Ok(self.buffers[buffer].write(0, bytemuck::cast_slice(&memory.words))?)
    }
}
