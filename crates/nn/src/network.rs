//! Networks: named inputs to named outputs.

use std::fmt;

use gradus_graph::{Graph, Layer, Scope, Var};

/// Name of the output of a network with one.
pub const OUTPUT: &str = "output";

/// Named values: the inputs or the outputs of a [`Network`], in order.
#[derive(Clone, Debug)]
pub struct Vars<'g> {
    vars: Vec<(String, Var<'g>)>,
}

/// A function from named inputs to named outputs, with parameters.
///
/// Every [`Layer`] is one: it takes the first input and gives one output named `output`.
/// [`Functional`] makes one of a closure.
pub trait Network: Send + Sync {
    /// Applies the network. The first output is the prediction that losses and metrics see.
    fn outputs<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g>;
}

impl<L: Layer> Network for L {
    fn outputs<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
        let x = match inputs.vars.first() {
            Some(&(_, x)) => x,
            None => scope
                .graph()
                .fail("network", "expected an input, found none".into()),
        };
        self.forward(scope, x).into()
    }
}

impl<'g> Vars<'g> {
    /// No values.
    pub const fn new() -> Self {
        Self { vars: Vec::new() }
    }

    /// These values and `var` under `name`; replaces a value of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, var: Var<'g>) -> Self {
        let name = name.into();
        match self.vars.iter_mut().find(|(other, _)| *other == name) {
            Some((_, slot)) => *slot = var,
            None => self.vars.push((name, var)),
        }
        self
    }

    /// The value of this name; if there is none, the model cannot be built and the error lists
    /// the names there are.
    #[track_caller]
    pub fn get(&self, graph: &'g Graph, name: &str) -> Var<'g> {
        match self.vars.iter().find(|(other, _)| other == name) {
            Some(&(_, var)) => var,
            None => {
                let names: Vec<String> = self.vars.iter().map(|(n, _)| format!("`{n}`")).collect();
                let message = format!("no value named `{name}`; there are {}", names.join(", "));
                graph.fail("network", message)
            }
        }
    }

    /// The first value.
    pub fn first(&self) -> Option<Var<'g>> {
        self.vars.first().map(|&(_, var)| var)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Var<'g>)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), *var))
    }
}

impl Default for Vars<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'g> From<Var<'g>> for Vars<'g> {
    fn from(var: Var<'g>) -> Self {
        Self::new().with(OUTPUT, var)
    }
}

/// A network written as a closure, for several inputs or outputs.
///
/// ```
/// use gradus_graph::{DType, Graph, Scope};
/// use gradus_nn::{Dense, Functional, Network, Vars};
///
/// let net = Functional::new(|scope, inputs| {
///     let image = inputs.get(scope.graph(), "image");
///     let text = inputs.get(scope.graph(), "text");
///     let both = scope.apply("image", &Dense::new(8), image) + scope.apply("text", &Dense::new(8), text);
///     Vars::new().with("logits", scope.apply("head", &Dense::new(3), both.relu()))
/// });
///
/// let graph = Graph::new();
/// let inputs = Vars::new()
///     .with("image", graph.input("image", [2, 64], DType::F32))
///     .with("text", graph.input("text", [2, 16], DType::F32));
/// let outputs = net.outputs(&Scope::root(&graph, true), &inputs);
/// assert_eq!(&outputs.get(&graph, "logits").shape()[..], [2, 3]);
/// assert_eq!(graph.params()[0].name, "image.weight");
/// graph.check()?;
/// # Ok::<(), gradus_graph::BuildError>(())
/// ```
pub struct Functional<F>(F);

impl<F> Functional<F>
where
    F: for<'g> Fn(&Scope<'g>, &Vars<'g>) -> Vars<'g> + Send + Sync,
{
    /// The network that `f` computes.
    pub const fn new(f: F) -> Self {
        Self(f)
    }
}

impl<F> Network for Functional<F>
where
    F: for<'g> Fn(&Scope<'g>, &Vars<'g>) -> Vars<'g> + Send + Sync,
{
    fn outputs<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
        (self.0)(scope, inputs)
    }
}

impl<F> fmt::Debug for Functional<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Functional")
    }
}
