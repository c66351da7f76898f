//! Recurrent layers, unrolled over time.

use gradus_graph::{DType, Decoding, Layer, Scope, Var};

use super::position::sequence;
use crate::init::Uniform;

/// How a recurrent layer goes on from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `h' = tanh(Wᵢ x + bᵢ + Wₕ h + bₕ)`
    Tanh,
    /// `h' = relu(Wᵢ x + bᵢ + Wₕ h + bₕ)`
    Relu,
    /// Long short-term memory, gates in PyTorch's order `i, f, g, o`, each of
    /// `Wᵢ x + bᵢ + Wₕ h + bₕ`:
    ///
    /// ```text
    /// c' = σ(f) c + σ(i) tanh(g)      h' = σ(o) tanh(c')
    /// ```
    ///
    /// Source: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000).
    Lstm,
    /// Gated recurrent unit, gates in PyTorch's order `r, z, n`:
    ///
    /// ```text
    /// n = tanh(Wᵢ x + bᵢ + σ(r) (Wₕ h + bₕ))      h' = (1 − σ(z)) n + σ(z) h
    /// ```
    ///
    /// Source: Cho et al. (2014), arXiv:1406.1078.
    Gru,
}

/// A recurrent network over sequences: `[B, T, I] -> [B, T, H]`, or `[B, T, 2H]` in both
/// directions.
///
/// The product with the input is one for all times. Each layer has `weight_ih_l{k}` `[gates·H, I]`,
/// `weight_hh_l{k}` `[gates·H, H]`, `bias_ih_l{k}` and `bias_hh_l{k}` `[gates·H]`, in the other
/// direction with `_reverse` behind: PyTorch's names and order of gates, and its start, uniform in
/// ±1/√H. States start at 0, unless [`Recurrent::unroll`] is given others. Where a sequence is decoded
/// token by token ([`Scope::decoding`]) they go on from the last ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recurrent {
    cell: Cell,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
    bias: bool,
    dropout: f64,
}

/// What a [`Recurrent`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Unrolled<'g> {
    /// The states of the last layer at all times, `[B, T, H]` or `[B, T, 2H]`.
    pub output: Var<'g>,
    /// The last states of all layers and directions, `[layers·directions, B, H]`.
    pub hidden: Var<'g>,
    /// The same of an LSTM's cells.
    pub cell: Option<Var<'g>>,
}

/// How a layer walks over time.
#[derive(Clone, Copy)]
struct Way<'g> {
    reverse: bool,
    /// Which steps count, `[B, T]`; all if there is none.
    present: Option<Var<'g>>,
}

impl Recurrent {
    /// One layer of this cell and so many hidden units.
    pub const fn new(cell: Cell, hidden: usize) -> Self {
        Self {
            cell,
            hidden,
            layers: 1,
            bidirectional: false,
            bias: true,
            dropout: 0.0,
        }
    }

    /// So many layers, each over the states of the one before.
    #[must_use]
    pub const fn layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Goes both ways, and joins the states of both.
    #[must_use]
    pub const fn bidirectional(mut self) -> Self {
        self.bidirectional = true;
        self
    }

    /// Leaves out both biases.
    #[must_use]
    pub const fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Drops states between layers at this rate while training.
    #[must_use]
    pub const fn dropout(mut self, rate: f64) -> Self {
        self.dropout = rate;
        self
    }

    const fn gates(&self) -> usize {
        match self.cell {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    const fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Unrolls over `x` `[B, T, I]`, from `hidden`, and `cell` for an LSTM,
    /// `[layers·directions, B, H]` each; 0 where not given.
    #[track_caller]
    pub fn unroll<'g>(
        &self,
        scope: &Scope<'g>,
        x: Var<'g>,
        hidden: Option<Var<'g>>,
        cell: Option<Var<'g>>,
    ) -> Unrolled<'g> {
        let given = [Some(x), hidden, cell];
        let decoding = scope.decoding(x);
        let bad = match given.into_iter().flatten().find(Var::is_poisoned) {
            Some(bad) => Some(bad),
            None => match self.check(x, hidden, cell, decoding) {
                Ok(()) => None,
                Err(message) => Some(scope.graph().fail("recurrent", message)),
            },
        };
        if let Some(bad) = bad {
            return Unrolled {
                output: bad,
                hidden: bad,
                cell: (self.cell == Cell::Lstm).then_some(bad),
            };
        }
        let (batch, hidden_size) = (x.dim(0), self.hidden);
        let zeros = || scope.graph().full([batch, hidden_size], 0.0f32);
        let start = |all: Option<Var<'g>>, i: usize| match all {
            Some(all) => all.slice_axis(0, i, i + 1).reshape([batch, hidden_size]),
            None => zeros(),
        };
        let present = decoding.and_then(Decoding::present);
        let (mut hiddens, mut cells) = (Vec::new(), Vec::new());
        let mut input = x;
        for layer in 0..self.layers {
            if layer > 0 {
                input = scope.dropout(input, self.dropout);
            }
            let mut sides = Vec::new();
            for direction in 0..self.directions() {
                let i = layer * self.directions() + direction;
                let mut states = [start(hidden, i), start(cell, i)];
                let name = format!("l{layer}{}", if direction == 1 { "_reverse" } else { "" });
                let caches = decoding.map(|decoding| (decoding, self.caches(scope, &name, batch)));
                if let Some((_, caches)) = caches.as_ref().filter(|(d, _)| !d.begins()) {
                    states
                        .iter_mut()
                        .zip(caches)
                        .for_each(|(state, &cache)| *state = cache);
                }
                let way = Way {
                    reverse: direction == 1,
                    present,
                };
                let (steps, [h, c]) = self.layer(scope, &name, input, states, way);
                if let Some((decoding, caches)) = caches {
                    let last = caches.into_iter().zip([h, c]);
                    last.for_each(|(cache, last)| decoding.keep(cache, last));
                }
                sides.push(steps);
                hiddens.push(h.reshape([1, batch, hidden_size]));
                cells.push(c.reshape([1, batch, hidden_size]));
            }
            input = join(&sides, 2);
        }
        Unrolled {
            output: input,
            hidden: join(&hiddens, 0),
            cell: (self.cell == Cell::Lstm).then(|| join(&cells, 0)),
        }
    }

    /// What a layer hands on to the next step of decoding: hidden states, and cells if it has them.
    #[track_caller]
    fn caches<'g>(&self, scope: &Scope<'g>, name: &str, batch: usize) -> Vec<Var<'g>> {
        let kinds: &[&str] = match self.cell {
            Cell::Lstm => &["hidden", "cell"],
            _ => &["hidden"],
        };
        let cache = |kind: &&str| {
            let name = format!("{kind}_{name}");
            scope.cache(&name, [batch, self.hidden], DType::F32)
        };
        kinds.iter().map(cache).collect()
    }

    /// One layer in one direction: its states at all times, and the last ones.
    fn layer<'g>(
        &self,
        scope: &Scope<'g>,
        name: &str,
        x: Var<'g>,
        [mut h, mut c]: [Var<'g>; 2],
        Way { reverse, present }: Way<'g>,
    ) -> (Var<'g>, [Var<'g>; 2]) {
        let (batch, length, size) = (x.dim(0), x.dim(1), self.hidden);
        let all = self.gates() * size;
        let bound = 1.0 / (size as f64).sqrt();
        let init = Uniform {
            low: -bound,
            high: bound,
        };
        let weight =
            |kind, inputs| scope.param(&format!("weight_{kind}_{name}"), [all, inputs], init);
        let [from_input, from_state] = [("ih", x.dim(2)), ("hh", size)].map(|(k, n)| weight(k, n));
        let bias = |kind| {
            self.bias
                .then(|| scope.param(&format!("bias_{kind}_{name}"), all, init))
        };
        let [bias_input, bias_state] = ["ih", "hh"].map(bias);
        let biased = |y: Var<'g>, bias: Option<Var<'g>>| bias.map_or(y, |bias| y + bias);
        // One product for all times; steps that follow one another lie together.
        let inputs = biased(x.matmul(from_input.transpose()), bias_input);
        let inputs = inputs.permute(&[1, 0, 2]);
        let gate = |all: Var<'g>, i: usize| all.slice_axis(1, i * size, (i + 1) * size);
        let mut steps = Vec::with_capacity(length);
        for step in 0..length {
            let t = if reverse { length - 1 - step } else { step };
            let a = inputs.slice_axis(0, t, t + 1).reshape([batch, all]);
            let b = biased(h.matmul(from_state.transpose()), bias_state);
            let before = [h, c];
            h = match self.cell {
                Cell::Tanh => (a + b).tanh(),
                Cell::Relu => (a + b).relu(),
                Cell::Lstm => {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|k| gate(a + b, k));
                    c = f.sigmoid() * c + i.sigmoid() * g.tanh();
                    o.sigmoid() * c.tanh()
                }
                Cell::Gru => {
                    let [r, z] = [0, 1].map(|k| (gate(a, k) + gate(b, k)).sigmoid());
                    let n = (gate(a, 2) + r * gate(b, 2)).tanh();
                    n + z * (h - n)
                }
            };
            if let Some(present) = present {
                // Padding changes no state.
                let here = present.slice_axis(1, t, t + 1);
                [h, c] = [(h, before[0]), (c, before[1])].map(|(new, old)| here.select(new, old));
            }
            steps.push(h.reshape([batch, 1, size]));
        }
        if reverse {
            steps.reverse();
        }
        (join(&steps, 1), [h, c])
    }

    fn check(
        &self,
        x: Var<'_>,
        hidden: Option<Var<'_>>,
        cell: Option<Var<'_>>,
        decoding: Option<&Decoding<'_>>,
    ) -> Result<(), String> {
        sequence(x)?;
        if let Some(decoding) = decoding {
            if self.bidirectional {
                return Err("a sequence that is decoded token by token has no way back".into());
            }
            if x.dim(1) != decoding.length() {
                let (length, shape) = (decoding.length(), x.shape());
                return Err(format!(
                    "{length} tokens are decoded, but the sequence is {shape}"
                ));
            }
        }
        if self.hidden == 0 || self.layers == 0 || x.dim(1) == 0 || x.dim(2) == 0 {
            return Err(format!(
                "needs at least 1 hidden unit, layer, step and feature, found {} units, {} layers \
                 and {}",
                self.hidden,
                self.layers,
                x.shape()
            ));
        }
        if cell.is_some() && self.cell != Cell::Lstm {
            return Err("only an LSTM has cells".into());
        }
        let wanted = [self.layers * self.directions(), x.dim(0), self.hidden];
        for state in [hidden, cell].into_iter().flatten() {
            if state.dtype() != DType::F32 || state.shape()[..] != wanted {
                return Err(format!(
                    "states must be f32 [layers·directions, B, H] = {wanted:?}, found {} {}",
                    state.dtype(),
                    state.shape()
                ));
            }
        }
        Ok(())
    }
}

impl Layer for Recurrent {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.unroll(scope, x, None, None).output
    }
}

/// All of these along one axis; there is at least one.
fn join<'g>(parts: &[Var<'g>], axis: isize) -> Var<'g> {
    match parts {
        [one] => *one,
        parts => parts[0].concat(&parts[1..], axis),
    }
}
