//! Checks gradient rules against central differences, in f64 on the oracle.

use gradus_graph::ops::Meta;
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, DType, Graph, NodeId, Var, vjp};
use thiserror::Error;

use crate::oracle::{Feeds, OracleError, Tensor, Values, eval};

/// Length of the step along the direction: truncation grows as its square, rounding as 10⁻¹⁶
/// divided by it.
const STEP: f64 = 1e-5;
/// Largest relative difference.
const TOLERANCE: f64 = 1e-7;
/// Elements that are looked at one by one to say which disagrees.
const SEARCH: usize = 512;

/// Why [`gradcheck`] is not content.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GradcheckError {
    /// The function cannot be built or evaluated.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// The function's result is not differentiable.
    #[error("the result is {}, but gradients need f32", .0.dtype)]
    Result(Meta),
    /// There is nothing to differentiate with respect to.
    #[error("no input is f32 and the function has no parameters")]
    NoInput,
    /// The rule and the differences disagree along a random direction.
    #[error(
        "the gradient rule gives {rule:.12e} along a random direction, differences give \
        {differences:.12e} (allowed {allowed:.1e}); {culprit}"
    )]
    Disagrees {
        /// `⟨Jᵀu, v⟩` by the rule.
        rule: f64,
        /// `⟨u, J v⟩` by central differences.
        differences: f64,
        /// The largest difference that would have passed.
        allowed: f64,
        /// The input, and where it is small enough the element, that disagrees most.
        culprit: String,
    },
}

/// Checks the gradients of `f` with respect to its f32 inputs, and to any parameters that it
/// makes, against central differences.
///
/// Compares `⟨Jᵀu, v⟩` from the rules with `⟨u, J v⟩` from differences, in f64, for a random
/// cotangent `u` and a random direction `v`, to a relative 10⁻⁷. The function stands in the middle
/// of a graph: the inputs are themselves functions of leaves and the result goes through another
/// function, so that a rule that ignores its cotangent, or that reads where it should not, shows.
///
/// Inputs must keep a distance of about 10⁻³ from kinks and jumps, where there is no derivative.
/// Inputs of other dtypes are passed as they are. Random streams are those of seed 0, step 0.
///
/// ```
/// use gradus_cpu::gradcheck;
/// use gradus_graph::Array;
///
/// let x = Array::new([2, 3], vec![0.3f32, -1.2, 0.7, 2.0, -0.4, 0.9])?;
/// gradcheck(&[x], |_, x| x[0].softmax() * x[0].tanh())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If a gradient is wrong, says which; if `f` cannot be built, says why.
pub fn gradcheck<F>(inputs: &[Array], f: F) -> Result<(), GradcheckError>
where
    F: for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g>,
{
    Check::trace(inputs, &f)?.run()
}

/// A traced function with its gradients, and values for everything.
struct Check {
    nodes: Vec<gradus_graph::Node>,
    feeds: Feeds<f64>,
    /// What is perturbed: the f32 inputs, then the parameters.
    leaves: Vec<Leaf>,
    result: NodeId,
    cotangent: Tensor<f64>,
}

struct Leaf {
    name: String,
    slot: Slot,
    gradient: Option<NodeId>,
    direction: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Slot {
    Input(usize),
    Param(usize),
}

impl Check {
    fn trace(
        inputs: &[Array],
        f: &impl for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g>,
    ) -> Result<Self, GradcheckError> {
        let graph = Graph::new();
        let mut values: Vec<Tensor<f64>> = inputs.iter().map(Tensor::from_array).collect();
        let leaves: Vec<Var<'_>> = values
            .iter()
            .enumerate()
            .map(|(i, x)| graph.input(&format!("input {i}"), x.shape(), x.dtype()))
            .collect();
        let x: Vec<Var<'_>> = leaves.iter().map(|&leaf| before(leaf)).collect();
        let y = f(&graph, &x);
        graph.check().map_err(|e| OracleError::from(Box::new(e)))?;
        if y.dtype() != DType::F32 {
            return Err(GradcheckError::Result(y.meta()));
        }
        let result = after(y);

        let mut rng = Rng::new(0, stream("gradcheck", 0));
        let cotangent = normal(&mut rng, result.shape().numel());
        let cotangent = Tensor::of(result.shape(), Values::Float(cotangent));
        let fed = graph.input("cotangent", result.shape(), DType::F32);
        let mut wrt: Vec<(String, Slot, Var<'_>)> = Vec::new();
        for (i, &leaf) in leaves.iter().enumerate() {
            if leaf.dtype() == DType::F32 {
                wrt.push((format!("input {i}"), Slot::Input(i), leaf));
            }
        }
        let infos = graph.params();
        for (i, (info, var)) in infos.iter().zip(graph.param_vars()).enumerate() {
            wrt.push((format!("parameter `{}`", info.name), Slot::Param(i), var));
        }
        if wrt.is_empty() {
            return Err(GradcheckError::NoInput);
        }
        let vars: Vec<Var<'_>> = wrt.iter().map(|(_, _, var)| *var).collect();
        let gradients = vjp(result, fed, &vars);
        graph.check().map_err(|e| OracleError::from(Box::new(e)))?;
        let leaves = wrt.into_iter().zip(gradients);
        let leaves = leaves.map(|((name, slot, var), gradient)| Leaf {
            name,
            slot,
            gradient: gradient.map(|g| g.id()),
            direction: normal(&mut rng, var.shape().numel()),
        });
        let leaves = leaves.collect();

        for x in &mut values {
            *x = undo_before(x);
        }
        values.push(cotangent.clone());
        let mut feeds = Feeds::inputs(values);
        for (i, info) in (0u32..).zip(&infos) {
            let mut rng = Rng::new(0, stream(&info.name, i));
            let sample = info.init.sample(&info.shape, &mut rng);
            let sample = sample.into_iter().map(f64::from).collect();
            let tensor = Tensor::float(info.shape, sample).ok_or(OracleError::Count {
                what: "initial values",
                expected: info.shape.numel(),
                found: 0,
            })?;
            feeds.params.push(tensor);
        }
        for info in graph.states() {
            feeds.states.push(Tensor::full(info.meta.shape, info.init));
        }
        Ok(Self {
            nodes: graph.nodes(),
            feeds,
            leaves,
            result: result.id(),
            cotangent,
        })
    }

    fn run(&self) -> Result<(), GradcheckError> {
        let wanted: Vec<NodeId> = self.leaves.iter().filter_map(|l| l.gradient).collect();
        let mut values = eval(&self.nodes, &self.feeds, &wanted)?.values.into_iter();
        let gradients: Vec<Vec<f64>> = self
            .leaves
            .iter()
            .map(|leaf| match leaf.gradient {
                Some(_) => values.next().map(|g| g.to_f64()).unwrap_or_default(),
                None => vec![0.0; leaf.direction.len()],
            })
            .collect();
        let directions: Vec<&[f64]> = self.leaves.iter().map(|l| &l.direction[..]).collect();
        let rule = directions
            .iter()
            .zip(&gradients)
            .map(|(v, g)| dot(v, g))
            .sum();
        let found = self.differences(&directions)?;
        if let Err(allowed) = close(rule, found) {
            return Err(GradcheckError::Disagrees {
                rule,
                differences: found.total,
                allowed,
                culprit: self.culprit(&gradients)?,
            });
        }
        Ok(())
    }

    /// Central differences along one direction for each leaf.
    fn differences(&self, directions: &[&[f64]]) -> Result<Differences, OracleError> {
        let ahead = self.at(directions, STEP)?;
        let behind = self.at(directions, -STEP)?;
        let u = self.cotangent.to_f64();
        let terms = ahead.iter().zip(&behind).zip(&u);
        let terms: Vec<f64> = terms
            .map(|((a, b), u)| u * (a - b) / (2.0 * STEP))
            .collect();
        Ok(Differences {
            total: terms.iter().sum(),
            spread: dot(&terms, &terms).sqrt(),
        })
    }

    /// The result at `step` along the directions.
    fn at(&self, directions: &[&[f64]], step: f64) -> Result<Vec<f64>, OracleError> {
        let mut feeds = self.feeds.clone();
        for (leaf, direction) in self.leaves.iter().zip(directions) {
            let found = match leaf.slot {
                Slot::Input(i) => feeds.inputs.get_mut(i),
                Slot::Param(i) => feeds.params.get_mut(i),
            };
            if let Some(value) = found {
                let moved = value.to_f64();
                let moved = moved.iter().zip(*direction).map(|(x, v)| x + v * step);
                *value = Tensor::of(value.shape(), Values::Float(moved.collect()));
            }
        }
        let found = eval(&self.nodes, &feeds, &[self.result])?;
        Ok(found.values.first().map(Tensor::to_f64).unwrap_or_default())
    }

    /// Which leaf, and which of its elements, disagrees most.
    fn culprit(&self, gradients: &[Vec<f64>]) -> Result<String, OracleError> {
        let zeros: Vec<Vec<f64>> = self
            .leaves
            .iter()
            .map(|l| vec![0.0; l.direction.len()])
            .collect();
        let mut words = Vec::new();
        for (i, leaf) in self.leaves.iter().enumerate() {
            let mut only: Vec<&[f64]> = zeros.iter().map(|z| &z[..]).collect();
            only[i] = &leaf.direction;
            let rule = dot(&leaf.direction, &gradients[i]);
            let found = self.differences(&only)?;
            if close(rule, found).is_ok() {
                continue;
            }
            let mut text = format!(
                "{}: rule {rule:.9e}, differences {:.9e}",
                leaf.name, found.total
            );
            if leaf.direction.len() <= SEARCH {
                let mut worst = (-1.0, 0, 0.0, 0.0);
                for (at, &rule) in gradients[i].iter().enumerate() {
                    let mut one = vec![0.0; leaf.direction.len()];
                    one[at] = 1.0;
                    let mut only: Vec<&[f64]> = zeros.iter().map(|z| &z[..]).collect();
                    only[i] = &one;
                    let found = self.differences(&only)?.total;
                    let gap = (rule - found).abs();
                    // NaN is worse than anything.
                    if gap > worst.0 || gap.is_nan() {
                        worst = (if gap.is_nan() { f64::MAX } else { gap }, at, rule, found);
                    }
                }
                let (_, at, rule, found) = worst;
                text +=
                    &format!(", worst at element {at}: rule {rule:.9e}, differences {found:.9e}");
            }
            words.push(text);
        }
        Ok(words.join("; "))
    }
}

#[derive(Clone, Copy)]
struct Differences {
    total: f64,
    /// The norm of the terms: how large a sum of terms of random sign is.
    spread: f64,
}

/// The tolerance, if the difference is above it.
fn close(rule: f64, found: Differences) -> Result<(), f64> {
    // The sum may cancel by chance, but its terms do not become more exact by that.
    let scale = rule.abs().max(found.total.abs()).max(found.spread);
    let allowed = TOLERANCE * scale;
    // An empty result has gradient 0; NaN never passes.
    if (rule - found.total).abs() <= allowed {
        Ok(())
    } else {
        Err(allowed)
    }
}

/// `sinh`, which moves with its input everywhere.
fn before(x: Var<'_>) -> Var<'_> {
    if x.dtype() == DType::F32 {
        (x.exp() - (-x).exp()) * 0.5
    } else {
        x
    }
}

/// The leaf from which [`before`] makes `x`.
fn undo_before(x: &Tensor<f64>) -> Tensor<f64> {
    match x.values() {
        Values::Float(v) => {
            let leaf = v.iter().map(|x| x.asinh()).collect();
            Tensor::of(x.shape(), Values::Float(leaf))
        }
        _ => x.clone(),
    }
}

/// `2y + √(1 + y²)`, whose derivative lies between 1 and 3.
fn after(y: Var<'_>) -> Var<'_> {
    y * 2.0 + (y.square() + 1.0).sqrt()
}

fn normal(rng: &mut Rng, n: usize) -> Vec<f64> {
    (0..n).map(|_| rng.normal()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use gradus_graph::ops::Composite;

    use super::*;

    fn array(n: usize) -> Array {
        let mut rng = Rng::new(3, 0);
        #[allow(clippy::cast_possible_truncation, reason = "a random number")]
        Array::vector((0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>())
    }

    /// `x²` with the gradient `dy · x`.
    #[derive(Debug)]
    struct WrongSquare;

    impl Composite for WrongSquare {
        fn name(&self) -> &'static str {
            "wrong_square"
        }

        fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
            inputs.first().copied().ok_or_else(|| "no input".into())
        }

        fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
            x[0].square()
        }

        fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
            vec![Some(dy * x[0])]
        }
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let inputs = [array(5), array(7)];
        let error = gradcheck(&inputs, |_, x| {
            x[0].sum_all() * x[1].composite(WrongSquare, &[])
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("input 1: rule"), "{message}");
        assert!(!message.contains("input 0"), "{message}");
        assert!(message.contains("worst at element"), "{message}");
    }

    #[test]
    fn right_rules_pass() {
        gradcheck(&[array(257)], |_, x| x[0].square() * x[0].sum_all()).unwrap();
        gradcheck(&[array(6)], |_, x| x[0].reshape([2, 3]).softmax()).unwrap();
    }

    #[test]
    fn a_zero_gradient_is_checked_too() {
        gradcheck(&[array(6)], |_, x| x[0].floor()).unwrap();
        let error = gradcheck(&[array(6)], |_, x| x[0].stop_gradient());
        assert!(matches!(error, Err(GradcheckError::Disagrees { .. })));
    }

    #[test]
    fn an_integer_result_is_refused() {
        let error = gradcheck(&[array(6)], |_, x| x[0].cast(DType::I32));
        assert!(matches!(error, Err(GradcheckError::Result(_))));
    }
}
