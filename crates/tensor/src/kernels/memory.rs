//! The storage buffers of a kernel, as WGSL variables.
//!
//! Binding `i` of the kernel is `buf{i}`. It has one element type: `vec4` if four neighbours are
//! read or written at once anywhere, unless a single element is written somewhere (writing one
//! component of a vector may write all of it). Operands of another dtype in the same binding are
//! cast bit by bit.
//!
//! A binding with packed elements, two bfloat16 in a word, holds `u32`. Four neighbours are two
//! whole words. Where single ones are written, two invocations may each write a half of one word,
//! so the words are atomic: each clears its own half and then sets it, in whatever order.

use gradus_graph::plan::{Kernel, Plan, Role};
use gradus_graph::{DType, step_row};

use super::{Access, Binding, ShaderError, Writer};

/// The bindings and operands of one kernel.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    buffers: Vec<Buffer>,
    operands: Vec<Operand>,
}

#[derive(Clone, Debug)]
struct Buffer {
    writes: bool,
    dtype: DType,
    errors: bool,
    /// Whether it holds packed elements, and whether halves of words are written.
    packed: bool,
    halves: bool,
    width: Width,
}

#[derive(Clone, Copy, Debug)]
struct Operand {
    binding: usize,
    base: u32,
    dtype: DType,
    ring: bool,
    packed: bool,
}

/// What the accesses to a binding ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Any,
    Wide,
    Narrow,
}

/// See [`Memory::reader`].
#[derive(Clone, Debug)]
pub(super) struct Reader {
    name: String,
    packed: bool,
    have: DType,
    want: DType,
}

impl Reader {
    /// The element at a place; with `wide` the four at a place counted in fours.
    pub(super) fn load(&self, at: &str, wide: bool) -> String {
        let name = &self.name;
        match (self.packed, wide) {
            (true, true) => {
                format!("g_unpack({name}[({at}) * 2u], {name}[({at}) * 2u + 1u])")
            }
            (true, false) => format!("g_half({name}[({at}) / 2u], ({at}) % 2u)"),
            (false, _) => cast_bits(format!("{name}[{at}]"), self.have, self.want, wide),
        }
    }
}

impl Memory {
    pub(super) fn new(plan: &Plan, kernel: &Kernel) -> Result<Self, ShaderError> {
        let role = |buffer: gradus_graph::plan::BufferId| {
            plan.buffers.get(buffer.index()).map(|b| b.role.clone())
        };
        let mut memory = Self {
            buffers: Vec::new(),
            operands: Vec::new(),
        };
        for (i, binding) in kernel.bindings.iter().enumerate() {
            memory.buffers.push(Buffer {
                writes: binding.writes,
                dtype: DType::F32,
                errors: kernel.errors == Some(i),
                packed: false,
                halves: false,
                width: Width::Any,
            });
        }
        let mut first_dtype = vec![None; memory.buffers.len()];
        for (number, operand) in kernel.operands.iter().enumerate() {
            let value = operand.reads.or(operand.writes);
            let value = value
                .and_then(|v| plan.values.get(v.index()))
                .ok_or(ShaderError::NoValue(number))?;
            let dtype = value.meta.dtype;
            let buffer = memory
                .buffers
                .get_mut(operand.binding)
                .ok_or(ShaderError::NoBinding(number))?;
            if let Some(first) = first_dtype.get_mut(operand.binding) {
                buffer.dtype = *first.get_or_insert(stored(dtype));
            }
            if value.packed {
                (buffer.packed, buffer.width) = (true, Width::Narrow);
            }
            if buffer.packed {
                buffer.dtype = DType::U32;
            }
            memory.operands.push(Operand {
                binding: operand.binding,
                base: super::small(operand.base)?,
                dtype,
                ring: role(value.buffer) == Some(Role::Ring),
                packed: value.packed,
            });
        }
        Ok(memory)
    }

    /// Notes that elements `4i..4i + 4` of an operand are read or written at once.
    pub(super) fn note_quads(&mut self, operand: usize) {
        if self.aligned(operand)
            && let Some(buffer) = self.buffer_mut(operand)
            && buffer.width == Width::Any
        {
            buffer.width = Width::Wide;
        }
    }

    /// Notes that single elements of an operand are written, or mostly read.
    pub(super) fn note_singles(&mut self, operand: usize) {
        let packed = self.is_packed(operand);
        if let Some(buffer) = self.buffer_mut(operand) {
            buffer.width = Width::Narrow;
            buffer.halves |= packed && buffer.writes;
        }
    }

    /// Whether the operand's elements lie two in a word.
    pub(super) fn is_packed(&self, operand: usize) -> bool {
        self.operands.get(operand).is_some_and(|o| o.packed)
    }

    /// Whether quads of the operand's elements are quads of the binding.
    pub(super) fn aligned(&self, operand: usize) -> bool {
        let operand = self.operands.get(operand);
        operand.is_some_and(|o| o.base.is_multiple_of(4) && !o.ring)
    }

    /// Whether the operand's binding holds `vec4`s. Only final after every access was noted.
    pub(super) fn is_wide(&self, operand: usize) -> bool {
        self.buffer(operand).is_some_and(|b| b.width == Width::Wide)
    }

    /// Whether elements `4i..4i + 4` of the operand's binding can be read at once. Only final after
    /// every access was noted.
    pub(super) fn reads_quads(&self, operand: usize) -> bool {
        self.is_packed(operand) || self.is_wide(operand)
    }

    /// Elements from the start of the binding to the operand.
    pub(super) fn base(&self, operand: usize) -> u32 {
        let base = self.words_before(operand);
        if self.is_packed(operand) {
            2 * base
        } else {
            base
        }
    }

    fn words_before(&self, operand: usize) -> u32 {
        self.operands.get(operand).map_or(0, |o| o.base)
    }

    /// How elements of an operand that is only read are found by their place in the binding.
    pub(super) fn reader(&self, operand: usize) -> Reader {
        let dtype = self.dtype(operand);
        Reader {
            name: self.name(operand),
            packed: self.is_packed(operand),
            have: self.buffer(operand).map_or(dtype, |b| b.dtype),
            want: stored(dtype),
        }
    }

    /// The dtype of an operand.
    pub(super) fn dtype(&self, operand: usize) -> DType {
        self.operands.get(operand).map_or(DType::F32, |o| o.dtype)
    }

    /// The variable of the operand's binding.
    pub(super) fn name(&self, operand: usize) -> String {
        let binding = self.operands.get(operand).map_or(0, |o| o.binding);
        format!("buf{binding}")
    }

    /// Whether the operand is written to the step's row of the ring.
    fn is_ring(&self, operand: usize) -> bool {
        self.operands.get(operand).is_some_and(|o| o.ring)
    }

    /// The atomic error word of an index check.
    pub(super) fn error_word(&self, site: usize) -> Option<String> {
        let binding = self.buffers.iter().position(|b| b.errors)?;
        Some(format!("buf{binding}[{site}u]"))
    }

    /// The bindings, in order.
    pub(super) fn bindings(&self) -> Vec<Binding> {
        let access = |writes| {
            if writes {
                Access::ReadWrite
            } else {
                Access::Read
            }
        };
        let bindings = self.buffers.iter().enumerate();
        let bindings = bindings.map(|(buffer, b)| Binding {
            buffer,
            access: access(b.writes),
        });
        bindings.collect()
    }

    /// Writes the declarations.
    pub(super) fn declare(&self, out: &mut Writer) {
        for (i, buffer) in self.buffers.iter().enumerate() {
            let access = if buffer.writes { "read_write" } else { "read" };
            let scalar = scalar(buffer.dtype);
            let ty = match (buffer.errors || buffer.halves, buffer.width) {
                (true, _) => "atomic<u32>".to_owned(),
                (_, Width::Wide) => format!("vec4<{scalar}>"),
                _ => scalar.to_owned(),
            };
            out.line(format_args!(
                "@group(0) @binding({i}) var<storage, {access}> buf{i}: array<{ty}>;"
            ));
        }
    }

    /// Element `index` of an operand, counted from its start.
    pub(super) fn load(&self, operand: usize, index: &str) -> String {
        if self.is_packed(operand) {
            let word = self.word(operand, &self.at(operand, &format!("({index}) / 2u")));
            return format!("g_half({word}, ({index}) % 2u)");
        }
        let at = self.at(operand, index);
        let element = if self.is_wide(operand) {
            format!("{}[({at}) / 4u][({at}) % 4u]", self.name(operand))
        } else {
            self.word(operand, &at)
        };
        self.loaded(operand, element, false)
    }

    /// Elements `4·quad..4·quad + 4` of an operand.
    pub(super) fn load4(&self, operand: usize, quad: &str) -> String {
        if self.is_packed(operand) {
            let word =
                |i: u32| self.word(operand, &self.at(operand, &format!("{quad} * 2u + {i}u")));
            return format!("g_unpack({}, {})", word(0), word(1));
        }
        if self.is_wide(operand) && self.aligned(operand) {
            let at = self.at4(operand, quad);
            return self.loaded(operand, format!("{}[{at}]", self.name(operand)), true);
        }
        let parts = [0, 1, 2, 3].map(|i| self.load(operand, &format!("{quad} * 4u + {i}u")));
        format!(
            "vec4<{}>({})",
            scalar(self.dtype(operand)),
            parts.join(", ")
        )
    }

    /// The statement that stores one element. Only of operands noted for it.
    pub(super) fn store(&self, operand: usize, index: &str, value: &str) -> String {
        if self.is_packed(operand) {
            let word = format!("&{}[{}]", self.name(operand), self.at(operand, "at / 2u"));
            return format!(
                "{{ let at = {index}; let shift = (at % 2u) * 16u; \
                 atomicAnd({word}, 0xffff0000u >> shift); \
                 atomicOr({word}, (bitcast<u32>({value}) >> 16u) << shift); }}"
            );
        }
        let at = self.at(operand, index);
        let value = self.stored(operand, value, false);
        self.set(operand, &at, &value)
    }

    /// The statements that store elements `4·quad..4·quad + 4`, of a named value.
    pub(super) fn store4(&self, operand: usize, quad: &str, value: &str) -> Vec<String> {
        if self.is_packed(operand) {
            let pairs = [(0, "xy"), (1, "zw")].map(|(i, pair)| {
                let at = self.at(operand, &format!("{quad} * 2u + {i}u"));
                self.set(operand, &at, &format!("g_pack({value}.{pair})"))
            });
            return pairs.to_vec();
        }
        if self.is_wide(operand) && self.aligned(operand) {
            let at = self.at4(operand, quad);
            let value = self.stored(operand, value, true);
            return vec![self.set(operand, &at, &value)];
        }
        let parts = [(0, "x"), (1, "y"), (2, "z"), (3, "w")];
        parts
            .map(|(i, part)| {
                let index = format!("{quad} * 4u + {i}u");
                self.store(operand, &index, &format!("{value}.{part}"))
            })
            .to_vec()
    }

    /// What lies at this place of the operand's binding.
    fn word(&self, operand: usize, at: &str) -> String {
        let name = self.name(operand);
        match self.is_atomic(operand) {
            true => format!("atomicLoad(&{name}[{at}])"),
            false => format!("{name}[{at}]"),
        }
    }

    /// The statement that puts what is there into this place of the operand's binding.
    fn set(&self, operand: usize, at: &str, value: &str) -> String {
        let name = self.name(operand);
        match self.is_atomic(operand) {
            true => format!("atomicStore(&{name}[{at}], {value});"),
            false => format!("{name}[{at}] = {value};"),
        }
    }

    fn is_atomic(&self, operand: usize) -> bool {
        self.buffer(operand).is_some_and(|b| b.halves)
    }

    fn at(&self, operand: usize, index: &str) -> String {
        let base = self.words_before(operand);
        let ring = if self.is_ring(operand) {
            format!("{} + ", step_word(step_row::RING))
        } else {
            String::new()
        };
        match base {
            0 => format!("{ring}{index}"),
            _ => format!("{ring}{base}u + {index}"),
        }
    }

    fn at4(&self, operand: usize, quad: &str) -> String {
        match self.words_before(operand) / 4 {
            0 => quad.to_owned(),
            base => format!("{base}u + {quad}"),
        }
    }

    fn buffer_mut(&mut self, operand: usize) -> Option<&mut Buffer> {
        let binding = self.operands.get(operand)?.binding;
        self.buffers.get_mut(binding)
    }

    fn buffer(&self, operand: usize) -> Option<&Buffer> {
        self.buffers.get(self.operands.get(operand)?.binding)
    }

    fn loaded(&self, operand: usize, load: String, wide: bool) -> String {
        let want = self.dtype(operand);
        let have = self.buffer(operand).map_or(want, |b| b.dtype);
        let load = cast_bits(load, have, stored(want), wide);
        match (want, wide) {
            (DType::Bool, false) => format!("({load} != 0u)"),
            (DType::Bool, true) => format!("({load} != vec4<u32>())"),
            _ => load,
        }
    }

    fn stored(&self, operand: usize, value: &str, wide: bool) -> String {
        let have = self.dtype(operand);
        let want = self.buffer(operand).map_or(have, |b| b.dtype);
        let value = match (have, wide) {
            (DType::Bool, false) => format!("select(0u, 1u, {value})"),
            (DType::Bool, true) => format!("select(vec4<u32>(), vec4<u32>(1u), {value})"),
            _ => value.to_owned(),
        };
        cast_bits(value, stored(have), want, wide)
    }
}

/// A word of the step row, as `u32`.
pub(super) fn step_word(word: u32) -> String {
    let part = ["x", "y", "z", "w"][(word % 4) as usize];
    format!("step_row[{}u].{part}", word / 4)
}

/// The declaration of the step row.
pub(super) fn declare_step_row(out: &mut Writer) {
    out.line(format_args!(
        "@group(1) @binding(0) var<uniform> step_row: array<vec4<u32>, {}>;",
        step_row::WORDS / 4
    ));
}

/// The WGSL type of a dtype in a register.
pub(super) fn scalar(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::I32 => "i32",
        DType::U32 => "u32",
        DType::Bool => "bool",
    }
}

/// The dtype in memory: bool is stored as u32.
fn stored(dtype: DType) -> DType {
    match dtype {
        DType::Bool => DType::U32,
        other => other,
    }
}

fn cast_bits(value: String, from: DType, to: DType, wide: bool) -> String {
    match (from == to, wide) {
        (true, _) => value,
        (false, false) => format!("bitcast<{}>({value})", scalar(to)),
        (false, true) => format!("bitcast<vec4<{}>>({value})", scalar(to)),
    }
}
