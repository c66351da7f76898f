//! Functions that read and write four elements of a row of a head.

use gradus_graph::plan::HeadRows;

use super::super::memory::Memory;
use super::super::{ShaderError, Writer, small};

/// The rows of an operand.
pub(super) struct Heads<'a> {
    memory: &'a Memory,
    operand: usize,
    /// Positions, and elements of a row.
    positions: u32,
    width: u32,
    /// Elements, or groups of four of them, to the first row and from one to the next.
    offset: u32,
    strides: [u32; 3],
    wide: bool,
}

impl<'a> Heads<'a> {
    /// Notes how the rows will be accessed.
    pub(super) fn note(memory: &mut Memory, rows: &HeadRows, width: usize) {
        if is_wide(memory, rows, width) {
            memory.note_quads(rows.operand);
        } else {
            memory.note_singles(rows.operand);
        }
    }

    /// Rows of so many positions and elements.
    pub(super) fn new(
        memory: &'a Memory,
        rows: &HeadRows,
        [positions, width]: [usize; 2],
    ) -> Result<Self, ShaderError> {
        let wide = is_wide(memory, rows, width);
        let unit = if wide { 4 } else { 1 };
        let [b, t, h] = rows.strides;
        Ok(Self {
            memory,
            operand: rows.operand,
            positions: small(positions)?,
            width: small(width)?,
            offset: small(rows.offset / unit)?,
            strides: [small(b / unit)?, small(t / unit)?, small(h / unit)?],
            wide,
        })
    }

    /// `load_<name>(b, t, h, c)`: elements `4c..4c + 4`, those beyond the row 0. A position beyond the
    /// last is the last: no branch, whatever is computed there has no weight or is not stored.
    pub(super) fn load(&self, out: &mut Writer, name: &str) {
        let head = format!("fn load_{name}(b: u32, t: u32, h: u32, c: u32) -> vec4<f32>");
        let (last, chunks) = (self.positions - 1, self.width.div_ceil(4));
        let [sample, position, head_stride] = self.strides;
        let start = format!(
            "{}u + b * {sample}u + min(t, {last}u) * {position}u + h * {head_stride}u",
            self.offset
        );
        out.block(head, |out| {
            out.line(format_args!("let start = {start};"));
            if self.wide {
                let quad = format!("(start + min(c, {}u))", chunks - 1);
                let quad = self.memory.load4(self.operand, &quad);
                let inside = format!("c < {chunks}u");
                out.line(format_args!(
                    "return select(vec4<f32>(), {quad}, {inside});"
                ));
                return;
            }
            let last = self.width - 1;
            for i in 0..4 {
                let at = format!("(start + min(c * 4u + {i}u, {last}u))");
                let element = self.memory.load(self.operand, &at);
                let inside = format!("c * 4u + {i}u <= {last}u");
                out.line(format_args!("let x{i} = select(0.0, {element}, {inside});"));
            }
            out.line("return vec4<f32>(x0, x1, x2, x3);");
        });
    }

    /// `store_<name>(b, t, h, c, value)`; nothing outside.
    pub(super) fn store(&self, out: &mut Writer, name: &str) {
        let head = format!("fn store_{name}(b: u32, t: u32, h: u32, c: u32, value: vec4<f32>)");
        out.block(head, |out| {
            let outside = format!(
                "t >= {}u || c >= {}u",
                self.positions,
                self.width.div_ceil(4)
            );
            out.line(format_args!("if {outside} {{ return; }}"));
            self.start(out);
            if self.wide {
                for line in self.memory.store4(self.operand, "(start + c)", "value") {
                    out.line(line);
                }
                return;
            }
            for (i, part) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let at = format!("(start + c * 4u + {i}u)");
                let store = self
                    .memory
                    .store(self.operand, &at, &format!("value.{part}"));
                if self.width.is_multiple_of(4) {
                    out.line(store);
                } else {
                    out.line(format_args!(
                        "if c * 4u + {i}u < {}u {{ {store} }}",
                        self.width
                    ));
                }
            }
        });
    }

    fn start(&self, out: &mut Writer) {
        let [b, t, h] = self.strides;
        let offset = self.offset;
        out.line(format_args!(
            "let start = {offset}u + b * {b}u + t * {t}u + h * {h}u;"
        ));
    }
}

/// Whether rows consist of groups of four that a binding can hold.
fn is_wide(memory: &Memory, rows: &HeadRows, width: usize) -> bool {
    let mut all = rows.strides.into_iter().chain([rows.offset, width]);
    memory.aligned(rows.operand) && all.all(|n| n.is_multiple_of(4))
}
