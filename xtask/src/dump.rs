//! Reads the text of a plan (`{plan:#}`) without the code that wrote it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// What a plan's text says.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    pub(crate) kernels: Vec<Kernel>,
    /// Bytes of each buffer.
    pub(crate) buffers: BTreeMap<String, u64>,
    /// The bill as printed.
    pub(crate) printed: BTreeMap<String, u64>,
    /// Of all operations, those that a plan which computes nothing again would not have: what the
    /// text says, since it cannot be recomputed from one plan.
    pub(crate) recomputed: u64,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) flops: u64,
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No reduction.
    Pointwise,
    /// Reductions of rows.
    Rows,
    /// `batch` products of `[m, k]` and `[k, n]`; a convolution is one for each group.
    MatMul { batch: u64, m: u64, n: u64, k: u64 },
    /// Attention, rows added to a table, a scan, a sort.
    Whole,
    /// Other rows in place of some.
    Update,
    /// `count` samples of a resident data set.
    Take { count: u64 },
}

/// A tensor that a kernel reads, writes, or both in place.
#[derive(Debug)]
pub(crate) struct Operand {
    /// `a` and `b` of a product, `sum` for the row sums beside it…
    pub(crate) part: String,
    pub(crate) reads: Option<u64>,
    pub(crate) writes: Option<u64>,
    pub(crate) bytes: u64,
    /// The buffer it lies in.
    pub(crate) buffer: String,
    /// Bytes from its start.
    pub(crate) offset: u64,
}

/// Reads a plan's text.
///
/// # Errors
/// With the number of the first line that is not understood.
pub(crate) fn parse(text: &str) -> Result<Dump> {
    let mut dump = Dump::default();
    ensure!(
        text.starts_with("plan `"),
        "line 1: expected \"plan `\", the start of a plan"
    );
    for (i, line) in text.lines().enumerate().skip(1) {
        self::line(&mut dump, line).with_context(|| format!("line {}: {line:?}", i + 1))?;
    }
    Ok(dump)
}

fn line(dump: &mut Dump, line: &str) -> Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] | ["memory:" | "traffic:" | "recomputed:" | "read", ..] | ["index", "check", ..] => {}
        ["buffer", role, bytes, "bytes"] => {
            let known = dump.buffers.insert((*role).into(), number(bytes)?);
            ensure!(known.is_none(), "buffer {role} stands here twice");
        }
        ["recomputed", flops] => dump.recomputed = number(flops)?,
        ["bill", name, value] => {
            dump.printed.insert((*name).into(), number(value)?);
        }
        ["…", ..] => bail!("a shortened plan: print it with {{:#}}"),
        _ if line.starts_with("        ") => {
            let kernel = dump
                .kernels
                .last_mut()
                .context("an operand before any kernel")?;
            kernel.operands.push(operand(&words)?);
        }
        [position, label, size @ .., "·", flops, "FLOP"] => {
            let expected = dump.kernels.len() as u64;
            ensure!(
                number(position)? == expected,
                "expected kernel {expected}, found {position}"
            );
            dump.kernels.push(Kernel {
                label: (*label).into(),
                kind: kind(size)?,
                flops: number(flops)?,
                operands: Vec::new(),
            });
        }
        _ => bail!("expected a kernel, an operand, a buffer or a number of the bill"),
    }
    Ok(())
}

fn kind(size: &[&str]) -> Result<Kind> {
    Ok(match size {
        ["pointwise", ..] => Kind::Pointwise,
        ["rows", ..] => Kind::Rows,
        ["update", .., "in", "place"] => Kind::Update,
        [
            "scatter" | "first" | "scan" | "sort" | "attention" | "update",
            ..,
        ] => Kind::Whole,
        ["take", count, "of", _] => Kind::Take {
            count: number(count)?,
        },
        ["matmul", sizes @ .., "NN" | "NT" | "TN" | "TT"]
        | ["conv" | "conv_input" | "conv_weight", sizes @ ..] => {
            let sizes = sizes.concat();
            let sizes: Result<Vec<u64>> = sizes.split('×').map(number).collect();
            match *sizes?.as_slice() {
                [m, n, k] => Kind::MatMul { batch: 1, m, n, k },
                [batch, m, n, k] => Kind::MatMul { batch, m, n, k },
                _ => bail!("a product has three sizes, four with a batch or groups"),
            }
        }
        _ => {
            bail!(
                "expected pointwise, rows, matmul, conv, attention, scatter, first, scan, sort, \
                 update or take"
            )
        }
    })
}

/// `[part] <- %3 name f32[64, 10] @ slot[0]+0`
fn operand(words: &[&str]) -> Result<Operand> {
    let (part, words) = match words {
        ["<-" | "->" | "<>", ..] => ("", words),
        [part, rest @ ..] => (*part, rest),
        [] => bail!("an empty operand"),
    };
    let [arrow, ids, _name, shape @ .., "@", place] = words else {
        bail!("expected an arrow, %number, a name, a shape, @ and a place");
    };
    let (first, second) = ids.split_once('→').unwrap_or((ids, ids));
    let id = |text: &str| number(text.strip_prefix('%').context("expected %")?);
    let (reads, writes) = match *arrow {
        "<-" => (Some(id(first)?), None),
        "->" => (None, Some(id(first)?)),
        "<>" => (Some(id(first)?), Some(id(second)?)),
        _ => bail!("expected <-, -> or <>"),
    };
    let (buffer, offset) = place.rsplit_once('+').context("expected buffer+offset")?;
    Ok(Operand {
        part: part.into(),
        reads,
        writes,
        bytes: bytes(&shape.concat())?,
        buffer: buffer.into(),
        offset: number(offset)?,
    })
}

/// Bytes of `f32[64,10]`; elements of all dtypes have four but those of `bf16`, of which a word
/// holds two.
fn bytes(shape: &str) -> Result<u64> {
    let inside = shape.split_once('[').and_then(|(dtype, rest)| {
        let known = matches!(dtype, "f32" | "i32" | "u32" | "bool" | "bf16");
        rest.strip_suffix(']')
            .filter(|_| known)
            .map(|inside| (dtype, inside))
    });
    let (dtype, inside) = inside.context("expected a dtype and a shape")?;
    let mut bytes = if dtype == "bf16" { 2_u64 } else { 4 };
    for size in inside.split(',').filter(|size| !size.is_empty()) {
        bytes = bytes
            .checked_mul(number(size)?)
            .context("more than 2⁶⁴ bytes")?;
    }
    bytes
        .checked_next_multiple_of(4)
        .context("more than 2⁶⁴ bytes")
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .with_context(|| format!("expected a number, found {text:?}"))
}
