//! What happens to each element of a product before it is stored.
//!
//! The epilogue becomes a WGSL function that every family calls, once for each element or, if four
//! neighbours of a row are stored at once, for each four:
//!
//! ```wgsl
//! fn store(batch: u32, row: u32, col: u32, acc: f32)
//! fn store4(batch: u32, row: u32, col: u32, acc: vec4<f32>)   // col is a multiple of 4
//! fn store_sum(batch: u32, row: u32, sum: f32)                // if A is summed over K
//! ```

use gradus_graph::Expr;

use super::super::expr::{Axis, Emitter, id_of};
use super::super::memory::Memory;
use super::super::program::store;
use super::super::value::Value;
use super::super::{ShaderError, Writer};
use super::Product;

/// Writes the functions.
pub(super) fn declare(
    out: &mut Writer,
    product: &Product<'_>,
    memory: &Memory,
) -> Result<(), ShaderError> {
    let program = product.epilogue;
    let (mut name, ty) = if product.wide {
        ("store4", "vec4<f32>")
    } else {
        ("store", "f32")
    };
    let phases = product.phases.as_ref();
    let group = phases.map_or_else(
        || "batch".to_owned(),
        |phases| format!("batch / {}u", phases.count()),
    );
    let batch_rows = match product.batch {
        1 => "row".to_owned(),
        _ => format!("{group} * {}u + row", product.m),
    };
    if let Some(positions) = product.positions {
        // The epilogue's axes are image, channel and position.
        let head = format!("fn {name}(batch: u32, row: u32, col: u32, acc: {ty})");
        out.block(head, |out| {
            let mut position = format!("col % {positions}u");
            if let Some(phases) = phases {
                phases.position(out);
                position = "position".to_owned();
            }
            let place = format!("col / {positions}u, {batch_rows}, {position}");
            out.line(format_args!("finish({place}, acc);"));
        });
        name = "finish";
    }
    let mut axes = ["batch", "row", "col"].map(Axis::new);
    if product.wide {
        axes[2].quad = Some("quad".to_owned());
    }
    let mut emitter = Emitter::new(program, memory, axes.to_vec(), product.wide.then_some(2));
    for (i, expr) in program.exprs.iter().enumerate() {
        if *expr == Expr::Accumulator {
            let value = Value {
                text: "acc".to_owned(),
                wide: product.wide,
            };
            emitter.set(id_of(i), value);
        }
    }
    let head = format!("fn {name}(batch: u32, row: u32, col: u32, acc: {ty})");
    out.block(head, |out| {
        if product.wide {
            out.line("let quad = col / 4u;");
        }
        emitter.emit(out, program.stores.iter().map(|s| s.value))?;
        program
            .stores
            .iter()
            .try_for_each(|s| store(out, &emitter, s))
    })?;
    if let Some(operand) = product.row_sum {
        out.block("fn store_sum(batch: u32, row: u32, sum: f32)", |out| {
            out.line(format_args!("let channel = {batch_rows};"));
            out.line(memory.store(operand, "channel", "sum"));
        });
    }
    Ok(())
}
