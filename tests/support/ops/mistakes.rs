//! One bad input for each op: building must fail with an error that names the op and what
//! clashes.

use gradus_graph::{Array, DType, Graph, Scope, Var};

/// A graph that cannot be built.
pub(crate) struct Mistake {
    /// The op that the error names.
    pub(crate) op: &'static str,
    /// What the message must contain.
    contains: &'static [&'static str],
    build: fn(&Graph),
}

impl Mistake {
    pub(crate) fn check(&self) -> Result<(), String> {
        let graph = Graph::new();
        (self.build)(&graph);
        let error = match graph.check() {
            Ok(()) => return Err("was built".into()),
            Err(error) => error,
        };
        let message = error.to_string();
        if error.op != self.op {
            return Err(format!("names {}: {message}", error.op));
        }
        match self.contains.iter().find(|part| !message.contains(**part)) {
            Some(part) => Err(format!("does not say {part}: {message}")),
            None if !message.contains("mistakes.rs") => Err(format!("no line: {message}")),
            None => Ok(()),
        }
    }
}

fn f32s<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("x", dims, DType::F32)
}

fn i32s<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("i", dims, DType::I32)
}

fn bools<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("b", dims, DType::Bool)
}

pub(crate) fn mistakes() -> Vec<Mistake> {
    let mistake = |op, contains, build| Mistake {
        op,
        contains,
        build,
    };
    let mut all: Vec<Mistake> = vec![
        mistake("input", &["[1, 1, 1, 1, 1, 1, 1, 1, 1]"], |g| {
            g.input("x", [1; 9], DType::F32);
        }),
        mistake("full", &["too many elements"], |g| {
            g.full([usize::MAX, 2], 0.0);
        }),
        mistake("iota", &["[2, 3]", "axis 2"], |g| {
            g.iota([2, 3], 2);
        }),
        mistake("random", &["8 axes"], |g| {
            g.random([1; 9], 0);
        }),
        mistake("neg", &["bool"], |g| {
            let _ = -bools(g, &[3]);
        }),
        mistake("exp", &["f32", "i32"], |g| {
            i32s(g, &[3]).exp();
        }),
        mistake("not", &["f32"], |g| {
            let _ = !f32s(g, &[3]);
        }),
        mistake("is_nan", &["i32"], |g| {
            i32s(g, &[3]).is_nan();
        }),
        mistake("add", &["[2, 3]", "[4]"], |g| {
            let _ = f32s(g, &[2, 3]) + f32s(g, &[4]);
        }),
        mistake("mul", &["f32", "i32"], |g| {
            let _ = f32s(g, &[3]) * i32s(g, &[3]);
        }),
        mistake("pow", &["i32"], |g| {
            i32s(g, &[3]).pow(2);
        }),
        mistake("lt", &["bool"], |g| {
            bools(g, &[3]).lt(bools(g, &[3]));
        }),
        mistake("and", &["f32"], |g| {
            f32s(g, &[3]).and(f32s(g, &[3]));
        }),
        mistake("shl", &["bool"], |g| {
            let _ = bools(g, &[3]) << bools(g, &[3]);
        }),
        mistake("select", &["[2]", "[3]"], |g| {
            bools(g, &[2]).select(f32s(g, &[3]), 0.0);
        }),
        mistake("select", &["bool", "f32"], |g| {
            f32s(g, &[3]).select(f32s(g, &[3]), 0.0);
        }),
        mistake("select", &["f32", "i32"], |g| {
            bools(g, &[3]).select(f32s(g, &[3]), i32s(g, &[3]));
        }),
        mistake("check_index", &["f32"], |g| {
            f32s(g, &[3]).check_index(7);
        }),
        mistake("check_index", &["no rows"], |g| {
            i32s(g, &[3]).check_index(0);
        }),
        mistake("reshape", &["[2, 3]", "[7]", "6", "7"], |g| {
            f32s(g, &[2, 3]).reshape(7);
        }),
        mistake("expand", &["[2, 3]", "[2, 4]"], |g| {
            f32s(g, &[2, 3]).expand([2, 4]);
        }),
        mistake("expand", &["[2, 3]", "[3]"], |g| {
            f32s(g, &[2, 3]).expand([3]);
        }),
        mistake("permute", &["[0, 0]", "[2, 3]"], |g| {
            f32s(g, &[2, 3]).permute(&[0, 0]);
        }),
        mistake("transpose", &["[3]"], |g| {
            f32s(g, &[3]).transpose();
        }),
        mistake("slice", &["1..5", "axis 1", "[2, 3]"], |g| {
            f32s(g, &[2, 3]).slice_axis(1, 1, 5);
        }),
        mistake("slice", &["[2, 3]"], |g| {
            f32s(g, &[2, 3]).slice(&[0], &[1], &[1]);
        }),
        mistake("slice", &["step 0"], |g| {
            f32s(g, &[4]).slice(&[0], &[4], &[0]);
        }),
        mistake("pad", &["[2, 3]"], |g| {
            f32s(g, &[2, 3]).pad(&[1], &[1], 0.0);
        }),
        mistake("pad", &["i32", "f32"], |g| {
            i32s(g, &[3]).pad(&[1], &[1], 0.5);
        }),
        mistake("concat", &["[2, 3]", "[3, 3]", "axis 1"], |g| {
            f32s(g, &[2, 3]).concat(&[f32s(g, &[3, 3])], 1);
        }),
        mistake("concat", &["f32", "i32"], |g| {
            f32s(g, &[3]).concat(&[i32s(g, &[3])], 0);
        }),
        mistake("sum", &["[2, 3]", "axis 2"], |g| {
            f32s(g, &[2, 3]).sum(&[2]);
        }),
        mistake("sum", &["bool"], |g| {
            bools(g, &[3]).sum(&[0]);
        }),
        mistake("sum", &["twice"], |g| {
            f32s(g, &[2, 3]).sum(&[1, -1]);
        }),
        mistake("max", &["[2, 0]"], |g| {
            f32s(g, &[2, 0]).max(&[1]);
        }),
        mistake("min", &["[0]"], |g| {
            f32s(g, &[0]).min(&[0]);
        }),
        mistake("argmax", &["[2, 0]"], |g| {
            f32s(g, &[2, 0]).argmax(1);
        }),
        mistake("argmin", &["[3]", "axis 1"], |g| {
            f32s(g, &[3]).argmin(1);
        }),
        mistake(
            "matmul",
            &["[2, 3]", "3 columns", "[4, 5]", "4 rows"],
            |g| {
                f32s(g, &[2, 3]).matmul(f32s(g, &[4, 5]));
            },
        ),
        mistake("matmul", &["[2, 3, 4]", "[3, 4, 5]", "batch"], |g| {
            f32s(g, &[2, 3, 4]).matmul(f32s(g, &[3, 4, 5]));
        }),
        mistake("matmul", &["f32", "i32"], |g| {
            f32s(g, &[2, 3]).matmul(i32s(g, &[3, 4]));
        }),
        mistake("matmul", &["scalar"], |g| {
            f32s(g, &[]).matmul(f32s(g, &[3, 4]));
        }),
        mistake("check_index", &["f32"], |g| {
            f32s(g, &[4, 2]).gather(f32s(g, &[3]));
        }),
        mistake("gather", &["scalar"], |g| {
            f32s(g, &[]).gather(i32s(g, &[3]));
        }),
        mistake("softmax", &["i32"], |g| {
            i32s(g, &[2, 3]).softmax();
        }),
        mistake("softmax", &["scalar"], |g| {
            f32s(g, &[]).softmax();
        }),
        mistake("log_softmax", &["bool"], |g| {
            bools(g, &[2, 3]).log_softmax();
        }),
        mistake("cross_entropy", &["[4, 3]", "[5]"], |g| {
            f32s(g, &[4, 3]).cross_entropy(i32s(g, &[5]));
        }),
        mistake("cross_entropy", &["labels", "f32"], |g| {
            f32s(g, &[4, 3]).cross_entropy(f32s(g, &[4]));
        }),
        mistake("cross_entropy", &["[4, 0]"], |g| {
            f32s(g, &[4, 0]).cross_entropy(i32s(g, &[4]));
        }),
        mistake("dropout", &["1.5"], |g| {
            Scope::root(g, true).dropout(f32s(g, &[3]), 1.5);
        }),
        mistake("grad", &["[3]"], |g| {
            let x = f32s(g, &[3]);
            gradus_graph::grad(x, &[x]);
        }),
        mistake("update", &["not a state"], |g| {
            let x = f32s(g, &[3]);
            g.update(x, x);
        }),
        mistake("state", &["f32", "I32"], |g| {
            g.state("s", [3], DType::F32, 0);
        }),
    ];
    // An op on values of another graph.
    all.push(mistake("mul", &["different graphs"], |g| {
        let other = Graph::new();
        // Only the first graph is asked; its own value comes first.
        let shorter: &Graph = g;
        let x = f32s(shorter, &[3]);
        let y = other.literal(Array::vector(vec![1.0f32, 2.0, 3.0]));
        foreign(x, y);
    }));
    all
}

/// Both at one lifetime, as a user could have them.
fn foreign<'a>(x: Var<'a>, y: Var<'a>) {
    let _ = x * y;
}
