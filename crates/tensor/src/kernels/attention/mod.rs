//! Attention and its gradient, with the matrix of weights in registers or workgroup memory, some
//! rows and columns at a time: memory does not grow with the square of the sequence.
//!
//! Gradients of queries, and those of keys and values, are made by different workgroups of one
//! dispatch, which compute the weights again each: no two of them write to one place.

mod heads;
mod rows;
mod tile;
mod tiled;

use std::fmt;

use gradus_graph::ops::{Dropout, EXCLUDED};
use gradus_graph::plan::{AttentionKernel, AttentionPass, HeadRows};
use gradus_graph::{DType, DeviceClass, Scalar, step_row};

use self::heads::Heads;
use super::memory::{Memory, step_word};
use super::value::literal;
use super::{Shader, ShaderError, Writer, small};

/// A query and key that do not meet have this score: the lowest finite float.
const LOWEST: &str = "-0x1.fffffep127f";

/// How attention is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// One invocation for each query or key: no barriers, no workgroup memory.
    Rows,
    /// A workgroup for 32 queries or keys, tiles of 32×32 weights in workgroup memory.
    Tiled,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "attention rows",
            Self::Tiled => "attention tiled",
        })
    }
}

/// Every variant.
pub(super) const VARIANTS: [Variant; 2] = [Variant::Rows, Variant::Tiled];

/// The variant for devices of this class.
pub(super) const fn choose(class: DeviceClass) -> Variant {
    match class {
        DeviceClass::Gpu => Variant::Tiled,
        DeviceClass::Software | DeviceClass::Cpu => Variant::Rows,
    }
}

/// The shader.
pub(super) fn shader(
    kernel: &AttentionKernel,
    mut memory: Memory,
    variant: Variant,
) -> Result<Shader, ShaderError> {
    let pass = Pass::new(kernel, &mut memory)?;
    match variant {
        Variant::Rows => rows::entry(&pass)?,
        Variant::Tiled => tiled::entry(&pass)?,
    }
    .shader(&memory, None)
}

/// A kernel, with its sizes as text is made from them.
struct Pass<'a> {
    kernel: &'a AttentionKernel,
    /// Functions that read and write rows, and those that make weights.
    functions: String,
    batch: u32,
    queries: u32,
    keys: u32,
    heads: u32,
    groups: u32,
    /// Query heads for each key head.
    shared: u32,
    /// Groups of four elements in a row of queries and keys, and of values.
    width: u32,
    value_width: u32,
}

impl<'a> Pass<'a> {
    fn new(kernel: &'a AttentionKernel, memory: &mut Memory) -> Result<Self, ShaderError> {
        let s = &kernel.sizes;
        let mut pass = Self {
            kernel,
            functions: String::new(),
            batch: small(s.batch)?,
            queries: small(s.queries)?,
            keys: small(s.keys)?,
            heads: small(s.heads)?,
            groups: small(s.groups)?,
            shared: small(s.heads / s.groups.max(1))?,
            width: small(s.width.div_ceil(4))?,
            value_width: small(s.value_width.div_ceil(4))?,
        };
        let (queries, keys, values) = (
            [s.queries, s.width],
            [s.keys, s.width],
            [s.keys, s.value_width],
        );
        let results = [s.queries, s.value_width];
        let mut reads = vec![
            ("q", kernel.q, queries),
            ("k", kernel.k, keys),
            ("v", kernel.v, values),
        ];
        let mut writes: Vec<(&str, HeadRows, [usize; 2])> = Vec::new();
        let sums = match kernel.pass {
            AttentionPass::Forward { y, log_sum } => {
                writes.push(("y", y, results));
                log_sum
            }
            AttentionPass::Backward {
                y,
                dy,
                log_sum,
                dq,
                dk,
                dv,
            } => {
                reads.extend([("y", y, results), ("dy", dy, results)]);
                let gradients = [("dq", dq, queries), ("dk", dk, keys), ("dv", dv, values)];
                let wanted = gradients.into_iter();
                writes.extend(wanted.filter_map(|(n, rows, sizes)| Some((n, rows?, sizes))));
                Some(log_sum)
            }
        };
        for (_, rows, [_, width]) in reads.iter().chain(&writes) {
            Heads::note(memory, rows, *width);
        }
        let mask = kernel.mask.map(|m| m.operand);
        for operand in [sums, mask].into_iter().flatten() {
            memory.note_singles(operand);
        }
        let mut out = Writer::new();
        for (name, rows, sizes) in reads {
            Heads::new(memory, &rows, sizes)?.load(&mut out, name);
        }
        for (name, rows, sizes) in writes {
            Heads::new(memory, &rows, sizes)?.store(&mut out, name);
        }
        pass.sums(&mut out, memory, sums);
        pass.score(&mut out, memory)?;
        if let Some(dropout) = &kernel.op.dropout {
            pass.kept(&mut out, dropout);
        }
        pass.functions = out.finish();
        Ok(pass)
    }

    /// `log_sum(b, h, i)`, and how it is written.
    fn sums(&self, out: &mut Writer, memory: &Memory, sums: Option<usize>) {
        let Some(sums) = sums else { return };
        let (heads, queries) = (self.heads, self.queries);
        let at = format!("(b * {heads}u + h) * {queries}u + i");
        if matches!(self.kernel.pass, AttentionPass::Forward { .. }) {
            out.block("fn store_sum(b: u32, h: u32, i: u32, sum: f32)", |out| {
                out.line(memory.store(sums, &at, "sum"));
            });
        } else {
            out.block("fn load_sum(b: u32, h: u32, i: u32) -> f32", |out| {
                let last = format!("min(i, {}u)", queries - 1);
                let at = format!("(b * {heads}u + h) * {queries}u + {last}");
                out.line(format_args!("return {};", memory.load(sums, &at)));
            });
        }
    }

    /// `score(x, b, h, i, j)`: the scaled and masked product of a query and a key.
    fn score(&self, out: &mut Writer, memory: &Memory) -> Result<(), ShaderError> {
        let (op, queries, keys) = (&self.kernel.op, self.queries, self.keys);
        let head = "fn score(x: f32, b: u32, h: u32, i: u32, j: u32) -> f32";
        let [i, j] = [("i", queries), ("j", keys)].map(|(i, n)| format!("min({i}, {}u)", n - 1));
        let at = ["b", "h", &i, &j];
        let mask = self.kernel.mask.map(|mask| {
            let mut terms = Vec::new();
            for (stride, index) in mask.strides.into_iter().zip(at) {
                if stride > 0 {
                    terms.push(format!("{index} * {}u", small(stride)?));
                }
            }
            let at = if terms.is_empty() {
                "0u".to_owned()
            } else {
                terms.join(" + ")
            };
            Ok::<_, ShaderError>((mask.operand, memory.load(mask.operand, &at)))
        });
        let mask = mask.transpose()?;
        out.block(head, |out| {
            let causal = if op.causal { " && j <= i" } else { "" };
            let meets = format!("i < {queries}u && j < {keys}u{causal}");
            let scaled = format!("x * {:?}f", op.scale as f32);
            let (sum, allowed) = match mask {
                None => (scaled, None),
                Some((operand, load)) if memory.dtype(operand) == DType::Bool => {
                    (scaled, Some(load))
                }
                Some((_, load)) => {
                    out.line(format_args!("let added = {load};"));
                    let least = literal(Scalar::F32(EXCLUDED.into()));
                    let allowed = format!("added > {least}");
                    (format!("{scaled} + added"), Some(allowed))
                }
            };
            let allowed = allowed.map_or(meets.clone(), |allowed| format!("{meets} && {allowed}"));
            out.line(format_args!("return select({LOWEST}, {sum}, {allowed});"));
        });
        // A score is the lowest only where the key is excluded.
        out.block("fn weight(score: f32, log_sum: f32) -> f32", |out| {
            out.line(format_args!(
                "return select(exp(score - log_sum), 0.0, score == {LOWEST});"
            ));
        });
        Ok(())
    }

    /// `kept(b, h, i, j)`: what a weight is multiplied by.
    fn kept(&self, out: &mut Writer, dropout: &Dropout) {
        let (heads, queries, keys) = (self.heads, self.queries, self.keys);
        out.block("fn kept(b: u32, h: u32, i: u32, j: u32) -> f32", |out| {
            out.line(format_args!(
                "let at = ((b * {heads}u + h) * {queries}u + i) * {keys}u + j;"
            ));
            out.line(format_args!(
                "let words = g_philox(vec2<u32>({}, {}), vec4<u32>(at / 4u, {}, {}u, {}u));",
                step_word(step_row::SEED_LOW),
                step_word(step_row::SEED_HIGH),
                step_word(step_row::STEP),
                dropout.stream & 0xffff_ffff,
                dropout.stream >> 32
            ));
            let (threshold, scale) = (dropout.threshold(), dropout.scale() as f32);
            out.line(format_args!(
                "return select(0.0, {scale:?}f, (words[at % 4u] >> 8u) >= {threshold}u);"
            ));
        });
    }

    fn drops(&self) -> bool {
        self.kernel.op.dropout.is_some()
    }

    /// Which gradients are wanted: of queries; of keys, of values.
    fn wanted(&self) -> [bool; 3] {
        match self.kernel.pass {
            AttentionPass::Forward { .. } => [false; 3],
            AttentionPass::Backward { dq, dk, dv, .. } => [dq, dk, dv].map(|rows| rows.is_some()),
        }
    }

    /// Whether the logarithms of the sums are written.
    fn writes_sums(&self) -> bool {
        matches!(
            self.kernel.pass,
            AttentionPass::Forward {
                log_sum: Some(_),
                ..
            }
        )
    }
}
