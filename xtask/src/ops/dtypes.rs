//! The dtypes that an op takes and gives, found out by asking its shape rule.

use gradus_graph::ops::{Meta, Op};
use gradus_graph::{DType, Shape};

const DTYPES: [DType; 4] = [DType::F32, DType::I32, DType::U32, DType::Bool];

/// Which dtypes pass the shape rule, and what comes out: `f32, i32 → f32`.
pub(super) fn signature(op: &dyn Fn(DType) -> Op, shapes: &[Shape]) -> String {
    let mut passed: Vec<(Vec<DType>, DType)> = Vec::new();
    let count = u32::try_from(shapes.len()).unwrap_or(0);
    for code in 0..DTYPES.len().pow(count) {
        let digit = |i: usize| code / DTYPES.len().pow(u32::try_from(i).unwrap_or(0));
        let dtypes: Vec<DType> = (0..shapes.len())
            .map(|i| DTYPES[digit(i) % DTYPES.len()])
            .collect();
        let metas = dtypes.iter().zip(shapes).map(|(&d, &s)| Meta::new(s, d));
        let metas: Vec<Meta> = metas.collect();
        let first = dtypes.first().copied().unwrap_or(DType::F32);
        if let Ok(result) = op(first).infer(&metas) {
            passed.push((dtypes, result.dtype));
        }
    }
    // As many as there are choices for each input: then these are free of one another.
    let choices: Vec<Vec<DType>> = (0..shapes.len())
        .map(|i| {
            let taken = |d: &DType| passed.iter().any(|(dtypes, _)| dtypes[i] == *d);
            DTYPES.into_iter().filter(taken).collect()
        })
        .collect();
    let list = |dtypes: &[DType]| {
        let names: Vec<String> = dtypes.iter().map(DType::to_string).collect();
        match dtypes.len() {
            4 => "any".to_owned(),
            _ => names.join(" or "),
        }
    };
    let product: usize = choices.iter().map(Vec::len).product();
    let inputs = if passed.len() == product {
        let all: Vec<String> = choices.iter().map(|c| list(c)).collect();
        all.join(", ")
    } else if passed
        .iter()
        .all(|(d, _)| d.windows(2).all(|w| w[0] == w[1]))
    {
        format!("{}, the same for all", list(&choices[0]))
    } else {
        let each = passed.iter().map(|(dtypes, _)| {
            let names: Vec<String> = dtypes.iter().map(DType::to_string).collect();
            names.join(", ")
        });
        each.collect::<Vec<_>>().join("; ")
    };
    let result = |(dtypes, result): &(Vec<DType>, DType)| (dtypes.first() == Some(result), *result);
    match passed.first() {
        None => String::new(),
        Some(&(_, dtype)) if passed.iter().all(|p| p.1 == dtype) => format!("{inputs} → {dtype}"),
        Some(_) if passed.iter().all(|p| result(p).0) => format!("{inputs} → the same"),
        Some(_) => format!("{inputs} → that of the values"),
    }
}
