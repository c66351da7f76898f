//! A whole WGSL module around an entry point.

use gradus_graph::{Expr, Program};

use super::memory::{self, Memory};
use super::{Shader, ShaderError, Writer, fold};

/// What an entry point is made from.
pub(super) struct Entry {
    /// Its name, and that of what it computes.
    pub(super) name: &'static str,
    /// Invocations of a workgroup along x and y.
    pub(super) invocations: [u32; 2],
    /// Number of workgroups.
    pub(super) groups: u32,
    /// Bytes of workgroup memory.
    pub(super) workgroup_memory: u32,
    /// Functions and module variables.
    pub(super) functions: String,
    /// The statements, with `index` the number of the workgroup, `lane` that of the invocation
    /// within it, and `local` its position.
    pub(super) body: String,
}

impl Entry {
    /// The shader: declarations, imports, functions, entry point.
    pub(super) fn shader(
        &self,
        memory: &Memory,
        program: Option<&Program>,
    ) -> Result<Shader, ShaderError> {
        let mut functions = Writer::new();
        let mut totals = Writer::new();
        if let Some(program) = program {
            checks(&mut functions, program, memory)?;
            sum_totals(&mut functions, &mut totals, program, memory);
        }
        functions.text(&self.functions);
        let functions = functions.finish();
        let grid = fold(self.groups);
        let mut main = Writer::new();
        let [x, y] = self.invocations;
        let (size, local) = match y {
            1 => (format!("{x}"), ""),
            _ => (
                format!("{x}, {y}"),
                ", @builtin(local_invocation_id) local: vec3<u32>",
            ),
        };
        let subgroups = self.body.contains("subgroupBroadcast(");
        let sub = if subgroups {
            ", @builtin(subgroup_invocation_id) sub: u32"
        } else {
            ""
        };
        let head = format!(
            "@compute @workgroup_size({size})\nfn {}(@builtin(workgroup_id) group: vec3<u32>, \
             @builtin(local_invocation_index) lane: u32{local}{sub})",
            self.name
        );
        main.block(head, |out| {
            out.line(if grid[1] == 1 {
                "let index = group.x;".to_owned()
            } else {
                format!("let index = group.y * {}u + group.x;", grid[0])
            });
            if grid[0] * grid[1] != self.groups {
                // Uniform: the whole workgroup leaves together, before any barrier.
                out.line(format_args!("if index >= {}u {{ return; }}", self.groups));
            }
            out.text(&totals.finish());
            out.text(&self.body);
        });
        let main = main.finish();
        let uses = |name: &str| functions.contains(name) || main.contains(name);
        let step_row = uses("step_row[");

        let mut out = Writer::new();
        memory.declare(&mut out);
        if step_row {
            memory::declare_step_row(&mut out);
        }
        let imports = gradus_shaders::imports(&format!("{functions}{main}"));
        // The library explains itself; a kernel that people read need not repeat it.
        let code = |line: &&str| !line.trim_start().starts_with("//");
        for line in imports.lines().filter(code) {
            out.line(line);
        }
        out.blank();
        if !functions.is_empty() {
            out.text(&functions);
            out.blank();
        }
        out.text(&main);
        Ok(Shader {
            wgsl: out.finish(),
            entry: self.name,
            grid,
            invocations: x * y,
            workgroup_memory: self.workgroup_memory,
            bindings: memory.bindings(),
            step_row,
            subgroups,
        })
    }
}

/// A function for each index check: the index, or 0 after a note in the error words.
fn checks(out: &mut Writer, program: &Program, memory: &Memory) -> Result<(), ShaderError> {
    for (i, expr) in program.exprs.iter().enumerate() {
        let Expr::CheckIndex { bound, site, .. } = expr else {
            continue;
        };
        let word = memory
            .error_word(*site)
            .ok_or(ShaderError::NoErrorWords(*site))?;
        out.block(format_args!("fn check{i}(x: u32) -> u32"), |out| {
            out.line(format_args!("if x < {bound}u {{ return x; }}"));
            out.line(format_args!("atomicMax(&{word}, x);"));
            out.line("return 0u;");
        });
    }
    Ok(())
}

/// A module variable for each total, and the loops that sum them at the start.
fn sum_totals(functions: &mut Writer, start: &mut Writer, program: &Program, memory: &Memory) {
    for (i, expr) in program.exprs.iter().enumerate() {
        let Expr::Total { operand, count } = expr else {
            continue;
        };
        functions.line(format_args!("var<private> total{i}: f32;"));
        // Four at a time, which keeps the loop short where the device limits it; in order.
        let quads = count / 4;
        let head = format!("for (var i = 0u; i < {quads}u; i++)");
        start.block(head, |out| {
            out.line(format_args!("let terms = {};", memory.load4(*operand, "i")));
            for part in ["x", "y", "z", "w"] {
                out.line(format_args!("total{i} += terms.{part};"));
            }
        });
        for at in quads * 4..*count {
            let element = memory.load(*operand, &format!("{at}u"));
            start.line(format_args!("total{i} += {element};"));
        }
    }
}
