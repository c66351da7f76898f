//! Sequences of tokens, continued by a network that scores the next one.

mod generation;
mod plan;
mod sampling;

use gradus_data::Batch;
use gradus_graph::Array;

use crate::spec::Field;
use crate::{Error, Model, spec};

pub use generation::Generation;
pub(crate) use plan::{Key, Prepared};

/// How [`Model::generate`] continues sequences.
///
/// The next token is the one with the highest score (of equal ones the first), unless a temperature,
/// [`Generate::top_k`] or [`Generate::top_p`] is set: then it is drawn from the softmax of the scores
/// divided by the temperature, of those tokens that are left. The same seed gives the same tokens.
///
/// Sources: top-k: Fan et al. (2018), arXiv:1805.04833; top-p: Holtzman et al. (2020),
/// arXiv:1904.09751; draws by the Gumbel-max trick: Maddison et al. (2014), arXiv:1411.0030.
#[derive(Clone, Debug, Default)]
#[must_use = "settings do nothing until `Model::generate` gets them"]
pub struct Generate {
    tokens: usize,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    seed: u64,
    stop: Vec<i32>,
    inputs: Batch,
}

impl Generate {
    /// At most so many new tokens for each prompt, at least 1.
    pub fn new(tokens: usize) -> Self {
        Self {
            tokens,
            ..Self::default()
        }
    }

    /// Draws tokens, likely ones more often the lower the temperature is; 0 takes the likeliest.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Draws among the `k` tokens with the highest scores only, at least 1.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k);
        self
    }

    /// Draws among the fewest likely tokens only that have together at least the probability `p`,
    /// in (0, 1], after [`Generate::top_k`].
    pub fn top_p(mut self, p: f64) -> Self {
        self.top_p = Some(p);
        self
    }

    /// Seed of the draws; 0 if not set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a token that ends a sequence: it is the last one of it.
    pub fn stop(mut self, token: i32) -> Self {
        self.stop.push(token);
        self
    }

    /// Another input of the network, `[prompts, …]`: what a decoder attends to, for example. It
    /// stays the same for all tokens.
    pub fn with(mut self, name: &str, array: Array) -> Self {
        self.inputs = self.inputs.with(name, array);
        self
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::Generate { message });
        if self.tokens == 0 {
            return refuse("at least 1 new token must be asked for, found 0".into());
        }
        if let Some(t) = self.temperature.filter(|t| !(*t >= 0.0 && t.is_finite())) {
            return refuse(format!("a temperature must be at least 0, found {t}"));
        }
        if self.top_k == Some(0) {
            return refuse("top_k must leave at least 1 token, found 0".into());
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return refuse(format!("top_p must be in (0, 1], found {p}"));
        }
        Ok(())
    }
}

impl Model {
    /// Continues each prompt token by token, and gives the new tokens.
    ///
    /// The network takes tokens `[B, T]` and gives scores `[B, T, V]`, causally: attention is
    /// [`causal`](gradus_nn::MultiHeadAttention::causal), recurrent layers go one way. It is the
    /// network as it is trained: while it decodes, attention keeps the keys and values of earlier
    /// tokens, recurrent layers their last state, and positions go on, so that each further token
    /// costs one of them. Layers of another kind must treat every position by itself. Prompts are
    /// taken in at once, or in parts as long as the sequences that the model was compiled for, and
    /// may differ in length. Only tokens come back from the device.
    ///
    /// ```
    /// use gradus_graph::{DType, Layer, Scope, Var};
    /// use gradus_nn::{Dense, Embedding, LearnedPositions, TransformerEncoderLayer};
    /// use gradus_train::{Compile, Device, Generate, IntoModel};
    ///
    /// struct Gpt;
    ///
    /// impl Layer for Gpt {
    ///     fn forward<'g>(&self, scope: &Scope<'g>, tokens: Var<'g>) -> Var<'g> {
    ///         let x = scope.apply("tokens", &Embedding::new(20, 8), tokens);
    ///         let x = scope.apply("positions", &LearnedPositions::new(32), x);
    ///         let x = scope.apply("layer", &TransformerEncoderLayer::new(2).causal(), x);
    ///         scope.apply("head", &Dense::new(20), x)
    ///     }
    /// }
    ///
    /// let settings = Compile::new().input("tokens", 32, DType::I32).device(Device::cpu());
    /// let mut model = Gpt.compile(settings)?;
    /// let settings = Generate::new(5).temperature(0.8).top_k(10).seed(1).stop(0);
    /// for new in model.generate(&[vec![3, 1, 4], vec![1, 5]], settings)? {
    ///     println!("{new:?}");
    /// }
    /// # Ok::<(), gradus_train::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are no prompts or one is empty, a token is out of range, prompt and new tokens are
    /// more than a layer has positions for, a setting is out of range, the network is no such
    /// network, or the device fails.
    pub fn generate<P: AsRef<[i32]>>(
        &mut self,
        prompts: &[P],
        settings: Generate,
    ) -> Result<Vec<Vec<i32>>, Error> {
        let mut sequences = vec![Vec::new(); prompts.len()];
        for tokens in self.generate_stream(prompts, settings)? {
            for (sequence, token) in sequences.iter_mut().zip(tokens?) {
                sequence.extend(token);
            }
        }
        Ok(sequences)
    }

    /// As [`Model::generate`], token by token: an iterator over the next token of each prompt, `None`
    /// for those that have ended.
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub fn generate_stream<P: AsRef<[i32]>>(
        &mut self,
        prompts: &[P],
        settings: Generate,
    ) -> Result<Generation<'_>, Error> {
        settings.check()?;
        let prompts: Vec<&[i32]> = prompts.iter().map(AsRef::as_ref).collect();
        self.settle()?;
        let token = self.token_input(&settings, &prompts)?;
        Generation::new(self, &prompts, settings, token)
    }

    /// The one input that no setting gives; the others are checked.
    fn token_input(&self, settings: &Generate, prompts: &[&[i32]]) -> Result<Field, Error> {
        let given = &settings.inputs;
        let inputs = self.spec.inputs.iter();
        let (others, open): (Vec<_>, Vec<_>) = inputs
            .cloned()
            .partition(|field| given.get(&field.name).is_some());
        spec::check_extra(&others, given)?;
        if !others.is_empty() && spec::check_batch(&others, given)? != prompts.len() {
            return Err(Error::Generate {
                message: format!(
                    "there are {} prompts, but {} samples of the other inputs",
                    prompts.len(),
                    given.len()
                ),
            });
        }
        match &open[..] {
            [field] if field.dims.len() == 1 && field.dtype.is_int() => Ok(field.clone()),
            [field] => Err(Error::Generate {
                message: format!(
                    "`{}` takes {} {:?}, not a sequence of tokens",
                    field.name, field.dtype, field.dims
                ),
            }),
            open => {
                let names: Vec<_> = open.iter().map(|f| format!("`{}`", f.name)).collect();
                let message = format!(
                    "exactly one input must be left for the tokens, found {}: set others by \
                     `.with(…)`",
                    if names.is_empty() {
                        "none".into()
                    } else {
                        names.join(", ")
                    }
                );
                Err(Error::Generate { message })
            }
        }
    }
}
