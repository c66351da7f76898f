//! What happens to a product: where it is made, and the programs that run beside it.

use gradus_graph::ops::Reduction;
use gradus_graph::plan::{MatMulKernel, Matrix};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Store};

use crate::exec::memory::{Home, Place};

/// Where the product is made: element `(b, m, n)` at `offset + b · batch + m · row + n`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    /// The store of the epilogue that goes there.
    store: usize,
    pub(super) place: Place,
    pub(super) offset: usize,
    pub(super) batch: usize,
    pub(super) row: usize,
}

impl Destination {
    /// A store that takes the shape of the product and lies in memory that the kernel does not
    /// read.
    pub(super) fn find(kernel: &MatMulKernel, places: &[Place]) -> Option<Self> {
        let program = &kernel.epilogue;
        let read = |i: usize| places.get(i).and_then(Place::written);
        if read(kernel.a.operand).or(read(kernel.b.operand)).is_some() {
            return None;
        }
        let candidates = program.stores.iter().enumerate().filter_map(|(store, s)| {
            let place = *places.get(s.operand)?;
            let untouched = program.exprs.iter().all(|expr| match expr {
                Expr::Load { operand, .. }
                | Expr::LoadRow { operand, .. }
                | Expr::Total { operand, .. } => read(*operand) != place.written(),
                _ => true,
            });
            let float = program.dtypes.get(s.value.index()) == Some(&DType::F32);
            let strides = s.index.strides(3)?;
            let &[batch, row, col] = strides.as_slice() else {
                return None;
            };
            let unsigned = |v: i64| usize::try_from(v).ok();
            let found = Self {
                store,
                place,
                offset: unsigned(s.index.offset())?,
                batch: unsigned(batch)?,
                row: if kernel.m == 1 {
                    kernel.n
                } else {
                    unsigned(row)?
                },
            };
            let adjacent = (col == 1 || kernel.n == 1) && found.row >= kernel.n;
            (untouched && float && adjacent).then_some(found)
        });
        // Best where nothing is left to do afterwards.
        let plain = |d: &Self| {
            program
                .stores
                .get(d.store)
                .is_some_and(|s| is_product(program, s))
        };
        candidates.max_by_key(plain)
    }
}

fn is_product(program: &Program, store: &Store) -> bool {
    program.expr(store.value) == Some(&Expr::Accumulator)
}

/// The epilogue as a program that loads the product, and the places of its operands.
pub(super) fn with_product(
    kernel: &MatMulKernel,
    places: &[Place],
    out: Option<&Destination>,
) -> (Program, Vec<Place>) {
    let mut program = kernel.epilogue.clone();
    let mut places = places.to_vec();
    let made = out.and_then(|out| {
        program
            .stores
            .get(out.store)
            .cloned()
            .map(|s| (out.store, s))
    });
    let (operand, index) = match &made {
        Some((_, store)) => (store.operand, store.index.clone()),
        None => {
            let len = kernel.batch * kernel.m * kernel.n;
            places.push(Place {
                home: Home::Product,
                start: 0,
                len,
            });
            let axes = [Index::axis(0), Index::axis(1), Index::axis(2)];
            (
                places.len() - 1,
                Index::linear(&axes, &[kernel.batch, kernel.m, kernel.n]),
            )
        }
    };
    if let Some((i, store)) = made
        && is_product(&program, &store)
    {
        program.stores.remove(i);
    }
    for expr in &mut program.exprs {
        if *expr == Expr::Accumulator {
            *expr = Expr::Load {
                operand,
                index: index.clone(),
                guard: None,
            };
        }
    }
    (program, places)
}

/// `to[m] = Σₖ a[m, k]`
pub(super) fn row_sum(kernel: &MatMulKernel, to: usize) -> Program {
    let Matrix {
        operand,
        transposed,
        offset,
        row_stride,
        ..
    } = kernel.a;
    let signed = |v: usize| i64::try_from(v).unwrap_or(i64::MAX);
    let (stored_row, within) = if transposed { (1, 0) } else { (0, 1) };
    let index = Index::axis(stored_row)
        .scaled(signed(row_stride))
        .plus(&Index::axis(within))
        .shifted(signed(offset));
    Program {
        axes: vec![kernel.m, kernel.k],
        kept: 1,
        exprs: vec![
            Expr::Load {
                operand,
                index,
                guard: None,
            },
            Expr::Reduce(Reduction::Sum, ExprId(0)),
        ],
        dtypes: vec![DType::F32; 2],
        stores: vec![Store {
            operand: to,
            index: Index::axis(0),
            value: ExprId(1),
        }],
    }
}
