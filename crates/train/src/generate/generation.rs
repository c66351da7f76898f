//! Sequences under way.

use gradus_graph::Array;

use super::Generate;
use super::plan::{self, COUNT, Key, LOGITS, Prepared, START, TOKEN};
use super::sampling::{Choice, SHARPNESS, TOP_K, TOP_P};
use crate::engine::Handle;
use crate::spec::{self, Field};
use crate::{Error, Model};

/// The least that caches have room for, so that short sequences share plans.
const ROOM: usize = 64;

/// The shortest part in which long prompts are taken in.
const PART: usize = 16;

/// The next token of each prompt, `None` for those that have ended: see [`Model::generate_stream`].
#[derive(Debug)]
pub struct Generation<'m> {
    model: &'m mut Model,
    token: Field,
    /// What stays the same, by name.
    fixed: Vec<(String, Vec<u32>)>,
    seed: u64,
    stop: Vec<i32>,
    /// The plan that adds one token; none if there is nothing to add.
    step: Option<Handle>,
    /// The plan that ran last.
    last: Handle,
    /// The next token of each prompt.
    next: Vec<i32>,
    /// Tokens that the network has seen of each.
    seen: Vec<usize>,
    ended: Vec<bool>,
    /// Tokens given for each, and how many there are to be.
    drawn: usize,
    tokens: usize,
}

impl<'m> Generation<'m> {
    pub(super) fn new(
        model: &'m mut Model,
        prompts: &[&[i32]],
        settings: Generate,
        token: Field,
    ) -> Result<Self, Error> {
        let longest = check_prompts(prompts)?;
        // The last token is not seen by the network.
        let room = longest + settings.tokens - 1;
        let usual = token.dims.first().copied().unwrap_or(1).max(PART);
        let first = Key {
            batch: prompts.len().next_power_of_two(),
            length: longest.min(usual).next_power_of_two(),
            capacity: room.max(ROOM).next_power_of_two(),
            begins: true,
            choice: settings.choice(),
        };
        let more = Key {
            begins: false,
            ..first
        };
        let begin = model.prepared(&token, first, prompts, room)?;
        let more = match longest > first.length {
            true => model.prepared(&token, more, prompts, room)?,
            false => begin,
        };
        let one = Key {
            length: 1,
            ..Key {
                begins: false,
                ..first
            }
        };
        let step = match settings.tokens > 1 {
            true => Some(model.prepared(&token, one, prompts, room)?.handle),
            false => None,
        };
        let mut generation = Self {
            fixed: settings.fixed(&model.spec.inputs),
            model,
            token,
            seed: settings.seed,
            stop: settings.stop,
            step,
            last: begin.handle,
            next: vec![0; prompts.len()],
            seen: vec![0; prompts.len()],
            ended: vec![false; prompts.len()],
            drawn: 0,
            tokens: settings.tokens,
        };
        generation.take_in(prompts, [begin, more].map(|p| p.handle), first.length)?;
        Ok(generation)
    }

    /// Shows the network the prompts, `length` tokens of each at a time; the last part has the end of
    /// each prompt.
    fn take_in(
        &mut self,
        prompts: &[&[i32]],
        [begin, more]: [Handle; 2],
        length: usize,
    ) -> Result<(), Error> {
        let longest = prompts.iter().map(|p| p.len()).max().unwrap_or(0);
        let count = longest.div_ceil(length);
        for i in 0..count {
            let part = |prompt: &&[i32]| {
                let before_end = |parts: usize| prompt.len().saturating_sub(parts * length);
                let range = before_end(count - i)..before_end(count - i - 1);
                prompt.get(range).unwrap_or_default().to_vec()
            };
            let parts: Vec<Vec<i32>> = prompts.iter().map(part).collect();
            self.run(if i == 0 { begin } else { more }, &parts, length)?;
        }
        Ok(())
    }

    /// Shows the network some tokens of each sequence, which gives those that follow.
    fn run(&mut self, program: Handle, parts: &[Vec<i32>], length: usize) -> Result<(), Error> {
        let outcome = self.try_run(program, parts, length);
        self.model.clean(outcome)
    }

    fn try_run(&mut self, program: Handle, parts: &[Vec<i32>], length: usize) -> Result<(), Error> {
        let padded = |part: &Vec<i32>| {
            let mut tokens: Vec<u32> = part.iter().map(|token| token.cast_unsigned()).collect();
            tokens.resize(length, 0);
            tokens
        };
        let tokens: Vec<u32> = parts.iter().flat_map(padded).collect();
        let start: Vec<u32> = self.seen.iter().map(|&n| word(n)).collect();
        let count: Vec<u32> = parts.iter().map(|part| word(part.len())).collect();
        let varying = [
            (self.token.name.as_str(), &tokens),
            (START, &start),
            (COUNT, &count),
        ];
        let fixed = self
            .fixed
            .iter()
            .map(|(name, words)| (name.as_str(), words));
        let arrays = varying.into_iter().chain(fixed);
        let arrays = arrays.map(|(name, words)| (name, &words[..]));
        let engine = &mut self.model.engine;
        engine.feed(program, arrays, parts.len())?;
        let row = spec::row(self.seed, word(self.drawn), 0, &[]);
        engine.submit(program, &[row], self.drawn as u64, parts.len())?;
        engine.drain()?;
        engine.take_done().for_each(drop);
        self.last = program;
        for (seen, part) in self.seen.iter_mut().zip(parts) {
            *seen += part.len();
        }
        let chosen = engine.output(program, TOKEN)?.to_words();
        let chosen = chosen.into_iter().map(u32::cast_signed);
        self.next = chosen.take(parts.len()).collect();
        Ok(())
    }

    /// The scores `[prompts, V]` that the last tokens were chosen from.
    ///
    /// # Errors
    /// If the device fails.
    pub fn logits(&mut self) -> Result<Array, Error> {
        let logits = self.model.engine.output(self.last, LOGITS)?;
        let (rows, width) = (self.next.len(), logits.shape().last_dim());
        let words = logits.to_words();
        let words = words.get(..rows * width).unwrap_or_default();
        let shape = gradus_graph::Shape::try_new(&[rows, width]).ok_or(Error::Empty)?;
        Ok(Array::from_words(shape, logits.dtype(), words)?)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Vec<Option<i32>>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.drawn == self.tokens || self.ended.iter().all(|&ended| ended) {
            return None;
        }
        if let (1.., Some(step)) = (self.drawn, self.step) {
            let parts: Vec<Vec<i32>> = self.next.iter().map(|&token| vec![token]).collect();
            if let Err(error) = self.run(step, &parts, 1) {
                self.drawn = self.tokens;
                return Some(Err(error));
            }
        }
        self.drawn += 1;
        let sequences = self.next.iter().zip(&mut self.ended);
        let given = sequences.map(|(&token, ended)| {
            let given = (!*ended).then_some(token);
            *ended |= self.stop.contains(&token);
            given
        });
        Some(Ok(given.collect()))
    }
}

impl Generate {
    fn choice(&self) -> Choice {
        match (self.top_k, self.top_p, self.temperature) {
            (_, _, Some(0.0)) | (None, None, None) => Choice::Greedy,
            (None, None, Some(_)) => Choice::Drawn,
            _ => Choice::DrawnAmongLikely,
        }
    }

    /// The words of what stays the same for all tokens.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "settings of a device have f32"
    )]
    fn fixed(&self, fields: &[Field]) -> Vec<(String, Vec<u32>)> {
        let sharpness = 1.0 / self.temperature.unwrap_or(1.0);
        // No sum of probabilities reaches this.
        let top_p = self.top_p.filter(|p| *p < 1.0).unwrap_or(2.0);
        let settings = [
            (SHARPNESS, (sharpness as f32).min(f32::MAX).to_bits()),
            (TOP_K, word(self.top_k.unwrap_or(usize::MAX))),
            (TOP_P, (top_p as f32).to_bits()),
        ];
        let settings = settings.map(|(name, word)| (name.to_owned(), vec![word]));
        let inputs = spec::words(fields, &self.inputs);
        inputs.into_iter().chain(settings).collect()
    }
}

impl Model {
    /// The plan of this key, compiled when first needed, for sequences of up to `room` tokens.
    fn prepared(
        &mut self,
        token: &Field,
        key: Key,
        prompts: &[&[i32]],
        room: usize,
    ) -> Result<Prepared, Error> {
        let known = self.generators.get(&(token.name.clone(), key)).copied();
        let prepared = match known {
            Some(prepared) => prepared,
            None => {
                let (plan, facts) = plan::plan(&self.spec, &self.device, &self.layout, token, key)?;
                let handle = self.engine.compile(plan)?;
                let prepared = Prepared { handle, facts };
                self.generators.insert((token.name.clone(), key), prepared);
                prepared
            }
        };
        let facts = prepared.facts;
        if room > facts.longest {
            let message = format!(
                "prompt and new tokens need {room} positions, but a layer has {}",
                facts.longest
            );
            return Err(Error::Generate { message });
        }
        for (i, prompt) in prompts.iter().enumerate() {
            let is_unknown = |&t: &i32| usize::try_from(t).map_or(true, |t| t >= facts.vocabulary);
            if let Some(at) = prompt.iter().position(is_unknown) {
                let message = format!(
                    "token {} at position {at} of prompt {i} is none of the network's {}",
                    prompt[at], facts.vocabulary
                );
                return Err(Error::Generate { message });
            }
        }
        Ok(prepared)
    }
}

/// The length of the longest prompt.
fn check_prompts(prompts: &[&[i32]]) -> Result<usize, Error> {
    let refuse = |message: String| Err(Error::Generate { message });
    if let Some(empty) = prompts.iter().position(|p| p.is_empty()) {
        return refuse(format!(
            "prompt {empty} is empty: begin with at least one token"
        ));
    }
    match prompts.iter().map(|p| p.len()).max() {
        Some(longest) => Ok(longest),
        None => refuse("there are no prompts".into()),
    }
}

/// A size as an `i32` of a device.
fn word(n: usize) -> u32 {
    i32::try_from(n).unwrap_or(i32::MAX).cast_unsigned()
}
