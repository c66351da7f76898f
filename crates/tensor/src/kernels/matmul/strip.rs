//! An operand of a product, seen from the sum.

use gradus_graph::plan::{Factor, Matrix};

use super::super::expr::{Axis, Emitter};
use super::super::memory::{Memory, Reader};
use super::super::{ShaderError, Writer, small};
use super::gather::Gather;
use super::{chunks, compose};

/// An operand seen from the sum: K, and the *lanes* that do not take part in it (rows of A, columns
/// of B).
#[derive(Clone, Debug)]
pub(super) struct Strip {
    /// `a` or `b`.
    pub(super) name: &'static str,
    pub(super) operand: usize,
    /// How it is read, unless it is computed.
    reader: Option<Reader>,
    /// Whether neighbours in memory are neighbours along K, not along the lanes.
    pub(super) along_k: bool,
    /// Whether one load fetches four neighbours.
    pub(super) wide: bool,
    /// Elements from the start of the binding.
    offset: u32,
    row_stride: u32,
    batch_stride: u32,
    /// How elements are found that no strides reach: the pointer is then the number of a term.
    pub(super) gather: Option<Gather>,
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
            reader: Some(memory.reader(matrix.operand)),
            along_k,
            wide: wide && memory.aligned(matrix.operand),
            offset,
            row_stride,
            batch_stride,
            gather: None,
        })
    }

    /// An operand of a convolution.
    pub(super) fn gathered(
        name: &'static str,
        factor: &Factor,
        gather: Gather,
        memory: &mut Memory,
        along_k: bool,
    ) -> Self {
        let (operand, reader, offset) = match *factor {
            Factor::Dense(operand) => {
                memory.note_singles(operand);
                let reader = memory.reader(operand);
                (operand, Some(reader), memory.base(operand))
            }
            Factor::Computed(ref program, _) => {
                super::super::program::note(program, memory, None);
                (usize::MAX, None, 0)
            }
        };
        Self {
            name,
            operand,
            reader,
            along_k,
            wide: false,
            offset,
            row_stride: 1,
            batch_stride: 0,
            gather: Some(gather),
        }
    }

    /// Declares the functions that find and load an element, if there have to be any.
    pub(super) fn declare(
        &self,
        out: &mut Writer,
        factor: Option<&Factor>,
        memory: &Memory,
    ) -> Result<(), ShaderError> {
        let Some(gather) = &self.gather else {
            return Ok(());
        };
        let Some(Factor::Computed(program, value)) = factor else {
            gather.declare(out, &self.load("place"));
            return Ok(());
        };
        let head = format!("fn {}_value(place: u32) -> f32", self.name);
        let mut emitter = Emitter::new(program, memory, vec![Axis::new("place")], None);
        out.block(head, |out| {
            emitter.emit(out, [*value])?;
            out.line(format_args!("return {};", emitter.get(*value)?.text));
            Ok::<_, ShaderError>(())
        })?;
        gather.declare(out, &format!("{}_value(place)", self.name));
        Ok(())
    }

    /// Declares what `lanes` lanes from this one on need to find their elements.
    pub(super) fn lanes(&self, out: &mut Writer, first: &str, lanes: u32) {
        for i in 0..lanes {
            let name = format!("{}_lane{i}", self.name);
            self.lane(out, &name, &format!("{first} + {i}u"));
        }
    }

    /// The same for one lane, under this name.
    pub(super) fn lane(&self, out: &mut Writer, name: &str, lane: &str) {
        if let Some(gather) = &self.gather {
            gather.lane(out, name, self.offset, lane);
        }
    }

    /// Declares what `terms` terms from the pointer on need to find their elements.
    pub(super) fn terms(&self, out: &mut Writer, terms: u32) {
        if let Some(gather) = &self.gather {
            for k in 0..terms {
                let (name, term) = (
                    format!("{}_term{k}", self.name),
                    format!("p{} + {k}u", self.name),
                );
                gather.term(out, &name, &term);
            }
        }
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
        if self.gather.is_some() {
            terms
        } else if self.along_k {
            terms / self.unit()
        } else {
            terms * self.line()
        }
    }

    /// The load at which lane `lane` of matrix `batch` starts, at K = 0.
    pub(super) fn start(&self, batch: &str, lane: &str) -> String {
        if self.gather.is_some() {
            return "0u".to_owned();
        }
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
        let reader = self.reader.as_ref();
        reader.map_or_else(String::new, |reader| reader.load(at, self.wide))
    }

    /// Part `part` of a line of `length`, from the pointers of lanes that begin with `first`; some
    /// expressions may be declared under the name `own`.
    pub(super) fn load_part(
        &self,
        out: &mut Writer,
        own: &str,
        [first, part]: [&str; 2],
        length: u32,
    ) -> String {
        let (line, at) = (format!("{part} / {length}u"), format!("{part} % {length}u"));
        let Some(gather) = &self.gather else {
            return self.load(&format!(
                "p{} + {line} * {}u + {at}",
                self.name,
                self.line()
            ));
        };
        let (lane, term) = if self.along_k { (line, at) } else { (at, line) };
        let names = [format!("{own}_lane"), format!("{own}_term")];
        gather.lane(out, &names[0], self.offset, &format!("{first} + {lane}"));
        gather.term(out, &names[1], &format!("p{} + {term}", self.name));
        gather.load(&names[0], &names[1])
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
                    if let Some(gather) = &self.gather {
                        let one = |i: u32| {
                            let (lane, term) = if self.along_k { (line, i) } else { (i, line) };
                            let lane = format!("{}_lane{lane}", self.name);
                            gather.load(&lane, &format!("{}_term{term}", self.name))
                        };
                        let all: Vec<_> = (start..start + width).map(one).collect();
                        return (line, chunk, compose(&all));
                    }
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
