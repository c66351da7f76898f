//! What happens to a product: where it is made, and the program that takes it from there.

use gradus_graph::{DType, Expr, Index, Program, Store};

use super::memory::{Home, Place};

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
    /// A store of an epilogue that takes the shape of the product and lies in memory that the
    /// kernel does not read. `factors` are the operands of the product.
    pub(super) fn find(
        program: &Program,
        [_, m, n]: [usize; 3],
        factors: &[usize],
        places: &[Place],
    ) -> Option<Self> {
        let read = |i: usize| places.get(i).and_then(Place::written);
        if factors.iter().any(|i| read(*i).is_some()) {
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
                row: if m == 1 { n } else { unsigned(row)? },
            };
            let adjacent = (col == 1 || n == 1) && found.row >= n;
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

/// The epilogue as a program that loads the product, of these sizes, and the places of its
/// operands.
pub(super) fn with_product(
    epilogue: &Program,
    sizes: [usize; 3],
    places: &[Place],
    out: Option<&Destination>,
) -> (Program, Vec<Place>) {
    let mut program = epilogue.clone();
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
            places.push(Place {
                home: Home::Product,
                start: 0,
                len: sizes.iter().product(),
            });
            let axes = [Index::axis(0), Index::axis(1), Index::axis(2)];
            (places.len() - 1, Index::linear(&axes, &sizes))
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
