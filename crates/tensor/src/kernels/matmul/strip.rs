//! An operand of a product, seen from the sum.

use gradus_graph::plan::Matrix;

use super::super::memory::Memory;
use super::super::{ShaderError, small};
use super::{chunks, compose};

/// An operand seen from the sum: K, and the *lanes* that do not take part in it (rows of A, columns
/// of B).
#[derive(Clone, Debug)]
pub(super) struct Strip {
    /// `a` or `b`.
    pub(super) name: &'static str,
    pub(super) operand: usize,
    /// The variable.
    buffer: String,
    /// Whether neighbours in memory are neighbours along K, not along the lanes.
    pub(super) along_k: bool,
    /// Whether one load fetches four neighbours.
    pub(super) wide: bool,
    /// Elements from the start of the binding.
    offset: u32,
    row_stride: u32,
    batch_stride: u32,
}

impl Strip {
    /// `sizes` are the lanes, K, and the lanes of a tile.
    pub(super) fn new(
        name: &'static str,
        matrix: &Matrix,
        memory: &Memory,
        along_k: bool,
        sizes: [u32; 3],
    ) -> Result<Self, ShaderError> {
        let [lanes, k, tile] = sizes;
        let offset = small(matrix.offset)? + memory.base(matrix.operand);
        let row_stride = small(matrix.row_stride)?;
        let batch_stride = small(matrix.batch_stride)?;
        let contiguous = if along_k { [k, k] } else { [lanes, tile] };
        let wide = [offset, row_stride, batch_stride]
            .iter()
            .chain(&contiguous)
            .all(|v| v.is_multiple_of(4));
        Ok(Self {
            name,
            operand: matrix.operand,
            buffer: memory.name(matrix.operand),
            along_k,
            wide: wide && memory.aligned(matrix.operand),
            offset,
            row_stride,
            batch_stride,
        })
    }

    /// Notes how the strip is read.
    pub(super) fn note(&self, memory: &mut Memory) {
        if self.wide {
            memory.note_quads(self.operand);
        } else {
            memory.note_singles(self.operand);
        }
    }

    /// Elements per load.
    pub(super) fn unit(&self) -> u32 {
        if self.wide { 4 } else { 1 }
    }

    /// The distance in loads from one line in memory to the next.
    pub(super) fn line(&self) -> u32 {
        self.row_stride / self.unit()
    }

    /// Loads from a term of the sum to the one that is `terms` later, a multiple of four if wide.
    pub(super) fn advance(&self, terms: u32) -> u32 {
        if self.along_k {
            terms / self.unit()
        } else {
            terms * self.line()
        }
    }

    /// The load at which lane `lane` of matrix `batch` starts, at K = 0.
    pub(super) fn start(&self, batch: &str, lane: &str) -> String {
        let unit = self.unit();
        let mut terms = Vec::new();
        if self.offset != 0 {
            terms.push(format!("{}u", self.offset / unit));
        }
        if self.batch_stride != 0 {
            terms.push(format!("{batch} * {}u", self.batch_stride / unit));
        }
        terms.push(match (self.along_k, unit) {
            (true, _) => format!("{lane} * {}u", self.line()),
            (false, 1) => lane.to_owned(),
            (false, _) => format!("{lane} / {unit}u"),
        });
        terms.join(" + ")
    }

    /// One load.
    pub(super) fn load(&self, at: &str) -> String {
        format!("{}[{at}]", self.buffer)
    }

    /// For each of `lines` lines in memory, the loads of `length` neighbours from the pointer
    /// `p{name}` on: (line, chunk, expression).
    pub(super) fn loads(
        &self,
        lines: u32,
        length: u32,
    ) -> impl Iterator<Item = (u32, usize, String)> + '_ {
        let pointer = format!("p{}", self.name);
        (0..lines).flat_map(move |line| {
            let pointer = pointer.clone();
            chunks(length)
                .enumerate()
                .map(move |(chunk, (start, width))| {
                    let at = line * self.row_stride + start;
                    let one = |i: u32| match i {
                        0 => self.load(&pointer),
                        _ => self.load(&format!("{pointer} + {i}u")),
                    };
                    let loaded = if self.wide {
                        one(at / 4)
                    } else {
                        compose(&(at..at + width).map(one).collect::<Vec<_>>())
                    };
                    (line, chunk, loaded)
                })
        })
    }
}
