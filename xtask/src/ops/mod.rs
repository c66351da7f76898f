//! `cargo xtask ops`: the page `docs/ops.md`, from the sources of the ops and from plans. A test
//! compares.

mod dtypes;
mod examples;
mod kernels;
mod source;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use gradus_graph::ops::{Binary, Op, Unary};
use gradus_graph::{MAX_RANK, Shape};

use dtypes::signature;
use examples::{EXAMPLES, Example};
use source::Sources;

/// Ops that read no other node: leaves of graphs.
const LEAVES: [&str; 9] = [
    "Input",
    "Param",
    "ParamRows",
    "State",
    "Const",
    "Literal",
    "Iota",
    "Random",
    "StepWord",
];

/// Where an op has several names there is a kind for each: the enum that lists them.
const KINDS: [(&str, &str); 4] = [
    ("Reduce", "Reduction"),
    ("Scan", "Scanning"),
    ("Conv", "Direction"),
    ("Attention", "AttentionPart"),
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "usage: cargo xtask ops > docs/ops.md");
    print!("{}", page()?);
    Ok(())
}

fn page() -> Result<String> {
    let sources = Sources::read()?;
    let mut page = format!(
        "# Ops\n\n\
         Every op of the graph, made by `cargo xtask ops > docs/ops.md`: from the comments beside \
         the ops in `crates/graph/src/ops`, from their shape rules, and from plans of small \
         examples for the targets that `cargo xtask plan` knows.\n\
         A test compares.\n\n\
         `x`, `a`, `b` are inputs, `y` is the result, `dx` the gradient of the loss with respect \
         to `x`.\n\
         Shapes are static, with at most {MAX_RANK} axes; operands are broadcast by views before.\n\
         Gradients are graph ops, so they have gradients; integers and truth have none.\n\
         Kernels are `program` (pointwise code, reductions and views, fused; also convolutions of \
         few channels), `matmul` and `conv` (both with fused epilogues), and those that stand \
         alone: `attention`, `scatter`, `scan`, `sort`, `slice_update`.\n\
         What is said of kernels holds for the sizes of the example; what only gradients are made \
         of is planned with what it is the gradient of.\n\
         Limits are the mistakes that an op refuses when the graph is built, with `…` for values.\n"
    );
    leaves(&mut page, &sources)?;
    pointwise(&mut page, &sources)?;
    page.push_str("\n## Others\n");
    let variants = sources.variants("Op")?;
    for (variant, _) in &variants {
        let is_table = ["Unary", "Binary", "Composite"].contains(&variant.as_str());
        if is_table || LEAVES.contains(&variant.as_str()) {
            continue;
        }
        entry(&mut page, &sources, variant)?;
    }
    page.push_str(
        "\n## Composites\n\n\
         Functions made of other ops, which stay one node until they are planned; their gradients \
         may be others than those of what they are made of.\n",
    );
    for composite in sources.implementations("Composite")? {
        // It is an op of its own, above.
        if composite != "Attention" {
            entry(&mut page, &sources, &composite)?;
        }
    }
    Ok(page)
}

fn leaves(page: &mut String, sources: &Sources) -> Result<()> {
    page.push_str(
        "\n## Leaves\n\nThey read no other op and need no kernel.\n\n| op | |\n|---|---|\n",
    );
    let variants = sources.variants("Op")?;
    for leaf in LEAVES {
        let doc = variants.iter().find(|(name, _)| name == leaf);
        let (_, doc) = doc.with_context(|| format!("no op {leaf}"))?;
        writeln!(page, "| {leaf} | {} |", cell(doc))?;
    }
    Ok(())
}

fn pointwise(page: &mut String, sources: &Sources) -> Result<()> {
    let head = "| op | formula | dtypes | gradient | WGSL |\n|---|---|---|---|---|\n";
    let kernels = "A `program` computes them on every device, most often one that computes more.";
    write!(page, "\n## Pointwise, of one input\n\n{kernels}\n\n{head}")?;
    for op in Unary::ALL {
        let rule = sources.pointwise(op.name())?;
        let dtypes = signature(&|_| Op::Unary(*op), &[Shape::SCALAR]);
        row(page, op.name(), rule, &dtypes, op.wgsl())?;
    }
    write!(
        page,
        "\n## Pointwise, of two inputs\n\nBoth have one shape and one dtype. {kernels}\n\n{head}"
    )?;
    for op in Binary::ALL {
        let rule = sources.pointwise(op.name())?;
        let dtypes = signature(&|_| Op::Binary(*op), &[Shape::SCALAR; 2]);
        row(page, op.name(), rule, &dtypes, op.wgsl())?;
    }
    Ok(())
}

fn row(
    page: &mut String,
    name: &str,
    (doc, gradient): (&str, &str),
    dtypes: &str,
    wgsl: &str,
) -> Result<()> {
    let gradient = match gradient.contains("Some") {
        true => format!("`{}`", unwrapped(gradient)),
        false => "none".to_owned(),
    };
    let (doc, wgsl) = (cell(doc), wgsl.replace('|', "\\|"));
    writeln!(
        page,
        "| `{name}` | {doc} | {dtypes} | {gradient} | `{wgsl}` |"
    )?;
    Ok(())
}

/// An expression without `Some(…)` around its parts.
fn unwrapped(expression: &str) -> String {
    let mut text = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once("Some(") {
        text.push_str(before);
        let mut depth = 1;
        let closes = |c: char| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        };
        let (inner, behind) = after.split_once(closes).unwrap_or((after, ""));
        text.push_str(inner);
        rest = behind;
    }
    text + rest
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    let line: Vec<&str> = text.lines().map(str::trim).collect();
    line.join(" ").trim().replace('|', "\\|")
}

/// An op that is a struct, or a variant of its own.
fn entry(page: &mut String, sources: &Sources, variant: &str) -> Result<()> {
    let examples: Vec<&Example> = EXAMPLES.iter().filter(|e| e.op == variant).collect();
    let names: Vec<String> = examples.iter().map(|e| format!("`{}`", e.name)).collect();
    ensure!(!names.is_empty(), "no example of {variant} in examples.rs");
    let own = sources.item(variant);
    let doc = match &own {
        Some(doc) => doc.clone(),
        None => sources.variant("Op", variant)?,
    };
    write!(page, "\n### {}\n\n{}\n", names.join(", "), doc.trim())?;
    if let Some((_, kinds)) = KINDS.iter().find(|(op, _)| *op == variant) {
        let kinds = sources.variants(kinds)?;
        ensure!(
            kinds.len() == examples.len(),
            "{variant} has {} kinds but {} examples",
            kinds.len(),
            examples.len()
        );
        page.push('\n');
        for (example, (_, doc)) in examples.iter().zip(&kinds) {
            writeln!(page, "- `{}`: {}", example.name, cell(doc))?;
        }
    }
    page.push('\n');
    let rule = sources.method(variant, "vjp");
    for example in &examples {
        let found = kernels::of(example)?;
        let name = match examples.len() {
            1 => String::new(),
            _ => format!(" of `{}`", example.name),
        };
        let shapes: Vec<String> = found.inputs.iter().map(|m| m.shape.to_string()).collect();
        let dtypes = dtypes(example, &found)?;
        writeln!(
            page,
            "- Dtypes{name}: {dtypes}; for example {} → {}.",
            shapes.join(", "),
            found.result.shape
        )?;
        let forward = match found.op.is_view() {
            true => "none of its own: it is folded into the indices of what reads it".to_owned(),
            false => found.forward,
        };
        match found.backward {
            None => writeln!(page, "- Kernels{name}: {forward}. No gradient.")?,
            Some(backward) => {
                writeln!(
                    page,
                    "- Kernels{name}: {forward}; with the gradient: {backward}."
                )?;
                let told = rule.is_some() || doc.contains("gradient");
                ensure!(told, "no comment says what the gradient of {variant} is");
            }
        }
    }
    if let Some(rule) = rule.filter(|rule| !rule.is_empty()) {
        writeln!(page, "- Gradient: {}", cell(&rule))?;
    }
    let refused = sources.refusals(variant);
    if !refused.is_empty() {
        writeln!(page, "- Limits: {}.", refused.join("; "))?;
    }
    Ok(())
}

/// The dtypes that an op takes, and what it gives.
fn dtypes(example: &Example, found: &kernels::Found) -> Result<String> {
    let shapes: Vec<Shape> = found.inputs.iter().map(|m| m.shape).collect();
    if let Op::Cast(_) = found.op {
        return Ok("any → any".to_owned());
    }
    let text = signature(&|dtype| found.op_for(dtype), &shapes);
    if text.is_empty() {
        bail!("{} takes no dtypes", example.name);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_sources() {
        let file = source::root().join("docs/ops.md");
        let found = std::fs::read_to_string(file).unwrap_or_default();
        let page = page().unwrap();
        let line = found.lines().zip(page.lines()).position(|(a, b)| a != b);
        assert!(
            found == page,
            "docs/ops.md differs from line {:?} on: cargo xtask ops > docs/ops.md",
            line.map(|i| i + 1)
        );
    }

    #[test]
    fn every_example_is_of_an_op_that_there_is() {
        let sources = Sources::read().unwrap();
        let variants = sources.variants("Op").unwrap();
        let composites = sources.implementations("Composite").unwrap();
        for example in EXAMPLES {
            let known = variants.iter().any(|(name, _)| name == example.op)
                || composites.iter().any(|name| name == example.op);
            assert!(known, "{} is of no op {}", example.name, example.op);
        }
        for leaf in LEAVES {
            assert!(variants.iter().any(|(name, _)| name == leaf), "{leaf}");
        }
    }
}
