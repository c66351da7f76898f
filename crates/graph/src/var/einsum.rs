//! Einstein's summation convention, as products and sums of permuted axes.

use std::collections::{BTreeMap, VecDeque};

use super::Var;
use crate::{DType, Graph};

/// Labels of the axes that `...` stands for, counted from the last: private characters.
const ELLIPSIS: u32 = 0xE000;

/// An operand with a label for each axis.
struct Term<'g> {
    x: Var<'g>,
    labels: Vec<char>,
}

impl Graph {
    /// Products of operands summed by Einstein's convention: `"bij,bjk->bik"` is a batched matrix
    /// product, `"ii->i"` a diagonal, `"ij->"` a sum, `"i,j->ij"` an outer product.
    ///
    /// Every letter labels an axis of one size (1 broadcasts). What the result, after `->`, does
    /// not name is summed; without `->` it has the letters that occur once, in alphabetical order,
    /// capitals first. `...` stands for axes that broadcast, aligned at the last, first in an
    /// implicit result and summed if an explicit one leaves them out. Operands are joined from left
    /// to right, by a matrix product where they share a summed label. As PyTorch's `einsum`.
    #[track_caller]
    pub fn einsum<'g>(&'g self, equation: &str, operands: &[Var<'g>]) -> Var<'g> {
        if let Some(bad) = operands.iter().find(|v| v.is_poisoned()) {
            return *bad;
        }
        match terms(equation, operands) {
            Ok((first, rest, output)) => contract(first, rest, &output),
            Err(message) => self.fail("einsum", format!("`{equation}`: {message}")),
        }
    }
}

/// The first operand and the others with their labels, repeated ones taken as diagonals, and the labels of the result.
#[track_caller]
fn terms<'g>(
    equation: &str,
    operands: &[Var<'g>],
) -> Result<(Term<'g>, VecDeque<Term<'g>>, Vec<char>), String> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (equation.as_str(), None),
    };
    let subscripts: Vec<&str> = inputs.split(',').collect();
    if subscripts.len() != operands.len() {
        let (n, found) = (subscripts.len(), operands.len());
        return Err(format!("names {n} operands, found {found}"));
    }
    let mut sizes = BTreeMap::new();
    let mut widest = 0;
    let mut all = Vec::new();
    for (subscript, &x) in subscripts.into_iter().zip(operands) {
        let (labels, covered) = labelled(subscript, x)?;
        widest = widest.max(covered);
        for (&label, &size) in labels.iter().zip(x.shape().iter()) {
            let known = sizes.entry(label).or_insert(size);
            match (*known, size) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => *known = b,
                (a, b) => return Err(format!("{} has sizes {a} and {b}", name(label))),
            }
        }
        all.push(Term { x, labels });
    }
    let dtype = operands.first().map_or(DType::F32, Var::dtype);
    if dtype == DType::Bool || operands.iter().any(|v| v.dtype() != dtype) {
        let found: Vec<String> = operands.iter().map(|v| v.dtype().to_string()).collect();
        return Err(format!(
            "expected numbers of one dtype, found {}",
            found.join(" and ")
        ));
    }
    let output = match output {
        Some(output) => explicit(output, widest, &sizes)?,
        None => implicit(widest, &all),
    };
    let terms = all.into_iter().map(|term| plain(term, &sizes));
    let mut rest: VecDeque<Term<'g>> = terms.collect::<Result<_, _>>()?;
    let first = rest.pop_front().ok_or("needs an operand")?;
    Ok((first, rest, output))
}

/// A label for people.
fn name(label: char) -> String {
    match label.is_ascii_alphabetic() {
        true => format!("label {label}"),
        false => "an axis of `...`".to_string(),
    }
}

/// The labels that `...` of so many axes stands for.
fn ellipsis(axes: usize) -> impl Iterator<Item = char> {
    let numbers = (0..axes).rev().filter_map(|i| u32::try_from(i).ok());
    numbers.filter_map(|i| char::from_u32(ELLIPSIS + i))
}

/// A label for each axis of an operand, and how many of them `...` covers.
fn labelled(subscript: &str, x: Var<'_>) -> Result<(Vec<char>, usize), String> {
    let (before, after) = match subscript.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (subscript, None),
    };
    let letters = before.chars().chain(after.unwrap_or("").chars());
    if let Some(bad) = letters.clone().find(|c| !c.is_ascii_alphabetic()) {
        return Err(format!("`{bad}` in `{subscript}` is no letter"));
    }
    let named = letters.count();
    let rest = x.rank().checked_sub(named);
    let Some(covered) = rest.filter(|&n| n == 0 || after.is_some()) else {
        let shape = x.shape();
        return Err(format!("`{subscript}` has {named} labels for {shape}"));
    };
    let labels = before.chars().chain(ellipsis(covered));
    Ok((labels.chain(after.unwrap_or("").chars()).collect(), covered))
}

/// The labels of a result that is written down.
fn explicit(
    output: &str,
    widest: usize,
    sizes: &BTreeMap<char, usize>,
) -> Result<Vec<char>, String> {
    let (before, after) = match output.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (output, None),
    };
    let covered = if after.is_some() { widest } else { 0 };
    let labels = before.chars().chain(ellipsis(covered));
    let labels: Vec<char> = labels.chain(after.unwrap_or("").chars()).collect();
    for (i, label) in labels.iter().enumerate() {
        if !sizes.contains_key(label) {
            return Err(format!("`{label}` of the result is in no operand"));
        }
        if labels.iter().skip(i + 1).any(|l| l == label) {
            return Err(format!("`{label}` is in the result twice"));
        }
    }
    Ok(labels)
}

/// The labels of a result that is not: those of `...`, then the letters that occur once.
fn implicit(widest: usize, terms: &[Term<'_>]) -> Vec<char> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for label in terms.iter().flat_map(|t| &t.labels) {
        *counts.entry(*label).or_default() += 1;
    }
    let once = |(label, count): (char, usize)| {
        (label.is_ascii_alphabetic() && count == 1).then_some(label)
    };
    ellipsis(widest)
        .chain(counts.into_iter().filter_map(once))
        .collect()
}

/// A term in which every label occurs once and has its size: diagonals are taken, and axes of size 1
/// that others repeat go.
#[track_caller]
fn plain<'g>(mut term: Term<'g>, sizes: &BTreeMap<char, usize>) -> Result<Term<'g>, String> {
    let index = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    while let Some((first, second)) = repeated(&term.labels) {
        let (a, b) = (term.x.dim(index(first)), term.x.dim(index(second)));
        let label = term.labels.remove(second);
        if a != b {
            return Err(format!("{} has sizes {a} and {b}", name(label)));
        }
        term.labels.remove(first);
        term.labels.push(label);
        term.x = term.x.diagonal(0, index(first), index(second));
    }
    for axis in (0..term.labels.len()).rev() {
        let size = sizes.get(&term.labels[axis]);
        if term.x.shape()[axis] == 1 && size != Some(&1) {
            term.x = term.x.squeeze(&[index(axis)]);
            term.labels.remove(axis);
        }
    }
    Ok(term)
}

/// Two axes of one label.
fn repeated(labels: &[char]) -> Option<(usize, usize)> {
    labels.iter().enumerate().find_map(|(i, label)| {
        let later = labels.iter().skip(i + 1).position(|l| l == label)?;
        Some((i, i + 1 + later))
    })
}

impl<'g> Term<'g> {
    /// Sums the labels that fail this test.
    #[track_caller]
    fn keeping(self, keep: impl Fn(char) -> bool) -> Self {
        let gone: Vec<isize> = (0isize..)
            .zip(&self.labels)
            .filter_map(|(axis, &label)| (!keep(label)).then_some(axis))
            .collect();
        Self {
            x: self.x.sum(&gone),
            labels: self.labels.into_iter().filter(|&l| keep(l)).collect(),
        }
    }

    /// The axes in this order of labels, which are its own.
    #[track_caller]
    fn ordered(&self, labels: &[char]) -> Var<'g> {
        let place = |label: &char| self.labels.iter().position(|l| l == label);
        let axes: Vec<usize> = labels.iter().filter_map(place).collect();
        self.x.permute(&axes)
    }

    fn size(&self, labels: &[char]) -> usize {
        let of = |label: &char| self.labels.iter().position(|l| l == label);
        labels
            .iter()
            .filter_map(of)
            .map(|axis| self.x.shape()[axis])
            .product()
    }
}

/// Joins all terms from left to right and puts the axes of the result in order.
#[track_caller]
fn contract<'g>(mut all: Term<'g>, mut rest: VecDeque<Term<'g>>, output: &[char]) -> Var<'g> {
    while let Some(next) = rest.pop_front() {
        let later =
            |label: char| output.contains(&label) || rest.iter().any(|t| t.labels.contains(&label));
        all = join(all, next, later);
    }
    all.keeping(|label| output.contains(&label)).ordered(output)
}

/// The product of two terms, without the labels that nothing needs later.
#[track_caller]
fn join<'g>(a: Term<'g>, b: Term<'g>, later: impl Fn(char) -> bool) -> Term<'g> {
    if a.x.is_poisoned() || b.x.is_poisoned() {
        let (x, labels) = (a.x.poison(), Vec::new());
        return Term { x, labels };
    }
    let (in_a, in_b) = (a.labels.clone(), b.labels.clone());
    let a = a.keeping(|l| later(l) || in_b.contains(&l));
    let b = b.keeping(|l| later(l) || in_a.contains(&l));
    let shared = |l: &char| a.labels.contains(l) && b.labels.contains(l);
    let of = |labels: &[char], test: &dyn Fn(&char) -> bool| -> Vec<char> {
        labels.iter().copied().filter(|l| test(l)).collect()
    };
    let batch = of(&a.labels, &|l| shared(l) && later(*l));
    let summed = of(&a.labels, &|l| shared(l) && !later(*l));
    let rows = of(&a.labels, &|l| !shared(l));
    let cols = of(&b.labels, &|l| !shared(l));
    let labels = [&batch[..], &rows, &cols].concat();
    let (groups, m, n, k) = (
        a.size(&batch),
        a.size(&rows),
        b.size(&cols),
        a.size(&summed),
    );
    let dims: Vec<usize> = batch
        .iter()
        .chain(&rows)
        .map(|&l| a.size(&[l]))
        .chain(cols.iter().map(|&l| b.size(&[l])))
        .collect();
    let left = a.ordered(&[&batch[..], &rows, &summed].concat());
    let x = if summed.is_empty() {
        let right = b.ordered(&[&batch[..], &cols].concat());
        left.reshape([groups, m, 1]) * right.reshape([groups, 1, n])
    } else if !a.x.dtype().is_float() {
        let right = b.ordered(&[&batch[..], &cols, &summed].concat());
        let products = left.reshape([groups, m, 1, k]) * right.reshape([groups, 1, n, k]);
        products.sum(&[-1])
    } else {
        let right = b.ordered(&[&batch[..], &summed, &cols].concat());
        match batch.is_empty() {
            true => left.reshape([m, k]).matmul(right.reshape([k, n])),
            false => left
                .reshape([groups, m, k])
                .matmul(right.reshape([groups, k, n])),
        }
    };
    Term {
        x: x.reshape(dims),
        labels,
    }
}
