//! Vectors of tokens: looked up, pooled in bags, and as an output layer.

use std::sync::Arc;

use gradus_graph::philox::Rng;
use gradus_graph::{DType, Init, Layer, Scope, Shape, Var};

use crate::init::{Normal, Shared};

/// A table with a vector for each token: `i32` or `u32` `[…]` in `0..tokens` to `f32` `[…, width]`.
///
/// Parameter `weight` `[tokens, width]`, which starts normal with deviation 1, as in PyTorch. A
/// token outside makes the step an error that names the layer and the token. The gradient adds up
/// the positions of each token in ascending order, at the cost of the positions and not of the
/// table.
///
/// The same table as the output layer is [`Embedding::unembedding`].
#[derive(Clone, Debug)]
pub struct Embedding {
    tokens: usize,
    width: usize,
    padding: Option<usize>,
    weight: Arc<dyn Init>,
}

impl Embedding {
    /// A table of `tokens` vectors of `width` numbers, each at least 1.
    pub fn new(tokens: usize, width: usize) -> Self {
        Self {
            tokens,
            width,
            padding: None,
            weight: Arc::new(Normal::with_std(1.0)),
        }
    }

    /// A token that stands for nothing: its vector starts at 0 and has no gradient.
    #[must_use]
    pub const fn padding_idx(mut self, token: usize) -> Self {
        self.padding = Some(token);
        self
    }

    /// How the table starts.
    #[must_use]
    pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
        self.weight = Arc::new(init);
        self
    }

    /// The output layer that scores every token by this table: apply it under the same name.
    pub fn unembedding(&self) -> Unembedding {
        Unembedding(self.clone())
    }

    /// The table, or what is wrong with the settings.
    #[track_caller]
    fn table<'g>(&self, scope: &Scope<'g>) -> Result<Var<'g>, String> {
        let (tokens, width) = (self.tokens, self.width);
        if tokens == 0 || width == 0 {
            return Err(format!(
                "needs at least 1 token and 1 number, found a table [{tokens}, {width}]"
            ));
        }
        if let Some(padding) = self.padding.filter(|&p| p >= tokens) {
            return Err(format!(
                "padding_idx {padding} is not one of {tokens} tokens"
            ));
        }
        let init = Padded {
            init: Arc::clone(&self.weight),
            row: self.padding,
        };
        Ok(scope.param("weight", [tokens, width], init))
    }

    /// The vectors of tokens, without a gradient for the padding, and where that is (`[…, 1]`).
    #[track_caller]
    fn look_up<'g>(&self, table: Var<'g>, tokens: Var<'g>) -> (Var<'g>, Option<Var<'g>>) {
        let vectors = table.gather(tokens);
        match self.padding.and_then(|p| i32::try_from(p).ok()) {
            Some(padding) if !vectors.is_poisoned() => {
                let here = tokens.eq(padding).unsqueeze(-1);
                (here.select(vectors.stop_gradient(), vectors), Some(here))
            }
            _ => (vectors, None),
        }
    }
}

impl Layer for Embedding {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        match tokens(x).and_then(|()| self.table(scope)) {
            Ok(table) => self.look_up(table, x).0,
            Err(message) => fail(scope, "embedding", x, message),
        }
    }
}

/// Scores of all tokens by the table of an [`Embedding`]: `y = x Wᵀ`, `[…, width] -> […, tokens]`.
///
/// Applied under the name of the embedding it shares its parameter, whose gradient is then the sum
/// of both uses. Source: Press & Wolf (2017), arXiv:1608.05859.
#[derive(Clone, Debug)]
pub struct Unembedding(Embedding);

impl Layer for Unembedding {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let width = self.0.width;
        let (shape, dtype) = (x.shape(), x.dtype());
        let fits = dtype == DType::F32 && shape.rank() >= 2 && shape.last_dim() == width;
        let table = match fits || x.is_poisoned() {
            true => self.0.table(scope),
            false => Err(format!(
                "expected f32 [batch, …, {width}], found {dtype} {shape}"
            )),
        };
        match table {
            Ok(table) if !x.is_poisoned() => x.matmul(table.transpose()),
            Ok(_) => x,
            Err(message) => fail(scope, "unembedding", x, message),
        }
    }
}

/// How the vectors of a bag become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their mean, the default.
    #[default]
    Mean,
    /// The largest of each element; of equal ones the first takes the gradient.
    Max,
}

/// One vector for each bag of tokens: `i32` or `u32` `[…, N]` to `f32` `[…, width]`, as an
/// [`Embedding`] whose vectors are summed, averaged or compared over the last axis.
///
/// A padding token is left out: it counts in no mean, and a bag of nothing else gives 0.
#[derive(Clone, Debug)]
pub struct EmbeddingBag {
    table: Embedding,
    pooling: Pooling,
}

impl EmbeddingBag {
    /// A table of `tokens` vectors of `width` numbers, each at least 1; bags are averaged.
    pub fn new(tokens: usize, width: usize) -> Self {
        Self {
            table: Embedding::new(tokens, width),
            pooling: Pooling::default(),
        }
    }

    /// How vectors become one.
    #[must_use]
    pub const fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// A token that stands for nothing.
    #[must_use]
    pub fn padding_idx(mut self, token: usize) -> Self {
        self.table = self.table.padding_idx(token);
        self
    }

    /// How the table starts.
    #[must_use]
    pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
        self.table = self.table.weight_init(init);
        self
    }
}

impl Layer for EmbeddingBag {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let checked = tokens(x).and_then(|()| match x.is_poisoned() || x.rank() >= 1 {
            true => Ok(()),
            false => Err("expected bags of tokens […, N], found one token".to_string()),
        });
        let table = match checked.and_then(|()| self.table.table(scope)) {
            Ok(table) => table,
            Err(message) => return fail(scope, "embedding_bag", x, message),
        };
        let (vectors, padding) = self.table.look_up(table, x);
        let size = x.dim(-1);
        if vectors.is_poisoned() {
            return vectors;
        }
        let left_out = |fill: f64| padding.map_or(vectors, |p| p.select(fill, vectors));
        match self.pooling {
            Pooling::Sum => left_out(0.0).sum(&[-2]),
            Pooling::Mean => {
                let sum = left_out(0.0).sum(&[-2]);
                match padding {
                    Some(padding) => {
                        let count = (!padding).cast(DType::F32).sum(&[-2]);
                        sum / count.maximum(1.0)
                    }
                    None => sum * (1.0 / size.max(1) as f64),
                }
            }
            Pooling::Max if size == 0 => left_out(0.0).sum(&[-2]),
            Pooling::Max => {
                let largest = left_out(f64::from(f32::MIN)).max_with_index(-2).0;
                match padding {
                    Some(padding) => padding.all(&[-2]).select(0.0, largest),
                    None => largest,
                }
            }
        }
    }
}

/// Tokens are integers.
fn tokens(x: Var<'_>) -> Result<(), String> {
    match x.is_poisoned() || x.dtype().is_int() {
        true => Ok(()),
        false => Err(format!(
            "tokens must be i32 or u32, found {} {}",
            x.dtype(),
            x.shape()
        )),
    }
}

/// The first mistake is the cause.
#[track_caller]
fn fail<'g>(scope: &Scope<'g>, op: &'static str, x: Var<'g>, message: String) -> Var<'g> {
    match x.is_poisoned() {
        true => x,
        false => scope.graph().fail(op, message),
    }
}

/// Values of another initializer, but for one row of zeros.
#[derive(Debug)]
struct Padded {
    init: Arc<dyn Init>,
    row: Option<usize>,
}

impl Init for Padded {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        let mut values = Shared(Arc::clone(&self.init)).sample(shape, rng);
        let width = shape.last_dim();
        let row = self.row.and_then(|row| {
            let start = row * width;
            values.get_mut(start..start + width)
        });
        if let Some(row) = row {
            row.fill(0.0);
        }
        values
    }
}
